"""Counts events by type and by day, and the throughput of a run, in bounded space.

Stored in the ledger's entries with the counts, so that a run that was killed counts nothing twice.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TypeVar

from ..util.iso_times import in_utc, moment
from .counts import whole_number

Key = TypeVar("Key", int, str)

# An entry is written with every batch, and so has to stay small. The types are those of an allow list, a few dozen.
MOST_TYPES = 300
MOST_DAYS = 400
MOST_SPANS = 120
SHORTEST_SPAN_SECS = 10

OTHER_TYPES = "(other types)"
NO_DAY = ""
"""For events whose time can't be read."""

# Open edX did not exist before this century; a wrong time far away would stretch every chart.
_DAY = re.compile(r"20\d\d-\d\d-\d\d")

TRANSFORMED, UNTRANSFORMABLE, FILTERED = range(3)
"""Places in the counts of a type."""
MADE, LOST = range(2)
"""Places in the counts of a day: statements made, and events of which none was made."""


@functools.lru_cache(maxsize=4096)
def _checked(day: str) -> str:
    if _DAY.fullmatch(day):
        with contextlib.suppress(ValueError):  # the 30th of February
            return date.fromisoformat(day).isoformat()
    return NO_DAY


def day_of(time: object) -> str:
    """The day (UTC) of an event's ``timestamp``, as 2026-01-31; :data:`NO_DAY` if it is not a time."""
    if isinstance(time, str) and time.endswith(("+00:00", "Z")):
        # What trackers write; the day need not be worked out.
        return _checked(time[:10])
    try:
        when = moment(time)
        return _checked(in_utc(when)[:10]) if when else NO_DAY
    except OverflowError:
        return NO_DAY


