"""The reports that jobs have written to this machine's disk, and where the ledger is that holds them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tutor import env as tutor_env
from tutor.exceptions import TutorError

from tutor_transform_logs.lms_job.config.schema import LOCAL_KEY, StorageConfig
from tutor_transform_logs.lms_job.ledger.names import REPORT_PAGE, RESULT, TOTALS
from tutor_transform_logs.lms_job.model.plan import REDELIVERY
from tutor_transform_logs.lms_job.util.errors import ExitStatus
from tutor_transform_logs.lms_job.util.formatting import count, printable

# The folder below Tutor's data directory that is mounted at LOCAL_KEY in the LMS's containers.
HOST_FOLDER = ("lms",)


@dataclass(frozen=True)
class Totals:
    """What a plan adds to the numbers of its job."""

    lines: int = 0
    stored: int = 0
    """Statements that were stored."""

    @classmethod
    def of_result(cls, result: Mapping[str, Any]) -> Totals:
        """Raises ``KeyError``, ``TypeError`` or ``AttributeError`` for what is not a result."""
        # The lines of dead letters that are delivered again were counted when they were read first.
        lines = 0 if result.get("kind") == REDELIVERY else int(result["lines"]["lines"])
        return cls(lines, sum(int(found["stored"]) for found in result["destinations"]))

    def __add__(self, other: Totals) -> Totals:
        return Totals(self.lines + other.lines, self.stored + other.stored)


@dataclass(frozen=True)
class Report:
    """A report's page, and the result that was written with it."""

    page: Path
    result: Mapping[str, Any]

    @property
    def plan(self) -> int:
        """The number of its plan."""
        return int(self.result["plan"])

    @property
    def time(self) -> str:
        """When it was written, in UTC."""
        return str(self.result["reported"])

    @property
    def ending(self) -> str:
        """How the run ended, and what to do about it."""
        # Earlier versions saved the status alone.
        return str(self.result.get("ending") or f"{ExitStatus(self.result['status']).summary.capitalize()}.")

    def age_key(self) -> tuple[str, float]:
        """Sorts reports from old to new."""
        return self.time, self.page.stat().st_mtime

    @property
    def numbers(self) -> str:
        """How many lines, events and dead letters it is about."""
        lines, failed = self.result["lines"], sum(self.result["reasons"].values())
        return (
            f"{count(lines['lines'], 'line')}, {count(lines['transformed'], 'event')} made into statements, "
            f"{count(failed, 'dead letter')}"
        )

    def __str__(self) -> str:
        """A summary of five lines for people."""
        result = self.result
        names = ", ".join(destination["name"] for destination in result["destinations"])
        lines = (
            str(self.page),
            f"Job {result['job_key']}, plan {self.plan:04d}, {self.time}",
            self.ending,
            f"From {result['source']} to {names} ({result['transformer_type']})",
            self.numbers,
        )
        return "\n".join(map(printable, lines))


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
    """The report that was written last. Raises ``TutorError`` if there is none; ``OSError``."""
    found = all_reports(folder)
    if not found:
        raise TutorError(
            f"There is no report in {folder}: each run of tutor local do transform-tracking-logs leaves one there. "
            "(On Kubernetes they are with the ledger, in the object store or the volume.)"
        )
    return found[0]


def all_reports(folder: Path) -> list[Report]:
    """Those of all jobs of a ledger, the newest first. Raises ``OSError``."""
    jobs = [path for path in folder.iterdir() if path.is_dir()] if folder.exists() else []
    found = (report for job in jobs for report in reports_of(job))
    return sorted(found, key=Report.age_key, reverse=True)


def reports_of(job: Path) -> Iterator[Report]:
    """Those of the job with this folder. Raises ``OSError``."""
    for plan in job.iterdir():
        page, file = plan / REPORT_PAGE, plan / RESULT
        if page.is_file() and file.is_file():
            try:
                report = Report(page, json.loads(file.read_text(encoding="utf-8")))
                str(report)
            except (ValueError, KeyError, TypeError, AttributeError):
                continue  # written by another version, or not by this job at all
            yield report


def keep_totals(plan: Path) -> None:
    """Write what the result in this plan's folder adds to the job's numbers beside it. Raises ``OSError``."""
    try:
        totals = Totals.of_result(json.loads((plan / RESULT).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return  # it is not counted anyway
    new = plan / f".{TOTALS}.unfinished"
    new.write_text(json.dumps({"lines": totals.lines, "stored": totals.stored}), encoding="utf-8")
    new.replace(plan / TOTALS)


def totals_of(job: Path) -> Totals:
    """The numbers of the job with this folder, over all its plans. Raises ``OSError``."""
    found = Totals()
    for plan in job.iterdir():
        for name, read in ((RESULT, Totals.of_result), (TOTALS, lambda values: Totals(**values))):
            try:
                found += read(json.loads((plan / name).read_text(encoding="utf-8")))
                break
            except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError, AttributeError):
                continue  # there is none, or it was not written by this job
    return found
