"""A rate that depends on the time of day, as ``08:00,50 22:00,off``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from .iso_times import period

DAY_SECS = 24 * 60 * 60
OFF = "off"
RATES = 'a number, 0 or more, or a timetable such as "08:00,50 22:00,off" (UTC, or with an offset: 08:00+02:00,50)'

_ENTRY = re.compile(r"(?P<time>\d\d:\d\d(?:Z|[+-]\d\d:?\d\d)?),(?P<rate>off|\d+(?:\.\d+)?)", re.ASCII)


@dataclass(frozen=True)
class Timetable:
    """Rates by the time of day. Each holds from its second of the UTC day on; 0: no limit."""

    entries: tuple[tuple[int, float], ...]
    """In order, at least one."""

    @classmethod
    def of(cls, rate: float | Timetable) -> Timetable:
        """``rate`` itself, or that rate at all times."""
        return rate if isinstance(rate, Timetable) else cls(((0, rate),))

    def at(self, now: float) -> float:
        """The rate at a time, in seconds since 1970. Before the first entry of a day, the last one holds."""
        second = now % DAY_SECS
        return next((rate for begin, rate in reversed(self.entries) if begin <= second), self.entries[-1][1])


def parse(text: str) -> Timetable:
    """Raises ``ValueError`` for a text that is not a timetable."""
    entries: dict[int, float] = {}
    for part in text.split():
        found = _ENTRY.fullmatch(part)
        if found is None:
            raise ValueError(f"{part} is not a time and a rate")
        second = _second_of_day(found["time"])
        rate = 0.0 if found["rate"] == OFF else float(found["rate"])
        if second in entries or not math.isfinite(rate):
            raise ValueError(f"{part} can't be used")
        entries[second] = rate
    if not entries:
        raise ValueError("there is no time in it")
    return Timetable(tuple(sorted(entries.items())))


def _second_of_day(text: str) -> int:
    moment: datetime = period(f"2026-01-01T{text}")[0]
    return int(timedelta(hours=moment.hour, minutes=moment.minute).total_seconds())
