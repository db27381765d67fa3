"""Finds the newest of the reports that jobs have written to this machine's disk."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tutor import env as tutor_env
from tutor.exceptions import TutorError

from tutor_transform_logs.lms_job.config.schema import LOCAL_KEY, StorageConfig
from tutor_transform_logs.lms_job.ledger.names import REPORT_PAGE, RESULT
from tutor_transform_logs.lms_job.util.errors import ExitStatus

# The folder below Tutor's data directory that is mounted at LOCAL_KEY in the LMS's containers.
HOST_FOLDER = ("lms",)


@dataclass(frozen=True)
class Report:
    """A report's page, and the result that was written with it."""

    page: Path
    result: Mapping[str, Any]

    def __str__(self) -> str:
        """A summary of five lines for people."""
        result = self.result
        lines, failed = result["lines"], sum(result["reasons"].values())
        names = ", ".join(destination["name"] for destination in result["destinations"])
        # Earlier versions saved the status alone.
        ending = result.get("ending") or f"{ExitStatus(result['status']).summary.capitalize()}."
        return (
            f"{self.page}\n"
            f"Job {result['job_key']}, plan {result['plan']:04d}, {result['reported']}\n"
            f"{ending}\n"
            f"From {result['source']} to {names} ({result['transformer_type']})\n"
            f"{lines['lines']:,} lines, {lines['transformed']:,} events made into statements, {failed:,} dead letters"
        )


def ledger_folder(root: str, ledger: StorageConfig) -> Path:
    """The folder on this machine that holds the ledger.

    Raises ``TutorError``, which says where the ledger is, if it is not on this machine or not in ``data/lms``.
    """
    if not ledger.is_local:
        below = f"{ledger.prefix.rstrip('/')}/" if ledger.prefix else ""
        raise TutorError(
            f"The ledger is in {ledger.provider}, in the bucket {ledger.container}, and the reports with it. "
            f"(Each is called {below}<job>/<plan>/{REPORT_PAGE}. With the AWS CLI, for example: "
            f"aws s3 cp --recursive --exclude '*' --include '*/{REPORT_PAGE}' s3://{ledger.container}/{below} reports/)"
        )
    inside = PurePosixPath(ledger.root, ledger.prefix)
    if not inside.is_relative_to(LOCAL_KEY):
        raise TutorError(
            f"The ledger is in {inside} in the job's container, which is not below /openedx/data: look for "
            f"<job>/<plan>/{REPORT_PAGE} in what is mounted there."
        )
    return Path(tutor_env.data_path(root, *HOST_FOLDER), *inside.relative_to(LOCAL_KEY).parts)


def newest_report(folder: Path) -> Report:
    """The report that was written last. Raises ``TutorError`` if there is none, or none that can be read."""
    try:
        found = max(
            _reports(folder), key=lambda report: (str(report.result["reported"]), report.page.parent.name), default=None
        )
    except OSError as error:
        raise TutorError(
            f"{error.filename} can't be read ({error.strerror}): it belongs to the LMS's user. Use sudo, as for Docker."
        ) from error
    if found is None:
        raise TutorError(
            f"There is no report in {folder}: each run of tutor local do transform-tracking-logs leaves one there. "
            "(On Kubernetes they are with the ledger, in the object store or the volume.)"
        )
    return found


def _reports(folder: Path) -> Iterator[Report]:
    if not folder.exists():
        return
    for job in folder.iterdir():
        for plan in job.iterdir() if job.is_dir() else ():
            page, file = plan / REPORT_PAGE, plan / RESULT
            if page.is_file() and file.is_file():
                try:
                    result = json.loads(file.read_text(encoding="utf-8"))
                    str(Report(page, result))
                except (ValueError, KeyError, TypeError, AttributeError):
                    continue  # written by another version, or not by this job at all
                yield Report(page, result)
