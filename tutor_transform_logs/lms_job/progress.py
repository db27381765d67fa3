"""What a run is doing, while it is doing it: a bar on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from .counts import Counts
from .storage import Readable
from .text import duration, size

PLAIN_INTERVAL = 5.0


class Teller(Protocol):
    """What a worker tells of its doing: to the user, or to the process that talks to the user."""

    def watch(self, source: Readable) -> Readable: ...

    def skip(self, count: int) -> None: ...

    def begin(self, name: str) -> None: ...

    def add_counts(self, counts: Counts) -> None: ...

    def say(self, message: str) -> None: ...


class Progress:
    """Counts what has been read and done in this run, and shows it on standard error."""

    def __init__(self, total_bytes: int) -> None:
        self._total = total_bytes
        self._read = 0
        self._counts = Counts()
        self._object = ""
        self._started = self._said = time.monotonic()
        self._bar: Any = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            layout = "{percentage:3.0f}% |{bar:10}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}]{postfix}"
            self._bar = tqdm(
                total=total_bytes, unit="B", unit_scale=True, dynamic_ncols=True, bar_format=layout, file=sys.stderr
            )

    def watch(self, source: Readable) -> Readable:
        """``source``, with what is read from it counted."""
        return watched(source, self.add_bytes)

    def skip(self, count: int) -> None:
        """These bytes were done by an earlier run."""
        self._total -= count
        if self._bar is not None:
            self._bar.total = self._total
            self._bar.refresh()

    def begin(self, name: str) -> None:
        self._object = name

    def add_bytes(self, count: int) -> None:
        self._read += count
        if self._bar is not None:
            self._bar.update(count)

    def add_counts(self, counts: Counts) -> None:
        self._counts.add(counts)
        now = time.monotonic()
        if self._bar is not None:
            self._bar.set_postfix_str(f"{self._counts.lines:,} lines, {self._speed():,.0f} events/s", refresh=False)
        elif now - self._said >= PLAIN_INTERVAL:
            self._said = now
            self.say(self._line(now))

    def say(self, message: str) -> None:
        """One line to the user, without spoiling the bar."""
        if self._bar is not None:
            self._bar.write(message, file=sys.stderr)
        else:
            print(message, file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _speed(self) -> float:
        return self._events() / max(time.monotonic() - self._started, 0.001)

    def _events(self) -> int:
        return self._counts.transformed + self._counts.untransformable

    def _line(self, now: float) -> str:
        share = self._read / self._total if self._total else 1.0
        left = (now - self._started) * (1 - share) / share if share > 0 else 0.0
        return (
            f"{size(self._read)} of {size(self._total)} ({share:.0%}), {self._counts.lines:,} lines, "
            f"{self._events():,} events, {self._counts.made:,} statements, {self._speed():,.0f} events/s, "
            f"about {duration(left)} left, in {self._object}"
        )


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
