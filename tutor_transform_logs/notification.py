"""The command of ``TRANSFORM_LOGS_NOTIFY``: it is run on this machine, when the job has ended."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
from tutor import env as tutor_env
from tutor import fmt

from tutor_transform_logs.lms_job.config.schema import LOCAL_KEY, JobConfig
from tutor_transform_logs.lms_job.util import phase_outcome
from tutor_transform_logs.lms_job.util.run_summary import RunNumbers, Summary, is_url, run_command, summarise
from tutor_transform_logs.manifests import RUN
from tutor_transform_logs.reports import HOST_FOLDER

_KEY = "tutor_transform_logs.notification"
# In the folder that is mounted at LOCAL_KEY: always there, and the job may write to it. One file for all runs, since
# this user may not be allowed to delete what the job's user has written.
OUTCOME_FILE = ".transform-logs-outcome.json"


@dataclass(frozen=True)
class _Notification:
    command: str
    transformer_type: str
    began: float
    ask: Callable[[], Summary]
    """What the job has said of its run; empty if it said nothing."""


def prepare(context: click.Context, config: JobConfig, phase: str, ask: Callable[[], Summary]) -> None:
    """Have :func:`tell_end` run the command, if there is one for this ``phase``. The job itself sends to a URL."""
    if config.notify and not is_url(config.notify) and phase == RUN and not config.dry_run:
        context.meta[_KEY] = _Notification(config.notify, config.transformer_type, time.monotonic(), ask)


def outcome_file(root: str) -> Callable[[], Summary]:
    """Have docker compose's job write its outcome to a file; gives what reads it."""
    path = Path(tutor_env.data_path(root, *HOST_FOLDER), OUTCOME_FILE)
    os.environ[phase_outcome.VARIABLE] = f"{LOCAL_KEY}/{OUTCOME_FILE}"
    before = _changed(path)

    def read() -> Summary:
        if _changed(path) == before:
            return {}
        found = phase_outcome.parse(path.read_text(encoding="utf-8", errors="replace"))
        return found.summary if found else {}

    return read


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def tell_end(context: click.Context, status: int) -> None:
    """Run the command, if :func:`prepare` says so. What fails is a warning, and the run's status stays as it is."""
    found = context.meta.pop(_KEY, None)
    if not isinstance(found, _Notification):
        return
    try:
        said = found.ask()
    except OSError:
        said = {}
    if said.get("status") != status:
        # The job was killed, or has not started: what it said is not of this run.
        said = summarise(status, time.monotonic() - found.began, RunNumbers(), type_=found.transformer_type)
    problem = run_command(found.command, said)
    if problem:
        fmt.echo_alert(f"The command of TRANSFORM_LOGS_NOTIFY failed ({problem}). Fix it. The run is not affected.")
