"""When batches may begin: each counts, whichever log it is of, and whichever worker has it."""

from __future__ import annotations

import time

import pytest

from tutor_transform_logs.lms_job.work.throttle import Throttle


class Clock:
    """The monotonic clock, at a standstill."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


def test_batches_that_begin_at_the_same_time_get_turns_of_their_own(clock: Clock) -> None:
    """As those of several workers do."""
    assert [Throttle(0.5, 0).before_batch(10, True)] == [0.0]
    pauses, rate = Throttle(0.5, 0), Throttle(0, 20)
    assert [pauses.before_batch(10, True) for _ in range(4)] == [0.0, 0.5, 1.0, 1.5]
    assert [rate.before_batch(10, True) for _ in range(4)] == [0.0, 0.5, 1.0, 1.5]
    # The first after a time in which none began: all of that time at a rate, up to a second, may be caught up.
    clock.now += 10
    assert [pauses.before_batch(10, True) for _ in range(2)] == [0.0, 0.5]
    assert [rate.before_batch(10, True) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]


def test_a_pause_comes_after_a_batch_however_long_it_took(clock: Clock) -> None:
    throttle = Throttle(2, 0)
    assert throttle.before_batch(10, True) == 0.0
    clock.now += 7
    throttle.batch_sent()
    assert throttle.before_batch(10, True) == 2.0


def test_skipped_lines_do_not_wait_and_do_not_count(clock: Clock) -> None:
    throttle = Throttle(2, 5)
    assert throttle.before_batch(20, True) == 0.0
    throttle.batch_sent()
    assert throttle.before_batch(0, False) == 0.0
    # Events of which nothing is sent: no pause, but the rate.
    assert throttle.before_batch(10, False) == 4.0
    assert throttle.before_batch(10, True) == 6.0


def test_what_follows_a_batch_waits_after_it_where_it_counts_then(clock: Clock) -> None:
    throttle = Throttle(2, 5)
    assert throttle.after_batch(5, True) == 2.0
    # A second of the rate was caught up.
    assert throttle.after_batch(50, True) == 11.0


def test_both_limits_hold(clock: Clock) -> None:
    throttle = Throttle(2, 5)
    assert [throttle.before_batch(events, True) for events in (5, 50, 5, 5)] == [0.0, 2.0, 11.0, 13.0]
