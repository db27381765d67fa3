"""Times as people say them: whole days and hours, in UTC."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutor_transform_logs.lms_job.util.relative_times import is_relative, relative_period

NOW = datetime(2026, 3, 1, 13, 37, 5, 7, tzinfo=timezone.utc)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("text", "begin", "end"),
    [
        ("today", "2026-03-01", "2026-03-02"),
        (" Yesterday ", "2026-02-28", "2026-03-01"),
        ("0d", "2026-03-01", "2026-03-02"),
        ("7d", "2026-02-22", "2026-02-23"),
        ("2 W", "2026-02-15", "2026-02-16"),
        ("12h", "2026-03-01T01:00", "2026-03-01T02:00"),
        ("14h", "2026-02-28T23:00", "2026-03-01T00:00"),
    ],
)
def test_a_day_or_an_hour_counts_whole(text: str, begin: str, end: str) -> None:
    assert relative_period(text, NOW) == (at(begin), at(end))
    assert is_relative(text)


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "7days", "2026", "2026-01-31", "tomorrow", "٧d", "10000d"])
def test_anything_else_is_left_to_iso_8601(text: str) -> None:
    assert relative_period(text, NOW) is None
    assert not is_relative(text)


@given(
    st.integers(0, 9999), st.sampled_from("hdw"), st.datetimes(datetime(2020, 1, 1), timezones=st.just(timezone.utc))
)
def test_it_is_the_same_until_the_next_one_begins(number: int, unit: str, now: datetime) -> None:
    found = relative_period(f"{number}{unit}", now)
    assert found is not None
    begin, end = found
    assert end - begin == (timedelta(hours=1) if unit == "h" else timedelta(days=1))
    assert begin <= now - timedelta(**{{"h": "hours", "d": "days", "w": "weeks"}[unit]: number}) < end
    later = now.replace(minute=59, second=59)
    assert relative_period(f"{number}{unit}", later) == found
