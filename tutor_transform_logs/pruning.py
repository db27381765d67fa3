"""What can be deleted from a ledger without a run missing it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tutor_transform_logs import reports
from tutor_transform_logs.jobs import StoredJob
from tutor_transform_logs.lms_job.ledger.lock import local_lock
from tutor_transform_logs.lms_job.ledger.names import DEAD_LETTERS, REPORT_PAGE, RESULT

LOOKED_AT_AGAIN = (RESULT, REPORT_PAGE)


@dataclass(frozen=True)
class Prunable:
    """A file, or the whole folder of a job."""

    job: StoredJob
    path: Path
    what: str
    """For people."""
    bytes: int


def prunable(job: StoredJob, before: float, dead_letters: bool) -> Iterator[Prunable]:
    """What of a job was written before this time (seconds since 1970). Raises ``OSError``.

    Nothing of a job that runs. ``dead_letters``: these, too.
    """
    if job.owner:
        return
    files = [path for path in job.folder.rglob("*") if path.is_file()]
    if job.is_dry_run:
        if all(path.stat().st_mtime < before for path in files):
            yield Prunable(job, job.folder, "a dry run", sum(path.stat().st_size for path in files))
        return
    newest = max((path.parent.name for path in files if path.name == RESULT), default="")
    for path in sorted(files):
        if path.parent.parent != job.folder or path.stat().st_mtime >= before:
            continue
        if path.name in LOOKED_AT_AGAIN and path.parent.name != newest:
            what = "a report" if path.name == REPORT_PAGE else "a result"
        elif path.name == DEAD_LETTERS and dead_letters:
            what = "dead letters"
        else:
            continue
        yield Prunable(job, path, what, path.stat().st_size)


def delete(item: Prunable) -> None:
    """Raises ``OSError``, and :class:`~.errors.JobError` if the job was started meanwhile."""
    with local_lock(str(item.job.folder)):
        if item.path == item.job.folder:
            shutil.rmtree(item.path)
        else:
            if item.path.name == RESULT:
                reports.keep_totals(item.path.parent)
            item.path.unlink(missing_ok=True)
