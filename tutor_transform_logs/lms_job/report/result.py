"""The outcome of a plan so far, as values: REPORT adds it up, and the table, the page and the JSON show it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

from ..config.schema import JobConfig
from ..model import dead_letters
from ..model.activity import FILTERED, LOST, MADE, TRANSFORMED, UNTRANSFORMABLE, Activity
from ..model.counts import LINE_OUTCOMES, STATEMENT_OUTCOMES, Counts
from ..model.plan import Plan
from ..util.errors import ExitStatus
from ..util.run_summary import RunNumbers
from .next_steps import NextStep

# As a share of the events. Visitors who are not logged in make some.
FEW_DEAD_LETTERS = 0.01


@dataclass
class DestinationResult:
    """What one destination got."""

    id: str
    name: str
    counts: Counts
    done: bool
    stopped: str = ""


@dataclass
class ObjectResult:
    """What was in one source object."""

    name: str
    size: int
    counts: Counts
    activity: Activity
    done: bool
    notes: list[str] = field(default_factory=list)


@dataclass
class Result:
    """The outcome of a plan so far."""

    plan: Plan
    job_key: str
    counts: Counts
    activity: Activity
    destinations: list[DestinationResult]
    objects: list[ObjectResult]
    accounting_errors: list[str]
    problems: list[str]
    outputs: list[str] = field(default_factory=list)
    dead_letters: str = ""
    path: str = ""
    page: str = ""
    """Where the report for a browser is."""
    reported: float = field(default_factory=time.time)
    status: int = ExitStatus.DONE
    running: bool = False
    """The job is running now."""
    next_steps: Sequence[NextStep] = ()
    rows_by_day: Mapping[date, int] | None = None
    """Day -> rows of the ClickHouse table; ``None`` if that is not known."""
    deleted_users: Mapping[str, int] | None = None
    """Course -> events of users who are gone and have no external id; ``None`` if deleted users are not included."""
    site: Mapping[str, str] = field(default_factory=dict)
    """Which site it is, and which versions: names and values for people."""
    aborted: str = ""
    """The message of the error that ended the run early."""
    ending: str = ""
    """How the run ended and what to do about it, in sentences."""

    @property
    def done(self) -> bool:
        return all(destination.done for destination in self.destinations)

    @property
    def dead_share(self) -> str:
        """The share of dead letters in the events, if it is worth a look: more than :data:`FEW_DEAD_LETTERS`."""
        events = self.counts.transformed + self.counts.untransformable + self.counts.unparsable
        dead = sum(reasons(self).values())
        return f"{dead / events:.0%} of the events" if dead > FEW_DEAD_LETTERS * events > 0 else ""


@dataclass(frozen=True)
class SavedResult:
    """What a finished plan has left: the number of dead letters for each reason, and where everything is."""

    reasons: Mapping[str, int]
    outputs: Sequence[str]
    dead_letters: str
    path: str
    page: str


def exit_status(result: Result, stops: Sequence[int], strict: bool) -> int:
    """The exit status that the outcome means: see ``errors``."""
    if result.accounting_errors or ExitStatus.FAILED in stops:
        return ExitStatus.FAILED
    if stops or not result.done:
        return ExitStatus.STOPPED
    if any(destination.counts.rejected for destination in result.destinations) or result.problems:
        return ExitStatus.REJECTED
    if strict and reasons(result):
        return ExitStatus.REJECTED
    return ExitStatus.DONE


def to_json(config: JobConfig, result: Result) -> dict[str, Any]:
    """The result file."""
    plan = result.plan
    return {
        "job_key": result.job_key,
        "plan": plan.number,
        "kind": plan.kind,
        "begun": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(plan.created)),
        "reported": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(result.reported)),
        "transformer_type": config.transformer_type,
        "dry_run": config.dry_run,
        "source": str(config.source),
        "site": dict(result.site),
        "status": result.status,
        "ending": result.ending,
        "done": result.done,
        "lines": {name: getattr(result.counts, name) for name in LINE_NAMES},
        "reasons": reasons(result),
        "event_types": {
            name: {"transformed": n[TRANSFORMED], "failed": n[UNTRANSFORMABLE], "filtered": n[FILTERED]}
            for name, n in sorted(result.activity.types.items())
        },
        "days": {day: _made_and_failed(n) for day, n in sorted(result.activity.days.items())},
        "skipped_events": {name: number for name, (number,) in sorted(result.activity.skipped.items())},
        "courses": {course: _made_and_failed(n) for course, n in sorted(result.activity.courses.items())},
        "verbs": {verb: number for verb, (number,) in sorted(result.activity.verbs.items())},
        "work_secs": round(result.activity.secs, 3),
        "destinations": [
            {
                "id": destination.id,
                "name": destination.name,
                "done": destination.done,
                "stopped": destination.stopped,
                **{name: getattr(destination.counts, name) for name in STATEMENT_NAMES},
            }
            for destination in result.destinations
        ],
        "objects": [
            {
                "name": obj.name,
                "size": obj.size,
                "done": obj.done,
                "notes": obj.notes,
                "work_secs": round(obj.activity.secs, 3),
                **obj.counts.to_json(),
            }
            for obj in result.objects
        ],
        **({} if result.deleted_users is None else {"deleted_users": dict(sorted(result.deleted_users.items()))}),
        "accounting_errors": result.accounting_errors,
        "problems": result.problems,
        "aborted": result.aborted,
        "outputs": result.outputs,
        "dead_letters": result.dead_letters,
        "page": result.page,
        "next_steps": [asdict(step) for step in result.next_steps],
    }


def _made_and_failed(counts: Sequence[int]) -> dict[str, int]:
    return {"statements": counts[MADE], "failed_events": counts[LOST]}


def brief(config: JobConfig, result: Result) -> dict[str, Any]:
    """The result without its long parts."""
    return {name: value for name, value in to_json(config, result).items() if name not in LONG}


LONG = ("objects", "event_types", "days", "skipped_events", "courses", "verbs")
LINE_NAMES = ("lines", "blank", "unparsable", "unknown_event", "filtered", "untransformable", "transformed")
STATEMENT_NAMES = ("made", "stored", "duplicates", "rejected", "not_routed")


def reasons(result: Result) -> dict[str, int]:
    """How many dead letters there are for each reason: lines once, statements for each destination."""
    counted = {r: n for r, n in result.counts.reasons.items() if r not in dead_letters.DELIVER_REASONS}
    for destination in result.destinations:
        for reason in dead_letters.DELIVER_REASONS & destination.counts.reasons.keys():
            counted[reason] = counted.get(reason, 0) + destination.counts.reasons[reason]
    return dict(sorted(counted.items()))


def numbers_of(result: Result) -> RunNumbers:
    """What is told of the run outside. The names of destinations have no secret in them."""
    return RunNumbers(
        ending=result.ending,
        lines={name: getattr(result.counts, name) for name in LINE_OUTCOMES},
        statements={
            to.name: {name: getattr(to.counts, name) for name in ("made", *STATEMENT_OUTCOMES)}
            for to in result.destinations
        },
        dead_letters=sum(reasons(result).values()),
        planned=result.plan.created,
    )