@dataclass
class Throughput:
    """How much was done in each span of time. When there are too many spans, their length is doubled."""

    span_secs: int = SHORTEST_SPAN_SECS
    """The shortest span times a power of two."""
    spans: dict[int, list[int]] = field(default_factory=dict)
    """Number of the span since 1970 -> lines, events."""

    def add(self, at: float, lines: int, events: int) -> None:
        """Count what was done just before ``at`` (seconds since 1970)."""
        _add(self.spans, int(at // self.span_secs), (lines, events))
        self._bound()

    def add_all(self, other: Throughput) -> None:
        while self.span_secs < other.span_secs:
            self._double()
        shrink = self.span_secs // other.span_secs
        for number, counts in other.spans.items():
            _add(self.spans, number // shrink, counts)
        self._bound()

    def lines_per_sec(self, now: float, recent_secs: float) -> float:
        """The speed in the last ``recent_secs`` before ``now`` (seconds since 1970), in whole spans."""
        first = int((now - recent_secs) // self.span_secs) + 1
        lines = sum(counts[0] for number, counts in self.spans.items() if number >= first)
        return lines / max(now - first * self.span_secs, 1.0)

    def _bound(self) -> None:
        while len(self.spans) > MOST_SPANS:
            self._double()

    def _double(self) -> None:
        self.span_secs *= 2
        spans, self.spans = self.spans, {}
        for number, counts in spans.items():
            _add(self.spans, number // 2, counts)

    def to_json(self) -> dict[str, object]:
        return {"span_secs": self.span_secs, "spans": {str(number): counts for number, counts in self.spans.items()}}

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> Throughput:
        """Raises ``KeyError``, ``TypeError`` or ``ValueError`` for what :meth:`to_json` has not written."""
        span_secs = values["span_secs"]
        times, rest = divmod(whole_number(span_secs), SHORTEST_SPAN_SECS)
        if rest or times < 1 or times & (times - 1):
            raise ValueError(f"{span_secs!r} is not the length of a span")
        return cls(
            times * SHORTEST_SPAN_SECS, {int(name): counts for name, counts in _table(values["spans"], 2).items()}
        )


@dataclass
class Activity:
    """Events of known types: how many, of which types, when they happened. Skipped lines are not counted."""

    types: dict[str, list[int]] = field(default_factory=dict)
    """Name -> events transformed, failed, filtered."""
    days: dict[str, list[int]] = field(default_factory=dict)
    """Day -> statements made, events lost. Where there are too many days, months (2026-01) or years stand for them."""
    throughput: Throughput = field(default_factory=Throughput)
    secs: float = 0.0
    """The working time, without the pauses between batches."""

    def transformed(self, name: str, time: object, statements: int) -> None:
        """Count an event that made this number of ``statements``."""
        _row(self.types, name, 3)[TRANSFORMED] += 1
        _row(self.days, day_of(time), 2)[MADE] += statements

    def failed(self, name: str, time: object) -> None:
        """Count an event that is a dead letter."""
        _row(self.types, name, 3)[UNTRANSFORMABLE] += 1
        _row(self.days, day_of(time), 2)[LOST] += 1

    def filtered(self, name: str) -> None:
        """Count an event that the filters exclude."""
        _row(self.types, name, 3)[FILTERED] += 1

    def worked(self, at: float, secs: float, lines: int, events: int) -> None:
        """Count the working time of a batch that ended ``at`` (seconds since 1970)."""
        self.throughput.add(at, lines, events)
        self.secs += secs

    def add(self, other: Activity) -> None:
        """Add another one's counts to these."""
        for name, counts in other.types.items():
            _add(self.types, name, counts)
        for day, counts in other.days.items():
            _add(self.days, day, counts)
        self.throughput.add_all(other.throughput)
        self.secs += other.secs

    def bounded(self) -> Activity:
        """The same counts, with at most as many types and days as an entry may have."""
        bounded = Activity(secs=self.secs)
        for name, counts in self.types.items():
            known = name in bounded.types or len(bounded.types) < MOST_TYPES
            _add(bounded.types, name if known else OTHER_TYPES, counts)
        bounded.days = self.days
        # Days become months, then years: coarser, but nothing is dropped.
        for length in (7, 4):
            if len(bounded.days) > MOST_DAYS:
                days, bounded.days = bounded.days, {}
                for day, counts in days.items():
                    _add(bounded.days, day[:length], counts)
        bounded.throughput.add_all(self.throughput)
        return bounded

    def to_json(self) -> dict[str, object]:
        return {
            "types": {name: list(counts) for name, counts in self.types.items()},
            "days": {day: list(counts) for day, counts in self.days.items()},
            "throughput": self.throughput.to_json(),
            "secs": round(self.secs, 3),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> Activity:
        """Raises ``KeyError``, ``TypeError`` or ``ValueError`` for what :meth:`to_json` has not written."""
        throughput, secs = values["throughput"], values["secs"]
        if not isinstance(throughput, Mapping):
            raise TypeError("throughput is not an object")
        if not isinstance(secs, (int, float)) or isinstance(secs, bool) or not secs >= 0:
            raise ValueError(f"{secs!r} is not a time")
        return cls(_table(values["types"], 3), _table(values["days"], 2), Throughput.from_json(throughput), float(secs))


def total_activity(parts: Iterable[Activity]) -> Activity:
    """The sum of ``parts``."""
    whole = Activity()
    for part in parts:
        whole.add(part)
    return whole


def _row(table: dict[str, list[int]], name: str, width: int) -> list[int]:
    row = table.get(name)
    if row is None:
        row = table[name] = [0] * width
    return row


def _add(table: dict[Key, list[int]], key: Key, counts: Iterable[int]) -> None:
    old = table.get(key)
    table[key] = list(counts) if old is None else [a + b for a, b in zip(old, counts, strict=True)]


def _table(values: object, width: int) -> dict[str, list[int]]:
    """Counts by name, as JSON has them, checked."""
    if not isinstance(values, Mapping):
        raise TypeError("a table of counts is not an object")
    table = {}
    for name, counts in values.items():
        if not isinstance(counts, list) or len(counts) != width:
            raise ValueError(f"{name!r} does not have {width} counts")
        table[str(name)] = [whole_number(count) for count in counts]
    return table
