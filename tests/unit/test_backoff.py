"""The retry wrapper, on a clock that only its own sleeping moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tutor_transform_logs.lms_job.util.backoff import retrying
from tutor_transform_logs.lms_job.util.errors import PermanentError, TransientError, Unavailable


@dataclass
class Clock:
    """Time that passes by sleeping alone."""

    slept: list[float] = field(default_factory=list)

    def now(self) -> float:
        return sum(self.slept)

    def sleep(self, secs: float) -> None:
        self.slept.append(secs)


@dataclass
class Service:
    """Raises what it is given, one error a call, and then answers."""

    errors: list[Exception]
    calls: int = 0

    def call(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


@pytest.fixture
def clock() -> Clock:
    return Clock()


def run(clock: Clock, attempt: Callable[[], str], max_wait_secs: float) -> str:
    return retrying(attempt, max_wait_secs, clock=clock.now, sleep=clock.sleep)


def test_an_answer_at_once_waits_for_nothing(clock: Clock) -> None:
    assert run(clock, Service([]).call, 10) == "answer"
    assert clock.slept == []


def test_what_is_transient_is_tried_again(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    service = Service([TransientError("the LRS answers 503")] * 3)
    assert run(clock, service.call, 60) == "answer"
    assert (service.calls, len(clock.slept)) == (4, 3)
    assert [secs <= limit for secs, limit in zip(clock.slept, (0.5, 1, 2), strict=True)] == [True] * 3
    assert all("the LRS answers 503; trying again in" in message for message in caplog.messages)


@pytest.mark.parametrize("error", [PermanentError("no"), ValueError("a bug"), KeyboardInterrupt()])
def test_any_other_error_is_raised_at_once(clock: Clock, error: BaseException) -> None:
    def fail() -> str:
        raise error

    with pytest.raises(type(error)):
        run(clock, fail, 60)
    assert clock.slept == []


@pytest.mark.parametrize("max_wait_secs", [0, 0.1, 30])
def test_after_the_waiting_time_it_is_unavailable(clock: Clock, max_wait_secs: float) -> None:
    service = Service([TransientError("Can't read S3:b/x: timed out")] * 1000)
    with pytest.raises(Unavailable, match=r"^Can't read S3:b/x: timed out\. Run again to resume\.$") as raised:
        run(clock, service.call, max_wait_secs)
    assert clock.now() == pytest.approx(max_wait_secs)
    assert service.calls == len(clock.slept) + 1
    assert raised.value.__suppress_context__


def test_retry_after_is_kept_if_there_is_time_for_it(clock: Clock) -> None:
    assert run(clock, Service([TransientError("busy", 20)]).call, 30) == "answer"
    assert clock.slept == [20]


def test_a_retry_after_beyond_the_waiting_time_ends_it_at_once(clock: Clock) -> None:
    service = Service([TransientError("busy", 31)])
    with pytest.raises(Unavailable):
        run(clock, service.call, 30)
    assert (service.calls, clock.slept) == (1, [])
