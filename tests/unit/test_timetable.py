"""A throttle that depends on the time of day."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutor_transform_logs.lms_job.util import timetable
from tutor_transform_logs.lms_job.util.timetable import Timetable
from tutor_transform_logs.lms_job.work.throttle import Throttle

DAY = 20_000 * 86_400.0


@pytest.mark.parametrize(
    ("hour", "rate"), [(0, 0.0), (7.99, 0.0), (8, 50.0), (12, 20.5), (17.5, 20.5), (22, 0.0), (23.99, 0.0)]
)
def test_a_rate_holds_until_the_next_one(hour: float, rate: float) -> None:
    assert timetable.parse("22:00,off 08:00,50 12:00,20.5").at(DAY + hour * 3600) == rate


def test_before_the_first_time_of_a_day_the_last_one_holds() -> None:
    assert timetable.parse("08:00,50 22:00,10").at(DAY) == 10.0


def test_times_have_offsets_where_they_are_not_utc() -> None:
    assert timetable.parse("01:00+02:00,5 12:00Z,off") == Timetable(((12 * 3600, 0.0), (23 * 3600, 5.0)))


@given(st.floats(0, 1e6), st.floats(0, 1e10))
def test_a_number_is_the_rate_at_all_times(rate: float, now: float) -> None:
    assert Timetable.of(rate).at(now) == rate


def test_the_throttle_follows_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    throttle = Throttle(0.0, timetable.parse("08:00,50 22:00,off"), shares=2)
    monkeypatch.setattr(time, "time", lambda: DAY + 23 * 3600)
    assert throttle.before_batch(10_000, sent=True) == 0.0
    assert throttle.before_batch(10_000, sent=True) == 0.0
    monkeypatch.setattr(time, "time", lambda: DAY + 9 * 3600)
    # 25 per second for each of the two, after the burst of a second.
    assert throttle.before_batch(1_000, sent=True) == 0.0
    assert throttle.before_batch(1_000, sent=True) == pytest.approx(39, abs=1)
