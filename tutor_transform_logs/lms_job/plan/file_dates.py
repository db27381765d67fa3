"""Dates in the names of logs, and which logs have no events in a time range (``trust_file_dates``).

The rule, for names as logrotate's ``dateext`` makes them (``tracking.log-20260101.gz``, ``-2026-01-01``,
``-20260101-1767225600``, ``-1767225600``): the date is that of the rotation, so the log holds what was written since
the rotation before it. A log with the date D

* ends with the day after D, which covers every time zone, a process that goes on writing into a log that was renamed,
  and names that carry the day before the rotation (``dateyesterday``) if that is in the morning;
* begins with the day before P, where P is the date before D in the names of the same log that are there (same folder,
  same text around the date). Where there is none it may begin at any time.

An archive (``.tar``, ``.tar.gz``, ``.zip``) may hold older logs: its date says nothing.

Dates are taken in UTC. A name without a date, with two of them, or with one that contradicts itself says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, datetime, timedelta, timezone

DAY = timedelta(days=1)
_STAMP = re.compile(
    r"(?<![0-9A-Za-z])"
    r"(?:(?P<year>20\d\d)(?P<between>[-_.]?)(?P<month>\d\d)(?P=between)(?P<day>\d\d)"
    # The hour, and more, of logs that are rotated more often.
    r"(?:\d\d|[T_-]\d\d(?:[-_:.]?\d\d){0,2}Z?)?"
    r"|(?P<epoch>1\d{9}))"
    r"(?![0-9A-Za-z])",
    re.ASCII,
)
_COMPRESSED = re.compile(r"\.(gz|bz2|xz|zst)$")
_ARCHIVE = re.compile(r"\.(tar(\.\w+)*|t(gz|bz2?|xz|zst)|zip)$")


def outside(names: Iterable[str], since: datetime | None, until: datetime | None) -> set[str]:
    """Those of ``names`` that have nothing from ``since`` to before ``until``, by their dates (``None``: no limit)."""
    logs: dict[str, dict[str, date]] = {}
    for name in names:
        found = _split(name)
        if found is not None:
            log, day = found
            logs.setdefault(log, {})[name] = day
    return {name for days in logs.values() for name in _outside(days, since, until)}


def _outside(days: dict[str, date], since: datetime | None, until: datetime | None) -> Iterable[str]:
    before: date | None = None
    earlier: dict[date, date | None] = {}
    for day in sorted(set(days.values())):
        earlier[day], before = before, day
    for name, day in days.items():
        first = earlier[day]
        ended = since is not None and _midnight(day) + 2 * DAY <= since
        not_begun = until is not None and first is not None and until <= _midnight(first) - DAY
        if ended or not_begun:
            yield name


def _split(name: str) -> tuple[str, date] | None:
    """A name without its date, and the date; ``None`` if its last part has no date or contradictory ones."""
    folder, slash, last = name.rpartition("/")
    stamps = list(_STAMP.finditer(last))
    days = [day for day in map(_day, stamps) if day is not None]
    if (
        _ARCHIVE.search(last)
        or not stamps
        or len(days) < len(stamps)
        or sum(stamp["epoch"] is None for stamp in stamps) > 1
    ):
        return None
    if max(days) - min(days) > 2 * DAY:
        return None
    log = _COMPRESSED.sub("", _STAMP.sub("*", last))
    return f"{folder}{slash}{log}", days[0]


def _day(stamp: re.Match[str]) -> date | None:
    try:
        if stamp["epoch"]:
            return datetime.fromtimestamp(int(stamp["epoch"]), timezone.utc).date()
        return date(int(stamp["year"]), int(stamp["month"]), int(stamp["day"]))
    except ValueError:
        return None


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=timezone.utc)
