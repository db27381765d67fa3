"""What the manifests for Kubernetes are rendered with: the job's code in pieces, and the schedule's config."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from tutor import config as tutor_config

from tutor_transform_logs import cluster_config, job_config, rendering

NAME = "transform-logs"
# All phases of a replay, one after the other; "status", "verify" and "check" are phases by themselves.
REPLAY = "run"
NAME_LABEL = "app.kubernetes.io/name"
# On each Job and its pods; its value is the phase.
PHASE_LABEL = "transform-logs/phase"

# "kubectl apply" keeps the whole object, as JSON, in an annotation of it, and annotations end at 262,144 bytes.
PART_BYTES = 200_000


@dataclass(frozen=True)
class CodePart:
    """A ConfigMap with some of the job's code; ``files`` are paths below Tutor's environment."""

    name: str
    files: tuple[str, ...]


def code_parts() -> list[CodePart]:
    """The job's code in ConfigMaps that Tutor's "kubectl apply" can take; a pod has them in one folder."""
    files = sorted((rendering.PACKAGE / rendering.JOB_CODE).glob("*.py"))
    sizes = ((file.name, len(json.dumps(file.read_text(encoding="utf-8")))) for file in files)
    folder = rendering.ENV_CODE.as_posix()
    return [
        CodePart(f"transform-logs-code-{number}", tuple(f"{folder}/{name}" for name in names))
        for number, names in enumerate(_packed(sizes, PART_BYTES), 1)
    ]


def _packed(sizes: Iterable[tuple[str, int]], most: int) -> Iterator[list[str]]:
    """Names with sizes in groups, in order, each of at most ``most`` where no single one is larger."""
    group: list[str] = []
    total = 0
    for name, size in sizes:
        if group and total + size > most:
            yield group
            group, total = [], 0
        group.append(name)
        total += size
    if group:
        yield group


def service(phase: str) -> str:
    """What Tutor calls the service of a phase: the Job in the manifests is this and ``-job``."""
    return NAME if phase == "work" else f"{NAME}-{phase}"


def mounted_config_maps(jobs: Iterable[Mapping[str, Any]]) -> set[str]:
    """The names of the ConfigMaps that the pods of these Jobs mount."""
    names = set()
    for job in jobs:
        for volume in job["spec"]["template"]["spec"]["volumes"]:
            sources = volume.get("projected", {}).get("sources", [volume])
            names |= {source["configMap"]["name"] for source in sources if "configMap" in source}
    return names


def script(phase: str, config: str, share: str = "") -> str:
    """The shell command of a phase; ``config`` is the name of its config file, ``share`` what is this pod's (I/N)."""
    run = f"exec sh {rendering.CONTAINER}/tasks/run.sh {phase} {rendering.in_container(Path(config))}"
    return f'{run} "{share}"' if share else run


def cron_config() -> str:
    """The text of the config file for the schedule, from the settings alone. Raises ``TutorError``.

    Part of the manifests, so that a changed setting reaches the cluster with "tutor k8s start", as any of Tutor's does.
    """
    root = click.get_current_context().obj.root
    site = tutor_config.load(root)
    values = job_config.with_site_defaults(job_config.from_settings(root, site), site)
    values = cluster_config.with_cluster_defaults(values, site)
    job_config.check(values)
    cluster_config.check(values, site)
    return job_config.encode(values)


TEMPLATE_VARIABLES: list[tuple[str, Any]] = [
    ("transform_logs_code_parts", code_parts),
    ("transform_logs_cron_config", cron_config),
    ("transform_logs_script", script),
]
