"""How many requests are in flight: with a simulated endpoint, on a clock that only its answers move."""

from __future__ import annotations

import heapq
import itertools
import random
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutor_transform_logs.lms_job.deliver.concurrency import Concurrency, Ticket

MOST = 32
SERVERS = [1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16]
SEEDS = st.integers(0, 2**32)
ALL_SERVERS = st.integers(1, 16)
searching = settings(max_examples=60, deadline=None, derandomize=True)


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

    def is_away(self, tries: int) -> None:
        """All that is in flight fails, and then this number of tries with one request."""
        while self._events:
            self.concurrency.overloaded(heapq.heappop(self._events)[2])
        for _ in range(tries):
            self.concurrency.away(self.concurrency.sent())
        self.now += 10
        self._free = [self.now] * self.servers

    def used(self, first: int, last: int) -> float:
        """The share of its capacity that was used between two answers, where each takes a second."""
        return (last - first) / (self.answered[last] - self.answered[first]) / self.servers


def jittered(servers: int, deviation: float, seed: int) -> Endpoint:
    """Takes a second for a request, more or less by up to this share of it: the answers come in any order."""
    dice = random.Random(seed)
    return Endpoint(servers, lambda _now: 1.0 + deviation * dice.uniform(-1, 1))


@searching
@given(ALL_SERVERS, st.sampled_from([0.001, 0.01, 0.1]), SEEDS)
def test_twenty_requests_are_enough_in_whatever_order_they_are_answered(
    servers: int, deviation: float, seed: int
) -> None:
    endpoint = jittered(servers, deviation, seed)
    endpoint.run(20)
    assert endpoint.concurrency.limit >= 0.9 * servers
    endpoint.run(200)
    assert endpoint.most_in_flight <= 2 * servers


def test_twenty_requests_are_enough_for_times_that_differ_widely() -> None:
    """By up to 30 %: the slowest takes nearly twice as long as the fastest."""
    reached = 0
    for servers, seed in itertools.product(range(1, 17), range(20)):
        endpoint = jittered(servers, 0.3, 100 * seed + servers)
        endpoint.run(20)
        assert endpoint.concurrency.limit >= 0.5 * servers
        reached += max(endpoint.limits) >= 0.9 * servers
        endpoint.run(20)
        assert max(endpoint.limits) >= 0.9 * servers
    assert reached >= 0.95 * 16 * 20


@searching
@given(ALL_SERVERS, SEEDS)
def test_times_that_differ_widely_do_not_make_it_grow_without_bounds(servers: int, seed: int) -> None:
    endpoint = jittered(servers, 0.3, seed)
    endpoint.run(600)
    # What a server needs at least can't be known for sure.
    assert endpoint.most_in_flight <= 2 * servers + 4
    assert endpoint.used(100, 599) >= 0.85


@searching
@given(ALL_SERVERS, SEEDS, st.sampled_from([0.0, 0.1, 0.3]), st.integers(0, 120), st.integers(1, 12))
def test_an_outage_halves_the_limit_once_and_it_grows_back_at_once(
    servers: int, seed: int, deviation: float, before: int, tries: int
) -> None:
    """However many tries fail, and however early it is."""
    endpoint = jittered(servers, deviation, seed)
    endpoint.run(before)
    while endpoint.concurrency.has_room:
        endpoint._send()
    limit = endpoint.concurrency.limit
    endpoint.is_away(tries)
    # All those in flight may be of an earlier limit: they say nothing about this one.
    assert endpoint.concurrency.limit in (max(1, limit // 2), limit)
    endpoint.run(40)
    assert max(endpoint.limits[-40:]) >= 0.9 * min(limit, servers)
    assert endpoint.most_in_flight <= 2 * servers + (4 if deviation > 0.1 else 0)


def test_an_outage_at_the_first_request_costs_a_few_answers() -> None:
    endpoint = Endpoint(16)
    for _ in range(2):
        endpoint._send()
    endpoint.is_away(5)
    endpoint.run(20)
    assert endpoint.concurrency.limit >= 15


def test_one_refusal_at_the_beginning_is_soon_forgotten() -> None:
    endpoint = Endpoint(16)
    for _ in range(2):
        endpoint._send()
    endpoint.is_away(0)
    endpoint.run(30)
    assert max(endpoint.limits) >= 4


@pytest.mark.parametrize("seed", range(5))
def test_refusals_among_many_answers_halve_it_each_time(seed: int) -> None:
    endpoint = jittered(16, 0.1, seed)
    endpoint.run(100)
    for _ in range(3):
        limit = endpoint.concurrency.limit
        ticket = heapq.heappop(endpoint._events)[2]
        while ticket.round != endpoint.concurrency._round:
            endpoint.run(1)
            ticket = heapq.heappop(endpoint._events)[2]
        limit = endpoint.concurrency.limit
        endpoint.concurrency.overloaded(ticket)
        assert endpoint.concurrency.limit == limit // 2
        endpoint.run(limit)


@pytest.mark.parametrize("seed", range(10))
def test_an_endpoint_that_gets_slower_with_its_load_is_relieved(seed: int) -> None:
    """From eight requests in flight on, each makes all others slower."""
    dice = random.Random(seed)
    endpoint = Endpoint(64)
    endpoint.secs = lambda _now: max(1.0, (endpoint.concurrency.in_flight / 8) ** 2) * dice.uniform(0.9, 1.1)
    endpoint.run(600)
    assert any(second <= first // 2 for first, second in itertools.pairwise(endpoint.limits))
    assert max(endpoint.limits[300:]) <= 16
    assert statistics.fmean(endpoint.limits[300:]) >= 5


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


def test_answers_that_come_before_the_next_requests_are_sent_raise_the_limit_as_well() -> None:
    """All requests of a round are answered at once: twice as many are sent then, and not two more."""
    concurrency = Concurrency(MOST)
    tickets = [concurrency.sent(), concurrency.sent()]
    for expected in (4, 8, 16, 32):
        for ticket in tickets:
            concurrency.answered(ticket, 1.0, float(expected))
        tickets = []
        while concurrency.has_room:
            tickets.append(concurrency.sent())
        assert len(tickets) == expected
