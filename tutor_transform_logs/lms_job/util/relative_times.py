"""Reads times as people say them: 7d, 12h, 2w, today, yesterday. In UTC, as all times of the job are.

A day counts whole, and so does an hour: what the text means stays the same until the next one begins, so that a run
that was stopped is resumed by the same command.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

_AGO = re.compile(r"(?P<number>\d{1,4}) ?(?P<unit>[hdw])", re.ASCII)
_NAMED = {"today": "0d", "yesterday": "1d"}
_DAYS = {"d": 1, "w": 7}


def is_relative(text: str) -> bool:
    """Does it depend on the time of day what ``text`` means?"""
    return _found(text) is not None


def relative_period(text: str, now: datetime) -> tuple[datetime, datetime] | None:
    """The beginning and the end of the day (or the hour) that is so long before ``now``; ``None`` for another text.

    Raises ``OverflowError`` for a time that Python can't represent.
    """
    found = _found(text)
    if found is None:
        return None
    number, unit = int(found["number"]), found["unit"]
    if unit == "h":
        start = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=number)
        return start, start + timedelta(hours=1)
    start = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=number * _DAYS[unit])
    return start, start + timedelta(days=1)


def _found(text: str) -> re.Match[str] | None:
    lower = text.strip().lower()
    return _AGO.fullmatch(_NAMED.get(lower, lower))
