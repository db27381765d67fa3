"""How many requests are in flight: with a simulated endpoint, on a clock that only its answers move."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tutor_transform_logs.lms_job.deliver.concurrency import Concurrency, Ticket

MOST = 32
SERVERS = [1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16]


@dataclass
class Endpoint:
    """A queue with some servers, each of which takes so long for a request.

    :param takes: more requests than this at the same time are refused at once; 0: none.
    """

    servers: int
    secs: Callable[[float], float] = lambda _now: 1.0
    takes: int = 0
    concurrency: Concurrency = field(default_factory=lambda: Concurrency(MOST))
    now: float = 0.0
    answered: list[float] = field(default_factory=list)
    """When each answer came."""
    refused: int = 0
    most_in_flight: int = 0
    limits: list[int] = field(default_factory=list)
    """The limit after each answer."""

    def __post_init__(self) -> None:
        self._free = [0.0] * self.servers
        self._events: list[tuple[float, int, Ticket, float, bool]] = []
        self._numbers = itertools.count()

    def run(self, answers: int) -> None:
        """Have this number of requests more answered; there is always another one to send."""
        goal = len(self.answered) + answers
        while len(self.answered) < goal:
            while self.concurrency.has_room:
                self._send()
            self.now, _, ticket, sent, taken = heapq.heappop(self._events)
            if taken:
                self.answered.append(self.now)
                self.concurrency.answered(ticket, self.now - sent, self.now)
            else:
                self.refused += 1
                self.concurrency.overloaded(ticket)
            self.limits.append(self.concurrency.limit)

    def _send(self) -> None:
        ticket = self.concurrency.sent()
        self.most_in_flight = max(self.most_in_flight, self.concurrency.in_flight)
        taken = not self.takes or self.concurrency.in_flight <= self.takes
        until = self.now + 0.01
        if taken:
            begin = max(self.now, heapq.heappop(self._free))
            until = begin + self.secs(begin)
            heapq.heappush(self._free, until)
        heapq.heappush(self._events, (until, next(self._numbers), ticket, self.now, taken))

    def used(self, first: int, last: int) -> float:
        """The share of its capacity that was used between two answers, where each takes a second."""
        return (last - first) / (self.answered[last] - self.answered[first]) / self.servers


@pytest.mark.parametrize("servers", SERVERS)
def test_twenty_requests_are_enough_to_use_an_endpoint(servers: int) -> None:
    endpoint = Endpoint(servers)
    endpoint.run(20)
    assert endpoint.concurrency.limit >= 0.9 * min(servers, 14)
    endpoint.run(2000)
    assert endpoint.used(40 + 2 * servers, 2000) >= 0.95


@pytest.mark.parametrize("servers", SERVERS)
@pytest.mark.parametrize("deviation", [0.0, 0.2])
def test_never_more_than_twice_the_requests_that_it_can_use(servers: int, deviation: float) -> None:
    dice = random.Random(servers)
    endpoint = Endpoint(servers, lambda _now: 1.0 + deviation * dice.uniform(-1, 1))
    endpoint.run(3000)
    # Where the times of answers vary, it can't be known exactly.
    assert endpoint.most_in_flight <= 2 * servers + (2 if deviation else 0)
    assert endpoint.used(100, 2999) >= 0.9


def test_an_endpoint_with_one_server_is_as_fast_as_with_one_request() -> None:
    endpoint = Endpoint(1)
    endpoint.run(500)
    assert endpoint.now == 500
    assert max(endpoint.limits) == 2


@pytest.mark.parametrize("servers", SERVERS)
def test_a_stall_is_recovered_from(servers: int) -> None:
    """Nothing is answered for half a minute."""
    endpoint = Endpoint(servers, lambda now: 101.0 - now if 70 <= now < 100 else 1.0)
    while endpoint.now < 102:
        endpoint.run(1)
    after = len(endpoint.answered)
    endpoint.run(400)
    assert endpoint.used(after + 60, after + 399) >= 0.9
    assert endpoint.most_in_flight <= 2 * servers


def test_an_endpoint_that_becomes_slower_for_good_is_used_all_the_same() -> None:
    endpoint = Endpoint(4, lambda now: 1.0 if now < 50 else 3.0)
    endpoint.run(1000)
    assert 3 * endpoint.used(500, 999) >= 0.95
    assert endpoint.most_in_flight <= 8


@pytest.mark.parametrize("takes", [1, 3, 8])
def test_refusals_halve_it_and_are_rarely_tried_again(takes: int) -> None:
    endpoint = Endpoint(16, takes=takes)
    endpoint.run(1000)
    assert endpoint.refused <= 60
    assert (endpoint.answered[999] - endpoint.answered[100]) * takes <= 1.1 * 899


def test_of_requests_sent_together_one_refusal_counts() -> None:
    concurrency = Concurrency(16)
    concurrency.limit = 16
    tickets = [concurrency.sent() for _ in range(16)]
    for ticket in tickets:
        concurrency.overloaded(ticket)
    assert (concurrency.limit, concurrency.in_flight) == (8, 0)


def test_what_is_never_in_flight_raises_no_limit() -> None:
    """Whoever makes the requests may be slower than the endpoint."""
    concurrency = Concurrency(16)
    for number in range(100):
        concurrency.answered(concurrency.sent(), 0.1, 0.1 * number)
    assert concurrency.limit == 2


@pytest.mark.parametrize("most", [0, 1])
def test_the_limit_has_a_limit(most: int) -> None:
    endpoint = Endpoint(4, concurrency=Concurrency(most))
    endpoint.run(50)
    assert set(endpoint.limits) == {1}


def test_an_end_that_says_nothing_changes_nothing() -> None:
    concurrency = Concurrency(16)
    for _ in range(5):
        concurrency.ended(concurrency.sent())
    assert (concurrency.limit, concurrency.in_flight) == (2, 0)


def test_answers_that_take_no_time_raise_the_limit() -> None:
    endpoint = Endpoint(4, lambda _now: 0.0, concurrency=Concurrency(4))
    endpoint.run(50)
    assert endpoint.concurrency.limit == 4
