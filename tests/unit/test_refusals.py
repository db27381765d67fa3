"""Refusals that repeat: how many requests a simulated LRS gets, and that every statement is accounted for once."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from tutor_transform_logs.lms_job.deliver.lrs import Lrs
from tutor_transform_logs.lms_job.deliver.lrs_answers import BatchRejected
from tutor_transform_logs.lms_job.deliver.lrs_client import Target
from tutor_transform_logs.lms_job.deliver.refusals import MOST_KINDS, NOT_APART, Doubt, Refusals, halves
from tutor_transform_logs.lms_job.deliver.traffic import EndpointTraffic
from tutor_transform_logs.lms_job.model.delivery import OutgoingStatement, SourcedStatement
from tutor_transform_logs.lms_job.model.records import Event, Line, Statement

BATCHES = 60
KINDS = [f"kind{number:02d}" for number in range(33)]
Shares = Mapping[str, float]


@dataclass
class SimulatedLrs:
    """Refuses requests with certain statements, each time with another text. Keeps what it takes."""

    refused: set[str] = field(default_factory=set)
    most: int = 10**6
    """How many statements a request may have: else 413."""
    stored: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    """How many statements each request had."""
    traffic: EndpointTraffic = field(default_factory=EndpointTraffic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def post(self, body: bytes) -> requests.Response:
        ids = [statement["id"] for statement in json.loads(body)]
        response = requests.Response()
        response.status_code = 200
        response._content = json.dumps(ids).encode()  # what requests itself sets of a body that it has read
        with self._lock:
            self.sizes.append(len(ids))
            if len(ids) > self.most:
                raise BatchRejected(413, "too large")
            if bad := self.refused.intersection(ids):
                raise BatchRejected(400 if len(self.sizes) % 2 else 422, f"{len(self.sizes)}: {min(bad)} is not valid")
            self.stored += ids
        return response


@dataclass
class Simulation:
    """Batches to one LRS, in which each statement is refused with the likelihood that its kind has."""

    lrs: SimulatedLrs = field(default_factory=SimulatedLrs)
    dice: random.Random = field(default_factory=lambda: random.Random(20_261_130))
    by_halves: int = 0
    """How many requests it would have taken without anything remembered."""
    rejected: int = 0
    made: int = 0

    def __post_init__(self) -> None:
        self.destination = Lrs(Target("http://127.0.0.1:9/xAPI", "xapi"), 1.0, 1.0, 10**7)
        self.destination.client = self.lrs  # type: ignore[assignment]

    def batch(self, shares: Shares, size: int) -> list[OutgoingStatement]:
        made = [self._statement(self.dice.choice([*shares])) for _ in range(size)]
        self.lrs.refused |= {each.id for each in made if self.dice.random() < shares[each.made.event.name]}
        return made

    def _statement(self, kind: str) -> OutgoingStatement:
        self.made += 1
        id_ = f"{self.made:08d}"
        body = json.dumps({"id": id_}).encode()
        return OutgoingStatement(SourcedStatement(Statement(id_, body), Event(kind, {}), Line(0, 0, 1, b"")), body)

    def deliver(self, shares: Shares, size: int = 100, batches: int = 1) -> int:
        """How many requests it takes, beside one for each statement that is refused."""
        spare = 0
        for _ in range(batches):
            batch = self.batch(shares, size)
            bad = [each.id for each in batch if each.id in self.lrs.refused]
            before, taken = len(self.lrs.sizes), len(self.lrs.stored)
            outcome = self.destination.deliver("a batch", batch)
            assert [rejection.statement.id for rejection in outcome.rejected] == bad
            assert sorted([*self.lrs.stored[taken:], *bad]) == [each.id for each in batch]
            assert (outcome.stored, outcome.duplicates) == (len(batch) - len(bad), 0)
            self.by_halves += requests_by_halves([each.id in self.lrs.refused for each in batch])
            self.rejected += len(bad)
            spare += len(self.lrs.sizes) - before - len(bad)
        return spare


def requests_by_halves(refused: Sequence[bool]) -> int:
    """How many requests it takes to deliver a batch with halves alone."""
    if len(refused) == 1 or not any(refused):
        return 1
    middle = len(refused) // 2
    return 1 + requests_by_halves(refused[:middle]) + requests_by_halves(refused[middle:])


def some(number: int, share: float = 1.0) -> dict[str, float]:
    """``number`` of all kinds are refused, each with this likelihood."""
    return {kind: share if place < number else 0.0 for place, kind in enumerate(KINDS)}


@pytest.mark.parametrize("number", [1, 3, 6])
@pytest.mark.parametrize("size", [10, 100, 1000])
def test_refused_kinds_take_one_request_a_batch_and_one_for_each_statement(number: int, size: int) -> None:
    simulation = Simulation()
    learning = 0
    while simulation.rejected < 10 * number:
        learning += simulation.deliver(some(number), size) - 1
    # A search for each kind, in a list of all kinds and then of its statements.
    assert learning <= 16 * number
    assert simulation.deliver(some(number), size, BATCHES) == BATCHES


def test_all_in_all_it_is_little_more_than_a_request_a_batch() -> None:
    """An LRS that refuses 9 % for good, from the first batch on."""
    simulation = Simulation()
    spare = simulation.deliver(some(3), 100, BATCHES)
    assert simulation.rejected > 500
    assert spare <= 1.5 * BATCHES
    assert len(simulation.lrs.sizes) < simulation.by_halves / 5


def test_where_all_is_refused_each_statement_takes_one_request() -> None:
    simulation = Simulation()
    simulation.deliver(some(33), 1000, 2)
    assert simulation.deliver(some(33), 1000, 10) == 0


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.5, 0.8])
@pytest.mark.parametrize("refused", [{"one": 1}, some(3), some(33)], ids=["the only kind", "3 of 33", "all"])
@pytest.mark.parametrize("size", [10, 200])
def test_it_takes_no_more_than_halves_where_only_some_of_a_kind_are_refused(
    share: float, refused: Shares, size: int
) -> None:
    simulation = Simulation()
    simulation.deliver({kind: share * is_refused for kind, is_refused in refused.items()}, size, 20)
    assert len(simulation.lrs.sizes) <= 1.1 * simulation.by_halves + 12


def test_half_of_a_kind_takes_about_a_request_for_each_statement_of_it() -> None:
    simulation = Simulation()
    spare = simulation.deliver(some(3, 0.5), 100, BATCHES)
    # As many of these kinds are accepted as refused.
    assert spare <= BATCHES + 1.3 * simulation.rejected
    assert len(simulation.lrs.sizes) < simulation.by_halves / 3


@pytest.mark.parametrize("before", [some(3), some(33), some(3, 0.5)], ids=["3 of 33", "all", "half of 3 of 33"])
def test_what_is_accepted_from_some_time_on_goes_with_the_others_again(before: Shares) -> None:
    simulation = Simulation()
    simulation.deliver(before, 100, BATCHES)
    accepted = some(0)
    # Each kind that was refused: by one, two, four ... of them.
    assert simulation.deliver(accepted, 100, BATCHES) <= BATCHES + 8 * sum(map(bool, before.values()))
    assert simulation.deliver(accepted, 100, BATCHES) == BATCHES


def test_what_is_refused_from_some_time_on_is_sent_apart() -> None:
    simulation = Simulation()
    assert simulation.deliver(some(0), 100, BATCHES) == BATCHES
    simulation.deliver(some(3), 100, 20)
    assert simulation.deliver(some(3), 100, BATCHES) == BATCHES


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from(KINDS[:8]), st.sampled_from([0, 0, 0.02, 0.5, 1]), min_size=1),
            st.integers(1, 60),
        ),
        max_size=12,
    ),
    st.randoms(use_true_random=False),
    st.sampled_from([10**6, 20]),
)
def test_whatever_is_refused_and_when_each_statement_is_accounted_for(
    batches: list[tuple[dict[str, float], int]], dice: random.Random, most: int
) -> None:
    simulation = Simulation(SimulatedLrs(most=most), dice)
    for shares, size in batches:
        simulation.deliver(shares, size)
    for_sizes = 6 * len(batches) if most < 60 else 0
    # What was learned of a kind has to be unlearned.
    assert len(simulation.lrs.sizes) <= 1.1 * simulation.by_halves + 8 * 8 + for_sizes


def test_threads_share_what_is_known() -> None:
    simulation = Simulation()
    simulation.deliver(some(3), 100, 3)
    batches = [simulation.batch(some(3), 100) for _ in range(BATCHES)]
    before, taken = len(simulation.lrs.sizes), len(simulation.lrs.stored)
    rejected: list[str] = []

    def deliver(mine: list[list[OutgoingStatement]]) -> None:
        for batch in mine:
            outcome = simulation.destination.deliver("a batch", batch)
            rejected.extend(rejection.statement.id for rejection in outcome.rejected)

    threads = [threading.Thread(target=deliver, args=(batches[number::8],)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted([*simulation.lrs.stored[taken:], *rejected]) == sorted(each.id for batch in batches for each in batch)
    assert len(simulation.lrs.sizes) - before <= 1.2 * BATCHES + len(rejected)


def test_no_more_kinds_are_remembered_than_there_can_be() -> None:
    simulation = Simulation()
    refusals = Refusals()
    for number in range(2 * MOST_KINDS):
        [statement] = simulation.batch({f"kind {number}": 0}, 1)
        refusals.refused([statement], Doubt.NONE)
        refusals.accepted([statement])
    assert len(refusals._kinds) == MOST_KINDS


def test_halves_have_as_few_kinds_in_common_as_possible_and_are_in_order() -> None:
    statements = Simulation().batch(some(5), 101)
    first, second = halves(statements)
    assert (len(first), len(second)) == (50, 51)
    assert sorted([*first, *second], key=lambda each: each.id) == statements
    for half in (first, second):
        assert half == sorted(half, key=lambda each: each.id)
    kinds = [{each.made.event.name for each in half} for half in (first, second)]
    assert len(kinds[0] & kinds[1]) <= 1


@pytest.mark.parametrize("number", [1, 5, NOT_APART - 1, NOT_APART, 10 * NOT_APART])
def test_after_a_single_refusal_fewer_are_sent_together(number: int) -> None:
    """The more were accepted before, the more go in the next request."""
    simulation = Simulation()
    simulation.deliver({"one": 0}, number)
    simulation.deliver({"one": 1}, 1)
    sent = len(simulation.lrs.sizes)
    simulation.deliver({"one": 0}, 1000)
    assert simulation.lrs.sizes[sent] == max(1, min(number, NOT_APART) // 2)
