"""Counts events by type and by day, and the throughput of a run, in bounded space.

Stored in the ledger's entries with the counts, so that a run that was killed counts nothing twice.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TypeVar

from ..util.iso_times import in_utc, moment
from .counts import whole_number

Key = TypeVar("Key", int, str)
Number = TypeVar("Number", int, float)

# An entry is written with every batch, and so has to stay small. The types are those of an allow list, a few dozen.
MOST_TYPES = 300
# Of these, the places for what came last, so that a name can get in that is frequent from now on.
NEWEST_TYPES = 100
MOST_DAYS = 400
MOST_SPANS = 120
SHORTEST_SPAN_SECS = 10
# Hours are for the report of a log of a day or two.
MOST_HOURS = 48
MOST_WORKERS = 64
# Names may come from the browser, as long as anybody likes. Course ids have up to 255 characters.
MOST_NAME_CHARACTERS, MOST_COURSE_CHARACTERS = 120, 255

OTHERS = {
    "types": "(other types)",
    "skipped": "(other names)",
    "courses": "(other courses)",
    "verbs": "(other verbs)",
}
"""Table -> the name of the row with the counts of all names for which it has no place."""
PAGE_VIEWS = "(page views)"
"""The name of all skipped events whose names are paths; each path would be a name of its own."""
NO_NAME = "(no name)"
NO_DAY = ""
"""For events whose time can't be read."""

# Open edX did not exist before this century; a wrong time far away would stretch every chart.
_DAY = re.compile(r"20\d\d-\d\d-\d\d")

TRANSFORMED, UNTRANSFORMABLE, FILTERED = range(3)
"""Places in the counts of a type."""
MADE, LOST = range(2)
"""Places in the counts of a day, an hour or a course: statements made, and events of which none was made."""

_OTHER_WORKERS = "(other workers)"
_HOUR_CHARACTERS = len("2026-01-31T14")
# No quotation mark in a string of JSON stands by itself, so that this can't be in one.
_VERB = re.compile(rb'"(?:verb": ?\{"id|action)": ?"([^"\\]+)"')


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


@functools.lru_cache(maxsize=4096)
def _checked_hour(hour: str) -> str:
    return hour if _checked(hour[:10]) and re.fullmatch(r"T([01]\d|2[0-3])", hour[10:]) else _checked(hour[:10])


def hour_of(time: object) -> str:
    """The hour (UTC) of an event's ``timestamp``, as 2026-01-31T14; its day alone, or :data:`NO_DAY`, if it has none.

    The day is that of :func:`day_of`.
    """
    if isinstance(time, str) and time.endswith(("+00:00", "Z")):
        return _checked_hour(time[:_HOUR_CHARACTERS])
    try:
        when = moment(time)
        return _checked_hour(in_utc(when)[:_HOUR_CHARACTERS]) if when else NO_DAY
    except OverflowError:
        return NO_DAY


