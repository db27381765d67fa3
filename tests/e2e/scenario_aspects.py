"""With Aspects, which has a job of the same name."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.e2e import images as image_module
from tests.e2e.docker import Docker, key_of
from tests.e2e.images import NAME, REPOSITORY, Images
from tests.e2e.site import MakeSite
from tests.harness import registry
from tests.harness.ralph import Lrs
from tests.harness.venvs import venv
from tutor_transform_logs.demo import samples

Say = Callable[[str], None]

# Aspects 6.1 installs with Tutor 21.
REQUIREMENTS = ("tutor>=21,<22", "tutor-contrib-aspects==6.1.0", "click>=8.1,<8.3", "setuptools")
DOCUMENTED = (
    "--source_provider", "LOCAL",
    "--source_config", '{"key": "/openedx/data", "container": "logs", "prefix": "tracking.log"}',
    "--transformer_type", "xapi",
)  # fmt: skip


@pytest.fixture(scope="session")
def tutor_with_aspects() -> Path:
    """The ``tutor`` of an environment with Aspects and this plugin."""
    folder = venv("aspects", REQUIREMENTS)
    command = [folder / "python", "-m", "pip", "install", "--quiet", "--no-deps", "--editable", REPOSITORY]
    subprocess.run(command, check=True)
    registry.register("Aspects 6.1.0 (in Tutor 21)")
    return folder / "tutor"


@pytest.fixture(scope="session")
def clickhouse(docker: Docker, images: Images, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image with a ``clickhouse`` client that prints what it is asked: ClickHouse itself is not available here."""
    client = tmp_path_factory.mktemp("clickhouse") / "clickhouse"
    client.write_text('#!/bin/sh\ncase "$*" in *multiquery*) sed "s/^/asked ClickHouse: /" ;; esac\n')
    client.chmod(0o755)
    tag = f"{NAME}/clickhouse:{key_of(images.base, client)}"
    if not docker.has_image(tag):
        steps = "COPY clickhouse /usr/local/bin/clickhouse"
        image_module.build_on(docker, images.base, tag, steps, {"clickhouse": client})
    return tag


@pytest.mark.parametrize("order", [("aspects", "transform_logs"), ("transform_logs", "aspects")], ids="-then-".join)
def test_aspects_command_line_runs_this_job(
    new_site: MakeSite,
    tutor_with_aspects: Path,
    clickhouse: str,
    lrs: Lrs,
    found: Say,
    order: tuple[str, str],
) -> None:
    site = new_site(
        plugins=order,
        tutor_program=tutor_with_aspects,
        TRANSFORM_LOGS_LRS_ENDPOINTS=[lrs.endpoint],
        RUN_CLICKHOUSE=False,
        RUN_SUPERSET=False,
        ASPECTS_XAPI_SOURCE="ralph",
        RUN_RALPH=False,
        RUN_VECTOR=False,
        DOCKER_IMAGE_CLICKHOUSE=clickhouse,
    )
    dockerfile = (site.root / "env/build/openedx/Dockerfile").read_text()
    assert "transform-logs-constraints" not in dockerfile, "Aspects brings its own pin of ERB"
    override = site.root / "env/local/docker-compose.jobs.override.yml"
    services = yaml.safe_load(override.read_text())
    services["services"]["clickhouse-job"] = {"network_mode": "host"}
    override.write_text(json.dumps(services))
    site.place("tracking.log", samples.content("tracking.log"))

    printed = site.replay(*DOCUMENTED, "--deduplicate")

    count = lrs.count()
    assert count == samples.expected("xapi", "tracking.log").distinct_statements
    assert "Every line and every statement is accounted for." in printed
    asked = [line for line in printed.splitlines() if line.startswith("asked ClickHouse: OPTIMIZE TABLE")]
    assert len(asked) == 6
    found(f"Ralph has {count} statements, and Aspects' deduplication asked for {len(asked)} tables")
