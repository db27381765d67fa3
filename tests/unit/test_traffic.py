"""Requests of several threads to one endpoint: those that wait, those that try, and their end."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import pytest

from tests.harness.process import wait_for
from tutor_transform_logs.lms_job.deliver.traffic import Closed, EndpointTraffic
from tutor_transform_logs.lms_job.util import backoff
from tutor_transform_logs.lms_job.util.errors import PermanentError, TransientError, Unavailable

THREADS = 8


@dataclass
class Endpoint:
    """Takes 20 ms for a request; raises what it is given while it has any of it.

    :param down: this is raised for each request as long as it is set.
    """

    errors: list[Exception] = field(default_factory=list)
    down: Exception | None = None
    calls: list[float] = field(default_factory=list)
    """When each request came."""
    together: int = 0
    most_together: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def call(self) -> str:
        with self._lock:
            self.calls.append(time.monotonic())
            self.together += 1
            self.most_together = max(self.most_together, self.together)
            error = self.errors.pop(0) if self.errors else self.down
        time.sleep(0.02)
        with self._lock:
            self.together -= 1
        if error:
            raise error
        return "answer"


@pytest.fixture
def traffic() -> EndpointTraffic:
    traffic = EndpointTraffic()
    traffic.allow(THREADS)
    return traffic


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(THREADS) as pool:
        yield pool


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    delays = backoff.delays
    monkeypatch.setattr(backoff, "delays", lambda max_wait_secs: delays(max_wait_secs, first=0.05))


def outcomes(threads: ThreadPoolExecutor, call: Callable[[], str], number: int) -> list[str]:
    """What each of some calls at the same time ends with."""

    def outcome() -> str:
        try:
            return call()
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    return [future.result() for future in [threads.submit(outcome) for _ in range(number)]]


def test_more_and_more_requests_pass_at_the_same_time(traffic: EndpointTraffic, threads: ThreadPoolExecutor) -> None:
    endpoint = Endpoint()
    send = partial(traffic.retrying, endpoint.call, 5.0, 1000)
    assert outcomes(threads, send, 60) == ["answer"] * 60
    assert 4 <= endpoint.most_together <= THREADS


def test_without_leave_one_request_passes_at_a_time(threads: ThreadPoolExecutor) -> None:
    endpoint = Endpoint()
    assert outcomes(threads, partial(EndpointTraffic().retrying, endpoint.call, 5.0, 1000), 10) == ["answer"] * 10
    assert endpoint.most_together == 1


def test_while_an_endpoint_is_down_one_request_at_a_time_tries_it(
    traffic: EndpointTraffic, threads: ThreadPoolExecutor
) -> None:
    endpoint = Endpoint()
    send = partial(traffic.retrying, endpoint.call, 10.0, 1000)
    outcomes(threads, send, 60)
    endpoint.down, endpoint.most_together = TransientError("503"), 0
    waiting = [threads.submit(send) for _ in range(THREADS)]
    time.sleep(0.08)
    before, endpoint.most_together = len(endpoint.calls), 0
    time.sleep(0.6)
    tries = len(endpoint.calls) - before
    assert (endpoint.most_together, 1 <= tries <= 6) == (1, True), tries
    endpoint.down = None
    assert [future.result() for future in waiting] == ["answer"] * THREADS


@pytest.mark.parametrize("late", [0.0, 0.3])
def test_an_outage_halves_the_limit_once(traffic: EndpointTraffic, threads: ThreadPoolExecutor, late: float) -> None:
    """Also where those in flight fail later, one after another, as with time-outs, while tries fail too."""
    endpoint = Endpoint()
    send = partial(traffic.retrying, endpoint.call, 30.0, 1000)
    outcomes(threads, send, 100)
    assert traffic.limit == THREADS
    endpoint.down = TransientError("503")
    numbers = itertools.count()

    def fails_late() -> str:
        if endpoint.down:
            time.sleep(late * next(numbers) / THREADS)
        return endpoint.call()

    waiting = [threads.submit(traffic.retrying, fails_late, 30.0, 1000) for _ in range(THREADS)]
    wait_for(lambda: len(endpoint.calls) >= 100 + THREADS + 4)
    assert traffic.limit == THREADS // 2
    endpoint.down = None
    assert [future.result() for future in waiting] == ["answer"] * THREADS
    outcomes(threads, send, 60)
    assert traffic.limit >= THREADS - 1


def test_all_that_wait_end_together_after_the_waiting_time(
    traffic: EndpointTraffic, threads: ThreadPoolExecutor
) -> None:
    endpoint = Endpoint(down=TransientError("the LRS answers 503"))
    began = time.monotonic()
    found = outcomes(threads, partial(traffic.retrying, endpoint.call, 0.6, 1000), THREADS)
    assert found == ["Unavailable: the LRS answers 503. Run again to resume."] * THREADS
    assert 0.6 <= time.monotonic() - began < 2.5
    # It is not remembered: the next one tries again.
    endpoint.down = None
    assert traffic.retrying(endpoint.call, 0.6) == "answer"


def test_a_retry_after_holds_for_all(traffic: EndpointTraffic, threads: ThreadPoolExecutor) -> None:
    endpoint = Endpoint()
    send = partial(traffic.retrying, endpoint.call, 5.0, 1000)
    outcomes(threads, send, 60)
    endpoint.errors, endpoint.calls = [TransientError("429", 0.7, is_busy=True)], []
    assert outcomes(threads, send, 20) == ["answer"] * 20
    gap = max(second - first for first, second in zip(endpoint.calls, endpoint.calls[1:], strict=False))
    assert 0.6 <= gap < 2


def test_a_retry_after_beyond_the_waiting_time_ends_it(traffic: EndpointTraffic) -> None:
    endpoint = Endpoint([TransientError("busy", 31)])
    with pytest.raises(Unavailable, match="busy"):
        traffic.retrying(endpoint.call, 30.0)
    assert len(endpoint.calls) == 1


def test_one_request_that_always_fails_ends_although_others_pass(
    traffic: EndpointTraffic, threads: ThreadPoolExecutor
) -> None:
    poisoned = Endpoint(down=TransientError("503"))
    found = threads.submit(outcomes, ThreadPoolExecutor(1), partial(traffic.retrying, poisoned.call, 0.5), 1)
    endpoint = Endpoint()
    began = time.monotonic()
    while not found.done() and time.monotonic() - began < 20:
        assert traffic.retrying(endpoint.call, 0.5) in ("answer",)
    assert found.result() == ["Unavailable: 503. Run again to resume."]


def test_an_error_that_is_not_transient_is_raised_and_frees_its_place(traffic: EndpointTraffic) -> None:
    endpoint = Endpoint([TransientError("503"), PermanentError("401"), PermanentError("401"), PermanentError("401")])
    for _ in range(3):
        with pytest.raises(PermanentError):
            traffic.retrying(endpoint.call, 5.0)
    assert traffic.retrying(endpoint.call, 5.0) == "answer"


def test_an_impatient_request_tries_once_whatever_the_others_wait_for(
    traffic: EndpointTraffic, threads: ThreadPoolExecutor
) -> None:
    endpoint = Endpoint(down=TransientError("503", 3))
    waiting = threads.submit(traffic.retrying, endpoint.call, 10.0)
    time.sleep(0.1)
    began = time.monotonic()
    with pytest.raises(Unavailable):
        traffic.retrying(endpoint.call, 0.0)
    assert time.monotonic() - began < 1
    endpoint.down = None
    assert waiting.result() == "answer"


def test_after_the_end_nothing_more_is_sent(traffic: EndpointTraffic, threads: ThreadPoolExecutor) -> None:
    endpoint = Endpoint(down=TransientError("503", 5))
    waiting = [threads.submit(traffic.retrying, endpoint.call, 60.0) for _ in range(THREADS)]
    time.sleep(0.2)
    traffic.close()
    for future in waiting:
        with pytest.raises(Closed):
            future.result(timeout=1)
    before = len(endpoint.calls)
    with pytest.raises(Closed):
        traffic.retrying(endpoint.call, 60.0)
    assert len(endpoint.calls) == before