def verb_of(body: bytes) -> str:
    """The id of a statement's verb, or the action of a Caliper event in its envelope; ``""`` if there is none."""
    found = _VERB.search(body)
    return found[1].decode("utf-8", "replace") if found else ""


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
    """Events: how many, of which types, courses and verbs, when they happened; and how long the work took."""

    types: dict[str, list[int]] = field(default_factory=dict)
    """Name of a known type -> events transformed, failed, filtered."""
    days: dict[str, list[int]] = field(default_factory=dict)
    """Day -> statements made, events that failed. Where there are too many days, months (2026-01) or years."""
    throughput: Throughput = field(default_factory=Throughput)
    secs: float = 0.0
    """The working time, without the pauses between batches."""
    hours: dict[str, list[int]] = field(default_factory=dict)
    """As ``days``, by hour (2026-01-31T14). Empty, or not all of them, if there are too many."""
    skipped: dict[str, list[int]] = field(default_factory=dict)
    """Name of a type that is not transformed -> events."""
    courses: dict[str, list[int]] = field(default_factory=dict)
    """Course id -> statements made, events that failed."""
    verbs: dict[str, list[int]] = field(default_factory=dict)
    """Id of the verb -> statements made."""
    workers: dict[str, list[float]] = field(default_factory=dict)
    """Worker -> how long it read, transformed and delivered. These do not overlap: their sum is ``secs``."""

    def transformed(self, name: str, time: object, statements: int, course: str = "") -> None:
        """Count an event that made this number of ``statements``."""
        _row(self.types, name, 3)[TRANSFORMED] += 1
        self._count(time, course, MADE, statements)

    def failed(self, name: str, time: object, course: str = "") -> None:
        """Count an event that is a dead letter."""
        _row(self.types, name, 3)[UNTRANSFORMABLE] += 1
        self._count(time, course, LOST, 1)

    def _count(self, time: object, course: str, place: int, number: int) -> None:
        hour = hour_of(time)
        _row(self.days, hour[:10], 2)[place] += number
        _row(self.hours, hour, 2)[place] += number
        _row(self.courses, course[:MOST_COURSE_CHARACTERS], 2)[place] += number

    def filtered(self, name: str) -> None:
        """Count an event that the filters exclude."""
        _row(self.types, name, 3)[FILTERED] += 1

    def skip(self, name: str, number: int = 1) -> None:
        """Count events of a type that is not transformed; a path is a page view."""
        shown = PAGE_VIEWS if name.startswith("/") else name[:MOST_NAME_CHARACTERS] or NO_NAME
        _row(self.skipped, shown, 1)[0] += number

    def made(self, body: bytes) -> None:
        """Count a statement by its verb."""
        _row(self.verbs, verb_of(body)[:MOST_COURSE_CHARACTERS], 1)[0] += 1

    def worked(self, at: float, secs: float, lines: int, events: int) -> None:
        """Count the working time of a batch that ended ``at`` (seconds since 1970)."""
        self.throughput.add(at, lines, events)
        self.secs += secs

    def spent(self, worker: str, times: Sequence[float]) -> None:
        """Count how long ``worker`` read, transformed and delivered."""
        _add(self.workers, worker, times)

    def add(self, other: Activity) -> None:
        """Add another one's counts to these. Its names come last in their tables, the most frequent at the end."""
        for name in _TABLES:
            table, more = getattr(self, name), getattr(other, name)
            for key in sorted(more, key=lambda key: sum(more[key])) if name in OTHERS else more:
                _add(table, key, more[key])
                if name in OTHERS:
                    table[key] = table.pop(key)
        self.throughput.add_all(other.throughput)
        self.secs += other.secs

    def bounded(self) -> Activity:
        """The same counts, with at most as many types and days as an entry may have."""
        bounded = Activity(secs=self.secs)
        for name, others in OTHERS.items():
            setattr(bounded, name, _most_frequent(getattr(self, name), others))
        for worker, times in self.workers.items():
            known = worker in bounded.workers or len(bounded.workers) < MOST_WORKERS
            _add(bounded.workers, worker if known else _OTHER_WORKERS, times)
        bounded.days = self.days
        bounded.hours = self.hours if len(self.hours) <= MOST_HOURS else {}
        # Days become months, then years: coarser, but nothing is dropped.
        for length in (7, 4):
            if len(bounded.days) > MOST_DAYS:
                days, bounded.days = bounded.days, {}
                for day, counts in days.items():
                    _add(bounded.days, day[:length], counts)
        bounded.throughput.add_all(self.throughput)
        return bounded

    def to_json(self) -> dict[str, object]:
        tables = {name: {key: list(counts) for key, counts in getattr(self, name).items()} for name in _TABLES}
        workers = {key: [round(secs, 3) for secs in times] for key, times in self.workers.items()}
        return {**tables, "workers": workers, "throughput": self.throughput.to_json(), "secs": round(self.secs, 3)}

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> Activity:
        """Raises ``KeyError``, ``TypeError`` or ``ValueError`` for what :meth:`to_json` has not written."""
        throughput, secs = values["throughput"], values["secs"]
        if not isinstance(throughput, Mapping):
            raise TypeError("throughput is not an object")
        tables = {name: _table(values[name], width) for name, width in _TABLES.items() if name != "workers"}
        for name, others in OTHERS.items():
            # The name that earlier versions gave to that of each table.
            if (counts := tables[name].pop(OTHERS["types"], None)) is not None:
                _add(tables[name], others, counts)
        workers = _times(values["workers"])
        return cls(throughput=Throughput.from_json(throughput), secs=_seconds(secs), workers=workers, **tables)


_TABLES = {"types": 3, "days": 2, "hours": 2, "skipped": 1, "courses": 2, "verbs": 1, "workers": 3}
"""The tables of an activity, and how many counts each of their rows has."""


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


def _add(table: dict[Key, list[Number]], key: Key, counts: Iterable[Number]) -> None:
    old = table.get(key)
    table[key] = list(counts) if old is None else [a + b for a, b in zip(old, counts, strict=True)]


def _most_frequent(table: Mapping[str, list[int]], others: str) -> dict[str, list[int]]:
    """The rows with the highest counts, and those that came last; the rest is one row, ``others``.

    Both, because a name that is seen a few times in each batch would otherwise be dropped in each, however often it
    comes: among the last it stays until its count is one of the highest. What a name had before it was dropped remains
    in ``others``: its count may be too low, the sums are right. The order is that of this process: after a
    restart, what came last is not known until the next batch.
    """
    names = [name for name in table if name != others]
    if len(names) <= MOST_TYPES:
        return dict(table)
    ranked = sorted(names, key=lambda name: -sum(table[name]))
    kept = set(ranked[: MOST_TYPES - NEWEST_TYPES])
    kept.update([name for name in names if name not in kept][-NEWEST_TYPES:])
    bounded = {name: table[name] for name in names if name in kept}
    for name, counts in table.items():
        if name not in kept:
            _add(bounded, others, counts)
    return bounded


def _seconds(value: object) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not value >= 0:
        raise ValueError(f"{value!r} is not a time")
    return float(value)


def _times(values: object) -> dict[str, list[float]]:
    """The times of workers, as JSON has them, checked."""
    if not isinstance(values, Mapping):
        raise TypeError("a table of times is not an object")
    table = {}
    for name, times in values.items():
        if not isinstance(times, list) or len(times) != _TABLES["workers"]:
            raise ValueError(f"{name!r} does not have three times")
        table[str(name)] = [_seconds(secs) for secs in times]
    return table


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
