"""What the Kubernetes manifests are rendered with: the job's code by folder, and the config of scheduled runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from tutor import config as tutor_config
from tutor import env as tutor_env
from tutor.exceptions import TutorError
from tutor.types import Config

from tutor_transform_logs import aspects, cluster_config, job_config, rendering

NAME = "transform-logs"
# All phases of a replay in one pod. "status", "verify", "gaps" and "check" are phases of their own.
RUN = "run"
NAME_LABEL = "app.kubernetes.io/name"
# Each Job and its pods have this label. Its value is the phase.
PHASE_LABEL = "transform-logs/phase"

CODE = "transform-logs-code"


@dataclass(frozen=True)
class CodeFolder:
    """One folder of the job's code. Each folder is a ConfigMap, because a ConfigMap's keys can't contain slashes.

    ``kubectl apply`` stores the whole object as JSON in an annotation, and annotations are limited to 262,144 bytes. A
    test checks that every folder is smaller.
    """

    name: str
    """The ConfigMap's name."""
    folder: str
    """The folder's path below ``lms_job/``, with a slash at its end; ``""`` for ``lms_job/`` itself."""
    files: tuple[str, ...]
    """The names of the files in it."""

    @property
    def paths(self) -> list[str]:
        """The files' paths below Tutor's environment."""
        return [f"{rendering.ENV_CODE.as_posix()}/{self.folder}{file}" for file in self.files]


def code_folders() -> list[CodeFolder]:
    """All folders of the job's code. In the pod, a projected volume puts them together again."""
    by_folder: dict[str, list[str]] = {}
    for path in rendering.job_files():
        folder, _, name = path.as_posix().rpartition("/")
        by_folder.setdefault(f"{folder}/" if folder else "", []).append(name)
    return [
        CodeFolder("-".join([CODE, *folder.replace("_", "-").strip("/").split("/")]).rstrip("-"), folder, tuple(names))
        for folder, names in sorted(by_folder.items())
    ]


def service(phase: str) -> str:
    """Tutor's name for the service of a phase. The Job in the manifests has this name with ``-job`` at its end."""
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
    """The shell command of a phase. ``config``: the name of its config file. ``share``: this pod's share (I/N)."""
    run = f"exec sh {rendering.CONTAINER_ROOT}/tasks/run.sh {phase} {rendering.in_container(Path(config))}"
    return f'{run} "{share}"' if share else run


def cron_config() -> str:
    """The content of the config file for scheduled runs, from the settings only. Raises ``TutorError``.

    It is in the manifests, so that "tutor k8s start" brings a changed setting to the cluster, as for Tutor's settings.
    """
    root = click.get_current_context().obj.root
    # This is called while Tutor renders the file that the secrets get into.
    rendering.make_private(Path(tutor_env.pathjoin(root, str(rendering.ENV_CRON))))
    return _scheduled_config(tutor_config.load(root))


def check_schedule(targets: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The last filter of Tutor's ENV_TEMPLATE_TARGETS, which Tutor asks for before it writes the first file.

    Raises ``TutorError`` if the scheduled run could not start: while the files are written, it would be too late. A
    generator, since Tutor prints the function that has failed where a filter raises.
    """
    context = click.get_current_context(silent=True)
    # To disable the plugin, Tutor asks for what it is to delete.
    is_saving = context is not None and context.obj is not None and context.info_name != "disable"
    site = tutor_config.load_full(context.obj.root) if context is not None and is_saving else {}
    if site.get(cluster_config.CRON_SCHEDULE):
        try:
            _scheduled_config(site)
        except TutorError as error:
            raise TutorError(
                f"{cluster_config.CRON_SCHEDULE} is set, and its runs could not start: {error.args[0]} "
                "Nothing was written to Tutor's environment. Fix that setting, or remove the schedule.\n"
                f"Run: tutor config save --unset {cluster_config.CRON_SCHEDULE}"
            ) from None
    yield from targets


def _scheduled_config(site: Config) -> str:
    job_config.check_names(site)
    user_values = job_config.from_settings(site)
    values = cluster_config.with_cluster_defaults(job_config.with_site_defaults(user_values, site), site)
    aspects.check_server(user_values, job_config.check(values), site)
    cluster_config.check(values, site)
    return job_config.encode(values)


TEMPLATE_VARIABLES: list[tuple[str, Any]] = [
    ("transform_logs_code_folders", code_folders),
    ("transform_logs_cron_config", cron_config),
    ("transform_logs_script", script),
]
