"""What a run is doing while it does it: lines that are redrawn on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..model.counts import Counts
from ..storage.base import Readable
from ..util import console
from ..util.backoff import Waiting
from ..util.formatting import duration, of, printable
from .eta import Eta

# The longer a run takes, the less often it says so.
FIRST_INTERVAL, LONGEST_INTERVAL = 5.0, 60.0
INTERVAL_SHARE = 0.02
DRAW_SECS = 0.2
# The same trouble, of all workers together, is told once in this time.
REPEAT_SECS = 30.0
MOST_WORKER_LINES = 8
MOST_NAMED = 3
STARTING = "starting"


class ProgressReporter(Protocol):
    """What a worker tells of its doing: to the user, or to the process that talks to the user."""

    def watch(self, source: Readable) -> Readable: ...

    def skip(self, count: int) -> None: ...

    def begin(self, name: str) -> None: ...

    def add_bytes(self, count: int) -> None: ...

    def add_counts(self, counts: Counts) -> None: ...

    def rest(self, secs: float) -> None: ...

    def wait(self, waiting: Waiting) -> None: ...

    def say(self, message: str) -> None: ...


class Progress:
    """Counts what has been done in this run, and shows it on standard error. Workers are numbered from 0."""

    def __init__(self, total_bytes: int, workers: int = 1) -> None:
        self._total = total_bytes
        self._done = 0
        self._counts = Counts()
        self._objects: dict[int, str] = {}
        """Worker -> the object that it is at."""
        self._states: dict[int, str] = dict.fromkeys(range(workers), STARTING)
        """Worker -> what it does, in words."""
        self._started = self._said = time.monotonic()
        self._drawn = 0.0
        self._eta = Eta(self._started)
        self._told: dict[str, float] = {}
        """Trouble -> when it was told."""
        self._lines: list[Any] = []
        """The bar, and a line for each worker."""
        if console.has_terminal():
            self._lines = _lines(total_bytes, min(workers, MOST_WORKER_LINES))
            self._draw()

    def watch(self, source: Readable) -> Readable:
        """``source``, with what is read from it counted as done."""
        return watched(source, self.add_bytes)

    def skip(self, count: int) -> None:
        """These bytes were done by an earlier run."""
        self._total -= count

    def begin(self, name: str, worker: int = 0) -> None:
        self._objects[worker] = self._states[worker] = printable(name)
        self._show(now=True)

    def end(self, worker: int) -> None:
        """This worker has nothing more to do."""
        self._states.pop(worker, None)
        self._show()

    def add_bytes(self, count: int) -> None:
        self._done += count
        self._eta.done(count, time.monotonic())
        self._show()

    def add_counts(self, counts: Counts, worker: int = 0) -> None:
        self._counts.add(counts)
        self._states[worker] = self._objects.get(worker, STARTING)
        self._show()

    def rest(self, secs: float, worker: int = 0) -> None:
        """A rest for the sake of the LMS and the destination."""
        self._states[worker] = f"resting for {secs:.0f} s"
        self._show(now=True)

    def wait(self, waiting: Waiting, worker: int = 0) -> None:
        """Something is out of reach."""
        self._states[worker] = f"waiting {max(waiting.secs, 1):.0f} s: {printable(waiting.why)}"
        now = time.monotonic()
        if now - self._told.get(waiting.why, -REPEAT_SECS) >= REPEAT_SECS:
            self._told[waiting.why] = now
            self._above(lambda: console.tell_wait(waiting))
        self._show(now=True)

    def say(self, message: str) -> None:
        """One line to the user, without spoiling what is drawn."""
        self._above(lambda: console.say(message))

    def close(self) -> None:
        """Leave the last state of the bar on the terminal."""
        if self._lines:
            self._draw()
            for line in reversed(self._lines):
                line.close()
            self._lines = []

    def _above(self, say: Callable[[], None]) -> None:
        for line in self._lines:
            line.clear()
        say()
        for line in self._lines:
            line.refresh()

    def _show(self, now: bool = False) -> None:
        clock = time.monotonic()
        if self._lines:
            if now or clock - self._drawn >= DRAW_SECS:
                self._draw()
        elif clock - self._said >= interval(self._said - self._started):
            self._said = clock
            console.say(self._line(clock), "progress", fields=self._fields(clock))

    def _draw(self) -> None:
        clock = self._drawn = time.monotonic()
        bar, *lines = self._lines
        bar.n, bar.total = min(self._done, self._total), max(self._total, 1)
        left = self._eta.secs_left(self._total - self._done, clock)
        time_left = f", {duration(left)} left" if left else ""
        bar.set_description_str(f"{of(self._done, self._total)}, {self._speed(clock):,.0f} events/s{time_left}")
        if len(lines) == 1:
            state = self._states.get(0, "done")
            lines[0].set_description_str(f"     {state}")
            return
        for number, line in enumerate(lines):
            line.set_description_str(f"{number + 1:>4} {self._states.get(number, 'done')}")

    def _speed(self, now: float) -> float:
        return self._events() / max(now - self._started, 0.001)

    def _events(self) -> int:
        return self._counts.transformed + self._counts.untransformable

    def _line(self, now: float) -> str:
        share = min(self._done / self._total, 1.0) if self._total else 1.0
        left = self._eta.secs_left(self._total - self._done, now)
        time_left = "time left not known yet" if left is None else f"about {duration(left)} left"
        return (
            f"{share:.0%}, {of(self._done, self._total)}, {self._counts.lines:,} lines, "
            f"{self._events():,} events ({self._speed(now):,.0f}/s), {time_left}: {_doing(self._states)}"
        )

    def _fields(self, now: float) -> dict[str, object]:
        left = self._eta.secs_left(self._total - self._done, now)
        return {
            "bytes_done": self._done,
            "bytes_total": self._total,
            "lines": self._counts.lines,
            "events": self._events(),
            "statements": self._counts.made,
            "events_per_second": round(self._speed(now), 1),
            "seconds_left": None if left is None else round(left),
            "workers": [state for _, state in sorted(self._states.items())],
        }


def interval(elapsed: float) -> float:
    """After how many seconds of silence a run that has taken ``elapsed`` seconds says where it is."""
    return min(max(FIRST_INTERVAL, elapsed * INTERVAL_SHARE), LONGEST_INTERVAL)


def _doing(states: Mapping[int, str]) -> str:
    """What the workers do, each thing once."""
    each = list(dict.fromkeys(states.values()))
    more = f" and {len(each) - MOST_NAMED} more" if len(each) > MOST_NAMED else ""
    return ", ".join(each[:MOST_NAMED]) + more


def _lines(total_bytes: int, workers: int) -> list[Any]:
    from tqdm import tqdm

    # Its thread would redraw when nothing has changed, and must not be there when workers are forked.
    tqdm.monitor_interval = 0
    common: dict[str, Any] = {"dynamic_ncols": True, "mininterval": 0}
    bar = tqdm(total=max(total_bytes, 1), bar_format="{percentage:3.0f}% |{bar:8}| {desc}", position=0, **common)
    lines = (tqdm(total=0, bar_format="{desc}", leave=False, position=n, **common) for n in range(1, workers + 1))
    return [bar, *lines]


@dataclass(frozen=True)
class _Watched:
    source: Readable
    add_bytes: Callable[[int], None]

    def read(self, name: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        for chunk in self.source.read(name, start, end):
            self.add_bytes(len(chunk))
            yield chunk


def watched(source: Readable, add_bytes: Callable[[int], None]) -> Readable:
    """``source``, with the length of every chunk that is read from it told to ``add_bytes``."""
    return _Watched(source, add_bytes)
