"""PLAN's results as text for people and fields for programs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from ..ledger.entries import Entries
from ..model.plan import OUT_OF_RANGE, Plan, Segment
from ..storage.base import StoredObject
from ..util.formatting import count, printable, size


@dataclass(frozen=True)
class PlanDescription:
    """A line for people, and the same as fields."""

    text: str
    fields: dict[str, object]


def describe_plan(plan: Plan, resumed: bool, entries: Entries) -> PlanDescription:
    """What is to be done. ``entries``: of a plan that is resumed; empty for a new one."""
    left, started = _left(plan, entries) if resumed else (list(plan.segments), 0)
    begun = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(plan.created))
    skipped = sum(1 for obj in plan.objects if obj.note)
    done = len(plan.segments) - len(left)
    text = (
        (f"Resuming plan {plan.name}, started {begun} UTC. " if resumed else "")
        + f"Source: {count(len(plan.objects), 'object')}, {size(sum(obj.size for obj in plan.objects))}"
        + (f", {skipped:,} of them skipped. " if skipped else ". ")
        + f"To do: {count(len(left), 'segment')}"
        + (f" of {len(plan.segments):,} ({done:,} done, {started:,} started)" if resumed else "")
        + f", {size(sum(segment.stored_bytes for segment in left))}."
    )
    fields: dict[str, object] = {
        "plan": plan.number,
        "resumed": resumed,
        "objects": len(plan.objects),
        "segments": len(plan.segments),
        "segments_left": len(left),
        "bytes_left": sum(segment.stored_bytes for segment in left),
    }
    return PlanDescription(text, fields)


def describe_dead_letters(files: Sequence[StoredObject]) -> str:
    """What to do about the dead letters that earlier runs have left in ``files``; ``""`` if there are none."""
    if not files:
        return ""
    what = f"{count(len(files), 'file')}, {size(sum(file.size for file in files))}"
    return f"Dead letters of earlier runs: {what}. Fix their cause, then send them again: --retry-failed."


def describe_nothing_new(plan: Plan, ledger: str, dead_letters: Sequence[StoredObject]) -> PlanDescription:
    """Why there is nothing to do. ``ledger``: where the ledger is; ``dead_letters``: the files of earlier runs."""
    objects = count(len(plan.objects), "object")
    out_of_range = any(obj.note == OUT_OF_RANGE for obj in plan.objects)
    why = "done before, empty, or out of range by the date in the name" if out_of_range else "done before, or empty"
    lines = [f"Nothing new in {objects}: {why}. To do it all again: --restart."]
    lines += map(printable, plan.left_out)
    text = "\n".join([*lines, *filter(None, [describe_dead_letters(dead_letters)]), f"Ledger: {ledger}"])
    fields: dict[str, object] = {
        "message": lines[0],
        "objects": len(plan.objects),
        "dead_letter_files": len(dead_letters),
        "ledger": ledger,
    }
    return PlanDescription(text, fields)


def _left(plan: Plan, entries: Entries) -> tuple[list[Segment], int]:
    """The segments that some destination lacks, in whole or in part, and how many of them were started."""
    left = [segment for segment in plan.segments if not all(entry.done for entry in entries[segment.id].values())]
    return left, sum(any(entry.counts.lines for entry in entries[segment.id].values()) for segment in left)
