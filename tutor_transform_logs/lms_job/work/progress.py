"""Progress of a run: one state that events change, shown by one of two printers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..model.counts import Counts
from ..model.progress_events import (
    BatchDone,
    BytesRead,
    Emit,
    Message,
    ProgressEvent,
    Resting,
    SegmentStarted,
    StatementSampled,
    WorkerEnded,
)
from ..storage.base import Readable
from ..util import console
from ..util.backoff import Waiting
from ..util.doing import Doing
from ..util.formatting import duration, of, printable
from .eta import Eta
from .progress_printers import LinePrinter, Printer, TerminalPrinter
from .statement_sample import StatementSample

# The same trouble, of all workers together, is reported once in this time.
REPEAT_SECS = 30.0
MAX_STATES_SHOWN = 3
STARTING = "starting"


@dataclass
class ProgressState:
    """What has been done. Workers are numbered from 0; ``now`` is a monotonic clock in seconds."""

    total_bytes: int
    started: float
    workers: dict[int, str]
    """Worker -> what it does."""
    done_bytes: int = 0
    """With those that earlier runs have done: what is shown is how far the whole job is."""
    counts: Counts = field(default_factory=Counts)
    _objects: dict[int, str] = field(default_factory=dict)
    """Worker -> the object that it reads."""
    _reported: dict[str, float] = field(default_factory=dict)
    """Trouble -> when it was last reported."""

    def __post_init__(self) -> None:
        self._eta = Eta(self.started)

    def apply(self, event: ProgressEvent, worker: int, now: float) -> None:
        """Take in an event of ``worker``."""
        if isinstance(event, BytesRead):
            self.done_bytes += event.count
            self._eta.done(event.count, now)
        elif isinstance(event, SegmentStarted):
            self._objects[worker] = self.workers[worker] = printable(event.name)
        elif isinstance(event, BatchDone):
            self.counts.add(event.counts)
            self.workers[worker] = self._objects.get(worker, STARTING)
        elif isinstance(event, Resting):
            self.workers[worker] = f"resting for {event.secs:.0f} s"
        elif isinstance(event, Waiting):
            self.workers[worker] = f"waiting {max(event.secs, 1):.0f} s: {printable(event.why)}"
        elif isinstance(event, Doing):
            self.workers[worker] = printable(event.what)
        elif isinstance(event, WorkerEnded):
            self.workers.pop(worker, None)

    def is_news(self, waiting: Waiting, now: float) -> bool:
        """Was this trouble not reported lately, by any worker? Counts as reported from now on."""
        trouble = waiting.trouble or waiting.why
        if now - self._reported.get(trouble, -REPEAT_SECS) < REPEAT_SECS:
            return False
        self._reported[trouble] = now
        return True

    @property
    def events(self) -> int:
        return self.counts.transformed + self.counts.untransformable

    def events_per_second(self, now: float) -> float:
        return self.events / max(now - self.started, 0.001)

    def secs_left(self, now: float) -> float | None:
        """``None``: not known yet."""
        return self._eta.secs_left(self.total_bytes - self.done_bytes, now)

    def summary(self, now: float, width: int) -> str:
        """The text beside the bar: as much of it as fits into ``width`` columns, how much is done in any case.

        Where not all of it fits, the time that is left matters more than the speed.
        """
        done, left = of(self.done_bytes, self.total_bytes), self.secs_left(now)
        speed, time_left = f"{self.events_per_second(now):,.0f} events/s", f"{duration(left)} left" if left else ""
        for parts in ((done, speed, time_left), (done, time_left)):
            text = ", ".join(filter(None, parts))
            if len(text) <= width:
                return text
        return time_left if 0 < len(time_left) <= width else done

    def line(self, now: float) -> str:
        """One line for those who have no terminal."""
        share = min(self.done_bytes / self.total_bytes, 1.0) if self.total_bytes else 1.0
        left = self.secs_left(now)
        time_left = "time left not known yet" if left is None else f"about {duration(left)} left"
        return (
            f"{share:.0%}, {of(self.done_bytes, self.total_bytes)}, {self.counts.lines:,} lines, "
            f"{self.events:,} events ({self.events_per_second(now):,.0f}/s), {time_left}: {self._describe_workers()}"
        )

    def _describe_workers(self) -> str:
        """What the workers do, each state once."""
        states = list(dict.fromkeys(self.workers.values()))
        more = f" and {len(states) - MAX_STATES_SHOWN} more" if len(states) > MAX_STATES_SHOWN else ""
        return ", ".join(states[:MAX_STATES_SHOWN]) + more

    def fields(self, now: float) -> dict[str, object]:
        """The same for programs."""
        left = self.secs_left(now)
        return {
            "bytes_done": self.done_bytes,
            "bytes_total": self.total_bytes,
            "lines": self.counts.lines,
            "events": self.events,
            "statements": self.counts.made,
            "events_per_second": round(self.events_per_second(now), 1),
            "seconds_left": None if left is None else round(left),
            "workers": [state for _, state in sorted(self.workers.items())],
        }


class Progress:
    """Shows what a run does, on standard error."""

    def __init__(self, total_bytes: int, workers: int = 1, done_bytes: int = 0) -> None:
        """``done_bytes``: how many of the bytes earlier runs have done."""
        now = time.monotonic()
        self.sample = StatementSample()
        self._state = ProgressState(total_bytes, now, dict.fromkeys(range(workers), STARTING), done_bytes)
        # What threads have to say of requests and of what they read comes between what the worker has.
        self._lock = threading.RLock()
        self._printer: Printer
        if console.has_terminal():
            self._printer = TerminalPrinter(self._state, workers, now)
        else:
            self._printer = LinePrinter(self._state)

    def emit(self, event: ProgressEvent, worker: int = 0) -> None:
        with self._lock:
            self._emit(event, worker)

    def _emit(self, event: ProgressEvent, worker: int) -> None:
        if isinstance(event, StatementSampled):
            self.sample.add(event)
            return
        now = time.monotonic()
        self._state.apply(event, worker, now)
        if isinstance(event, Message):
            self._printer.print(lambda: console.say(event.text))
        elif isinstance(event, Waiting) and self._state.is_news(event, now):
            self._printer.print(lambda: console.tell_wait(event))
        self._printer.update(now, at_once=isinstance(event, (SegmentStarted, Resting, Waiting)))

    def close(self) -> None:
        self._printer.close(time.monotonic())


@dataclass(frozen=True)
class _Watched:
    source: Readable
    emit: Emit

    def read(self, name: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        for chunk in self.source.read(name, start, end):
            self.emit(BytesRead(len(chunk)))
            yield chunk


def watched(source: Readable, emit: Emit) -> Readable:
    """``source``, with the length of every chunk that is read from it reported as done."""
    return _Watched(source, emit)
