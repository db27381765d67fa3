"""How far a job is: for ``--status``, while it runs or after it stopped."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ..model.plan import Plan
from ..util.formatting import count, of
from .entries import Entries
from .owner import LeaseOwner


@dataclass(frozen=True)
class JobStatus:
    """How far a plan is, and who runs it."""

    plan: Plan
    segments_done: int
    bytes_done: int
    """Stored bytes; of a compressed object, nothing before it is done."""
    bytes_total: int
    owner: LeaseOwner | None
    """Who runs the job now."""

    def __str__(self) -> str:
        plan = self.plan
        started = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(plan.created))
        state = "finished" if plan.finished else "running" if self.owner else "NOT finished, and not running"
        if not plan.segments:
            return f"Plan {plan.name}, {state}. The last run found nothing new."
        who = f"\nRun by {self.owner}." if self.owner else ""
        share = f" ({self.bytes_done / self.bytes_total:.0%})" if self.bytes_total else ""
        return (
            f"Plan {plan.name}, started {started} UTC, {state}.{who}\n"
            f"Done: {of(self.bytes_done, self.bytes_total)}{share}, "
            f"{self.segments_done:,} of {count(len(plan.segments), 'segment')}."
        )

    def to_json(self) -> dict[str, object]:
        return {
            "finished": self.plan.finished,
            "running": self.owner is not None,
            "owner": self.owner.to_json() if self.owner else None,
            "segments": len(self.plan.segments),
            "segments_done": self.segments_done,
            "bytes": self.bytes_total,
            "bytes_done": self.bytes_done,
        }


def job_status(plan: Plan, entries: Entries, owner: LeaseOwner | None) -> JobStatus:
    """``entries``: segment id -> destination id -> entry. A segment is done when every destination has it."""
    segments_done = bytes_done = 0
    for segment in plan.segments:
        of_segment = entries[segment.id].values()
        if all(entry.done for entry in of_segment):
            segments_done += 1
            bytes_done += segment.stored_bytes
        elif not segment.compression:
            bytes_done += min(entry.position for entry in of_segment) - segment.start
    total = sum(segment.stored_bytes for segment in plan.segments)
    return JobStatus(plan, segments_done, bytes_done, total, owner)
