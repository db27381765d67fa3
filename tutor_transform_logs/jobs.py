"""The jobs whose ledgers are on this machine's disk: what each is, how far it is, and its dead letters."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutor.exceptions import TutorError

from tutor_transform_logs.lms_job.ledger import names
from tutor_transform_logs.lms_job.ledger.ledger import Ledger
from tutor_transform_logs.lms_job.ledger.lock import current_owner
from tutor_transform_logs.lms_job.ledger.owner import LeaseOwner
from tutor_transform_logs.lms_job.model import dead_letters
from tutor_transform_logs.lms_job.model.dead_letters import DeadLetter
from tutor_transform_logs.lms_job.storage.local import LocalStorage
from tutor_transform_logs.lms_job.util.errors import JobError
from tutor_transform_logs.lms_job.util.formatting import count, printable
from tutor_transform_logs.reports import Report, reports_of, totals_of

READ_BYTES = 1024**2


@dataclass(frozen=True)
class StoredJob:
    """A job, by its folder in the ledger."""

    folder: Path

    @property
    def key(self) -> str:
        return self.folder.name

    @property
    def owner(self) -> LeaseOwner | None:
        """Who runs it now."""
        return current_owner(self._storage, self.key, local=True)

    @property
    def is_dry_run(self) -> bool:
        return bool(_identity(self.folder).get("dry_run"))

    def reports(self) -> list[Report]:
        """Those of its plans, the newest first."""
        return sorted(reports_of(self.folder), key=Report.age_key, reverse=True)

    def dead_letter_files(self, plan: int | None = None) -> list[Path]:
        """All of them, or those of one plan."""
        found = (path for path in sorted(self.folder.rglob("*.jsonl")) if path.is_file())
        return [
            path
            for path in found
            if names.has_dead_letters(path.relative_to(self.folder.parent).as_posix())
            and plan in (None, _plan_number(path.relative_to(self.folder).parts[0]))
        ]

    @property
    def _storage(self) -> LocalStorage:
        return LocalStorage(str(self.folder.parent))

    def describe(self) -> str:
        """A few lines for people."""
        reports = self.reports()
        letters = sum(map(_lines_in, self.dead_letter_files()))
        lines = [f"{self.key}  {_what(_identity(self.folder))}", f"  {self._state(reports[0] if reports else None)}"]
        if reports:
            totals = totals_of(self.folder)
            lines.append(f"  {count(totals.lines, 'line')} read, {count(totals.stored, 'statement')} stored")
        if letters:
            lines.append(f"  {count(letters, 'dead letter')}: tutor transform-logs dead-letters --job {self.key}")
        return "\n".join(map(printable, lines))

    def _state(self, last: Report | None) -> str:
        if owner := self.owner:
            return f"running: {owner}"
        try:
            plan = Ledger(self._storage, "", self.key).load_plan()
        except JobError as error:
            return str(error)
        if plan is None:
            return "has not begun"
        if not plan.finished and (last is None or last.plan != plan.number):
            return f"plan {plan.name} was stopped before its report: run the command again"
        if last is None:
            return f"plan {plan.name} is finished"
        return f"last run {last.time}, plan {last.plan:04d}: {last.ending}"


def jobs_in(folder: Path) -> list[StoredJob]:
    """The jobs of a ledger, the one that ran last first. Raises ``OSError``."""
    found = [path for path in folder.iterdir() if (path / names.IDENTITY).is_file()] if folder.exists() else []
    return [StoredJob(path) for path in sorted(found, key=_last_used, reverse=True)]


def job_named(folder: Path, beginning: str) -> StoredJob:
    """The job whose key begins so. Raises ``TutorError`` if there is none, or more than one."""
    found = [job for job in jobs_in(folder) if job.key.startswith(beginning)]
    if len(found) != 1:
        what = "More than one job has" if found else "No job has"
        raise TutorError(f"{what} a key that begins with {beginning!r}. See the jobs: tutor transform-logs jobs")
    return found[0]


def letters_in(path: Path) -> Iterator[DeadLetter]:
    """The dead letters of a file, one after the other. Raises ``OSError``, and ``TutorError`` for a damaged one."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                yield from dead_letters.parse(line)
            except ValueError as error:
                raise TutorError(
                    f"{path} is damaged in line {number} ({error}). Restore it from a backup, or remove that line."
                ) from None


def _what(identity: Mapping[str, Any]) -> str:
    """From where to where, in one line."""
    filters = identity.get("filters")
    return (
        f"{_place(identity.get('source'))} to {_place(identity.get('destination'))} ({identity.get('transformer_type')}"
        f"{', dry run' if identity.get('dry_run') else ''}"
        f"{', ' + json.dumps(filters) if filters else ''})"
    )


def _place(where: object) -> str:
    """A store or a table as a job's identity has it; ``LRS`` stands for itself."""
    if not isinstance(where, Mapping):
        return str(where)
    prefix = where.get("prefix")
    prefix = ", ".join(map(str, prefix)) if isinstance(prefix, list) else prefix
    parts = [where.get("host") or where.get("url"), where.get("container"), prefix]
    parts += [".".join(filter(None, (where.get("database"), where.get("table"))))]
    return " ".join([str(where.get("provider", "")), "/".join(str(part).rstrip("/") for part in parts if part)])


def _identity(folder: Path) -> Mapping[str, Any]:
    try:
        values = json.loads((folder / names.IDENTITY).read_bytes())
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _plan_number(name: str) -> int | None:
    return int(name) if name.isdecimal() else None


def _last_used(folder: Path) -> float:
    """When its plan was changed last."""
    plan = folder / names.PLAN
    return (plan if plan.is_file() else folder).stat().st_mtime


def _lines_in(path: Path) -> int:
    with path.open("rb") as file:
        return sum(piece.count(b"\n") for piece in iter(lambda: file.read(READ_BYTES), b""))
