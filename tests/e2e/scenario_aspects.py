"""With Aspects: as it comes, with Vector, and as it was before, with Ralph. It has a job of the same name."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e import clickhouse
from tests.e2e import images as image_module
from tests.e2e import site as sites
from tests.e2e.docker import Docker, key_of
from tests.e2e.images import NAME, Images
from tests.e2e.site import MakeSite, Program
from tests.harness.ralph import Lrs
from tutor_transform_logs.demo import samples

Say = Callable[[str], None]

DOCUMENTED = (
    "--source_provider", "LOCAL",
    "--source_config", '{"key": "/openedx/data", "container": "logs", "prefix": "tracking.log"}',
    "--transformer_type", "xapi",
)  # fmt: skip


@pytest.fixture(scope="session")
def clickhouse_image(docker: Docker, images: Images, request: pytest.FixtureRequest) -> str:
    """An image that runs ClickHouse."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        return clickhouse.image(docker, images)


def test_stock_site_with_nothing_set(
    new_site: MakeSite, tutor_with_aspects: Program, clickhouse_image: str, found: Say
) -> None:
    site = new_site(
        plugins=("aspects", "transform_logs"),
        tutor=tutor_with_aspects,
        DOCKER_IMAGE_CLICKHOUSE=clickhouse_image,
        # Superset depends on it; neither is started.
        RUN_REDIS=True,
    )
    server = clickhouse.prepare(site)
    site.place("tracking.log", samples.content("tracking.log"))
    expected = samples.expected("xapi", "tracking.log")

    printed = site.replay()

    where = "Destination: table openedx.xapi_events_all in ClickHouse at http://clickhouse:8123"
    assert f"{where} (ASPECTS_XAPI_SOURCE is vector)" in " ".join(printed.split())
    ids = server.ids()
    assert len(ids) == len(set(ids)) == server.daily_sum() == expected.distinct_statements
    # No back door: Vector would load statements from there a second time, outside the ledger.
    said = {path.name: path.read_text() for path in site.logs.iterdir() if path.name != "tracking.log"}
    assert not [name for name, text in {"the container's log": printed, **said}.items() if "/verbs/" in text]

    site.replay()

    assert (server.ids(), server.daily_sum()) == (ids, len(ids))

    site.replay("--restart", "--yes")

    assert (server.ids(), server.daily_sum()) == (ids, len(ids))
    [destination] = site.result()["destinations"]
    assert (destination["stored"], destination["duplicates"]) == (0, expected.statements)
    found(f"openedx.xapi_events_all has {len(ids)} statements of {expected.lines} lines, after --restart, too")


@pytest.fixture(scope="session")
def client_image(docker: Docker, images: Images, tmp_path_factory: pytest.TempPathFactory) -> str:
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
def test_aspects_command_line_runs_this_job_with_ralph(
    new_site: MakeSite,
    tutor_with_aspects: Program,
    client_image: str,
    lrs: Lrs,
    found: Say,
    order: tuple[str, str],
) -> None:
    site = new_site(
        plugins=order,
        tutor=tutor_with_aspects,
        TRANSFORM_LOGS_LRS_ENDPOINTS=[lrs.endpoint],
        RUN_CLICKHOUSE=False,
        RUN_SUPERSET=False,
        ASPECTS_XAPI_SOURCE="ralph",
        RUN_RALPH=False,
        RUN_VECTOR=False,
        DOCKER_IMAGE_CLICKHOUSE=client_image,
    )
    dockerfile = (site.root / "env/build/openedx/Dockerfile").read_text()
    assert "transform-logs-constraints" not in dockerfile, "Aspects brings its own pin of ERB"
    sites.override(site, "jobs.", {"clickhouse-job": {"network_mode": "host"}})
    site.place("tracking.log", samples.content("tracking.log"))

    printed = site.replay(*DOCUMENTED, "--deduplicate")

    count = lrs.count()
    assert count == samples.expected("xapi", "tracking.log").distinct_statements
    assert "Every line and every statement is accounted for." in printed
    asked = [line for line in printed.splitlines() if line.startswith("asked ClickHouse: OPTIMIZE TABLE")]
    assert len(asked) == 6
    found(f"Ralph has {count} statements, and Aspects' deduplication asked for {len(asked)} tables")
