"""How far a job is: for ``--status``, while it runs or after it stopped."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from ..model.activity import Throughput
from ..model.plan import Plan, Segment
from ..util.formatting import count, duration, of
from .entries import Entries
from .owner import LeaseOwner

# The past that the speed is of; a large batch takes a while.
RECENT_SECS = 120.0


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
    lines_per_sec: float = 0.0
    """The speed of the last minutes, while it runs; 0.0 if it is not known."""
    secs_left: float | None = None
    """What is left at this speed; ``None`` if it is not known."""

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
            f"{self.segments_done:,} of {count(len(plan.segments), 'segment')}.{self._speed}"
        )

    @property
    def _speed(self) -> str:
        if self.secs_left is None:
            return ""
        return f"\nNow: {self.lines_per_sec:,.0f} lines/s, about {duration(self.secs_left)} left."

    def to_json(self) -> dict[str, object]:
        return {
            "finished": self.plan.finished,
            "running": self.owner is not None,
            "owner": self.owner.to_json() if self.owner else None,
            "segments": len(self.plan.segments),
            "segments_done": self.segments_done,
            "bytes": self.bytes_total,
            "bytes_done": self.bytes_done,
            "lines_per_sec": round(self.lines_per_sec, 1),
            "secs_left": None if self.secs_left is None else round(self.secs_left, 1),
        }


def done_bytes(segments: Iterable[Segment], entries: Entries) -> int:
    """How many stored bytes of the segments every destination has."""
    done = 0
    for segment in segments:
        of_segment = entries[segment.id].values()
        if all(entry.done for entry in of_segment):
            done += segment.stored_bytes
        elif not segment.compression:
            done += min(entry.position for entry in of_segment) - segment.start
    return done


def job_status(plan: Plan, entries: Entries, owner: LeaseOwner | None) -> JobStatus:
    """``entries``: segment id -> destination id -> entry. A segment is done when every destination has it."""
    segments_done = lines = 0
    bytes_done = done_bytes(plan.segments, entries)
    throughput = Throughput()
    for segment in plan.segments:
        of_segment = entries[segment.id].values()
        last = min(of_segment, key=lambda entry: entry.counts.lines)
        lines += last.counts.lines
        throughput.add_all(last.activity.throughput)
        if all(entry.done for entry in of_segment):
            segments_done += 1
    total = sum(segment.stored_bytes for segment in plan.segments)
    speed, left = 0.0, None
    if owner and bytes_done:
        speed = throughput.lines_per_sec(time.time(), RECENT_SECS)
        if speed:
            left = (total - bytes_done) * lines / bytes_done / speed
    return JobStatus(plan, segments_done, bytes_done, total, owner, speed, left)
