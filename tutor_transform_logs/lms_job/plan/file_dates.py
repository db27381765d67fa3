"""Dates in the names of logs, and which logs have no events in a time range (``trust_file_dates``).

The rule, for names as logrotate's ``dateext`` makes them (``tracking.log-20260101.gz``, ``-2026-01-01``,
``-20260101-1767225600``, ``-1767225600``): the date is that of the rotation, so the log holds what was written since
the rotation before it. A log with the date D

* ends with the day after D, which covers every time zone, a process that goes on writing into a log that was renamed,
  and names that carry the day before the rotation (``dateyesterday``) if that is in the morning;
* begins with the day before P, where P is the date before D in the names of the same log that are there (same folder,
  same text around the date). Where there is none it may begin at any time.

The same holds for the day of collection in the names that collectors give to objects: ``date=2026-01-03/``,
``year=2026/month=01/day=03/`` and ``2026/01/03/14/`` before the last part of a name, and the time before a random
UUID (``HOST_1767398400-UUID.log.gz``), as Vector, Fluentd, Fluent Bit and Firehose write them. The objects whose names
differ only in date, hour and what is random are the same log. So the first object after a collector was down may hold
what was written since the one before.

An archive (``.tar``, ``.tar.gz``, ``.zip``) may hold older logs: its date says nothing. Nor does a folder's date about
a log with the number of a rotation (``2026/01/03/tracking.log.4``): that is a copy of what was there on that day.

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
_FOLDERS = (
    re.compile(
        r"(?:^|(?<=/))(?:y(?:ear)?=)?(?P<year>20\d\d)/(?:m(?:onth)?=)?(?P<month>\d\d?)/(?:d(?:ay)?=)?(?P<day>\d\d?)"
        # The hour, and the minute.
        r"(?:/(?:(?:h|hr|hour|minute)=)?\d\d){0,2}(?=/)",
        re.ASCII,
    ),
    re.compile(
        r"(?:^|(?<=/))(?:date|day|ds|dt)=(?P<year>20\d\d)(?P<between>[-_]?)(?P<month>\d\d)(?P=between)(?P<day>\d\d)"
        r"(?:[T_-]\d\d)?(?:/(?:(?:h|hr|hour|minute)=)?\d\d){0,2}(?=/)",
        re.ASCII | re.IGNORECASE,
    ),
)
# A UUID; what Fluent Bit puts behind the second.
_RANDOM = re.compile(
    r"(?<![0-9A-Za-z])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![0-9A-Za-z])"
    r"|(?:^\d\d)?-object[0-9A-Za-z]{8}(?![0-9A-Za-z])",
    re.ASCII,
)
_NUMBERED = re.compile(r"\.\d{1,4}(\.(gz|bz2|xz|zst))?$", re.ASCII)
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
    """A name without its date, and the date; ``None`` if it has no date, or contradictory ones."""
    folder, slash, last = name.rpartition("/")
    folder += slash
    # The digits of a UUID may look like a date.
    last = _RANDOM.sub("*", last)
    of_folder = [stamp for pattern in _FOLDERS for stamp in pattern.finditer(folder)]
    stamps = list(_STAMP.finditer(last))
    if (
        _ARCHIVE.search(last)
        or len(of_folder) > 1
        or (of_folder and _NUMBERED.search(last))
        or sum(stamp["epoch"] is None for stamp in stamps) > 1
    ):
        return None
    days = [_day(stamp) for stamp in (*of_folder, *stamps)]
    known = [day for day in days if day is not None]
    if not known or len(known) < len(days) or max(known) - min(known) > 2 * DAY:
        return None
    for pattern in _FOLDERS:
        folder = pattern.sub("*", folder)
    return folder + _COMPRESSED.sub("", _STAMP.sub("*", last)), known[0]


def _day(stamp: re.Match[str]) -> date | None:
    try:
        if stamp.groupdict().get("epoch"):
            return datetime.fromtimestamp(int(stamp["epoch"]), timezone.utc).date()
        return date(int(stamp["year"]), int(stamp["month"]), int(stamp["day"]))
    except ValueError:
        return None


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=timezone.utc)
