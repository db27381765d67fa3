"""Caliper endpoints that take arrays of envelopes, and those that do not: how many requests, and what is remembered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.harness import tally
from tests.harness.forked_site import ForkedSite
from tests.harness.http_sinks import Answer, CaliperSink
from tests.harness.job import JobRun
from tests.harness.runs import check_sums
from tutor_transform_logs.demo.log_writer import CALIPER_GOOD_NAMES, LOG_START, Mix, write_log

GOOD = 35
# What a run in batches of 10 posts: an envelope by itself, an array of one, and then arrays.
TAKEN = [0, 1, 8, 10, 10, 5]
REFUSED = [0, 1, *[0] * (GOOD - 1)]
STEPS = [
    "POST envelopes: half",
    "POST envelopes: sent",
    "endpoint write: before",
    "endpoint write: half",
    "endpoint rename: before",
    "endpoint write: after",
    "deliver: after",
]


@pytest.fixture
def sending(world: ForkedSite, caliper_sink: CaliperSink) -> ForkedSite:
    """A world whose job sends 35 Caliper events in batches of 10."""
    return with_log(world, caliper_sink)


def with_log(world: ForkedSite, sink: CaliperSink) -> ForkedSite:
    write_log(world.logs / "tracking.log", Mix(good=GOOD), names=CALIPER_GOOD_NAMES, seed=3)
    world.settings |= {"batch_size": 10, "workers": 1, "transformer_type": "caliper", "lrs_max_wait_secs": 0.5}
    world.to_lrs({"url": sink.url, "bearer": "a-t0ken"})
    return world


def delivered(world: ForkedSite, sink: CaliperSink, **more: Any) -> tuple[JobRun, list[int]]:
    """Run it from the start; gives the run and the sizes of the arrays that it posted."""
    sink.requests.clear()
    sink.envelopes.clear()
    ran = world.run(restart=True, **more)
    tally.add("faults")
    assert "Traceback" not in ran.detail
    check_sums(world.result())
    return ran, sink.sizes()


def test_arrays_are_used_where_they_are_taken(sending: ForkedSite, caliper_sink: CaliperSink) -> None:
    ran, sizes = delivered(sending, caliper_sink)
    tally.same((0, TAKEN), (ran.status, sizes), ran.detail)
    ids = caliper_sink.event_ids()
    assert len(set(ids)) == len(ids) == GOOD
    # The next run knows.
    ran, sizes = delivered(sending, caliper_sink)
    tally.same((0, [10, 10, 10, 5]), (ran.status, sizes), ran.detail)
    assert caliper_sink.event_ids() == ids


@pytest.mark.parametrize("status", [400, 403, 404, 405, 409, 413, 415, 422])
def test_an_endpoint_that_refuses_arrays_gets_one_and_no_other(
    sending: ForkedSite, caliper_sink: CaliperSink, status: int
) -> None:
    caliper_sink.to_array = Answer(status, {"error": "not an envelope"})
    ran, sizes = delivered(sending, caliper_sink)
    tally.same((0, REFUSED), (ran.status, sizes), ran.detail)
    ids = caliper_sink.event_ids()
    assert len(set(ids)) == len(ids) == GOOD
    ran, sizes = delivered(sending, caliper_sink)
    tally.same((0, [0] * GOOD), (ran.status, sizes), ran.detail)
    assert caliper_sink.event_ids() == ids


@pytest.mark.parametrize("answer", [Answer(500), Answer(502), Answer(503), Answer(no_answer=True)])
def test_an_endpoint_that_fails_on_arrays_gets_one_in_each_run(
    sending: ForkedSite, caliper_sink: CaliperSink, answer: Answer
) -> None:
    """Whether it only failed for a moment is not known: envelopes go by themselves, and nothing is remembered."""
    caliper_sink.to_array = answer
    for _ in range(2):
        ran, sizes = delivered(sending, caliper_sink)
        tally.same((0, REFUSED), (ran.status, sizes), ran.detail)
        assert len(set(caliper_sink.event_ids())) == len(caliper_sink.event_ids()) == GOOD
    caliper_sink.to_array = None
    assert delivered(sending, caliper_sink)[1] == TAKEN


def test_an_array_that_is_stored_without_an_answer_doubles_one_event_at_most(
    sending: ForkedSite, caliper_sink: CaliperSink
) -> None:
    """As after any answer that is lost; the second one has the id of the first."""
    caliper_sink.to_array = Answer(500, store=True)
    ran, _ = delivered(sending, caliper_sink)
    assert ran.status == 0, ran.detail
    counts = Counter(caliper_sink.event_ids())
    assert (len(counts), sorted(counts.values())[-2:]) == (GOOD, [1, 2])


def test_an_event_that_is_refused_by_itself_decides_nothing(sending: ForkedSite, caliper_sink: CaliperSink) -> None:
    """The first two and the fifth are refused in any form, by an endpoint that refuses arrays."""
    assert delivered(sending, caliper_sink)[0].status == 0
    ids = caliper_sink.event_ids()
    for path in sending.ledger.rglob("endpoint.*.json"):
        path.unlink()
    caliper_sink.refused = dict.fromkeys([ids[0], ids[1], ids[4]], 422)
    ran, sizes = delivered(sending, caliper_sink)
    # The first two are refused as arrays, too; the third one is taken by itself, and the array of the fourth.
    tally.same((3, [0, 1, 0, 1, 0, 1]), (ran.status, sizes[:6]), ran.detail)
    assert [letter["statement"] for letter in ran.dead_letters()] == [ids[0], ids[1], ids[4]]
    assert all("is not welcome" in letter["detail"] for letter in ran.dead_letters())
    caliper_sink.refused = {ids[1]: 400}
    caliper_sink.to_array = Answer(400)
    for path in sending.ledger.rglob("endpoint.*.json"):
        path.unlink()
    ran, sizes = delivered(sending, caliper_sink)
    # The array of the second one and the second one are refused; the array of the third one is the last.
    tally.same((3, [0, 1, 0, 1, *[0] * 33]), (ran.status, sizes), ran.detail)
    assert sorted(caliper_sink.event_ids()) == sorted(set(ids) - {ids[1]})


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 415, 422, 302])
def test_an_endpoint_that_no_longer_takes_arrays_loses_nothing(
    sending: ForkedSite, caliper_sink: CaliperSink, status: int
) -> None:
    assert delivered(sending, caliper_sink)[0].status == 0
    ids = caliper_sink.event_ids()
    caliper_sink.to_array = Answer(status)
    ran, sizes = delivered(sending, caliper_sink)
    # What may be a fault of one event is looked for in halves.
    arrays = {413: [10, 2, 1], 400: [10, 5, 2, 1], 422: [10, 5, 2, 1]}.get(status, [10])
    tally.same((0, [*arrays, *[0] * GOOD]), (ran.status, sizes), ran.detail)
    assert caliper_sink.event_ids() == ids
    assert delivered(sending, caliper_sink)[1] == [0] * GOOD


@pytest.mark.parametrize("answer", [Answer(500), Answer(501), Answer(503), Answer(no_answer=True)])
def test_an_endpoint_that_fails_on_arrays_since_it_took_some_gets_events_one_by_one(
    sending: ForkedSite, caliper_sink: CaliperSink, answer: Answer
) -> None:
    """After the time that a run waits for what is unavailable. The next run waits no more, and sees when it passes."""
    assert delivered(sending, caliper_sink)[0].status == 0
    ids = caliper_sink.event_ids()
    caliper_sink.to_array = answer
    ran, sizes = delivered(sending, caliper_sink)
    # After the first event that is accepted, the rest is tried as an array once more.
    found = (ran.status, sizes.count(0), sizes.count(9), set(sizes))
    tally.same((0, GOOD, 1, {10, 9, 0}), found, ran.detail)
    assert caliper_sink.event_ids() == ids
    ran, sizes = delivered(sending, caliper_sink)
    tally.same((0, REFUSED), (ran.status, sizes), ran.detail)
    caliper_sink.to_array = None
    assert delivered(sending, caliper_sink)[1] == TAKEN


def test_a_failure_that_has_just_passed_costs_one_event_its_array(
    sending: ForkedSite, caliper_sink: CaliperSink
) -> None:
    """An outage ends between the last try of an array and the first event by itself."""
    assert delivered(sending, caliper_sink)[0].status == 0
    ids = caliper_sink.event_ids()
    caliper_sink.to_array, caliper_sink.passes = Answer(503), True
    ran, sizes = delivered(sending, caliper_sink)
    tally.same((0, [0, 9, 10, 10, 5]), (ran.status, sizes[-5:]), ran.detail)
    assert set(sizes[:-5]) == {10}
    assert caliper_sink.event_ids() == ids
    assert delivered(sending, caliper_sink)[1] == [10, 10, 10, 5]


@pytest.mark.parametrize("status", [404, 503])
def test_workers_whose_arrays_are_refused_deliver_everything_once(
    world: ForkedSite, caliper_sink: CaliperSink, status: int
) -> None:
    sending = with_log(world, caliper_sink)
    for number in range(6):
        start = LOG_START.replace(hour=number + 1)
        write_log(
            world.logs / f"tracking.log-{number}", Mix(good=20), names=CALIPER_GOOD_NAMES, seed=number, start=start
        )
    assert delivered(sending, caliper_sink)[0].status == 0
    caliper_sink.to_array = Answer(status)
    ran, _ = delivered(sending, caliper_sink, workers=4)
    assert ran.status == 0, ran.detail
    ids = caliper_sink.event_ids()
    assert len(set(ids)) == len(ids) == GOOD + 6 * 20


def test_random_ids_are_sent_again_after_a_stop(sending: ForkedSite, caliper_sink: CaliperSink) -> None:
    """As docs/howto/caliper.rst says: only ids that stay the same tell what was accepted."""
    caliper_sink.to_array, caliper_sink.available = Answer(400), 20
    random = {"batch_size": 30, "caliper_stable_ids": False}
    ran, _ = delivered(sending, caliper_sink, **random)
    tally.same(4, ran.status, ran.detail)
    accepted = len(caliper_sink.event_ids())
    caliper_sink.available = None
    resumed = sending.run(**random)
    tally.same(0, resumed.status, resumed.detail)
    ids = caliper_sink.event_ids()
    tally.same((GOOD + accepted, GOOD + accepted), (len(ids), len(set(ids))), "all of the batch again")


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (Answer(401), 1, "refuses the credentials (401)"),
        (Answer(404), 1, "answers 404"),
        (Answer(415), 1, "answers 415"),
        (Answer(503), 4, "answers 503"),
        (Answer(no_answer=True), 4, "does not answer"),
    ],
)
def test_what_an_endpoint_answers_to_all_forms_ends_the_run(
    sending: ForkedSite, caliper_sink: CaliperSink, answer: Answer, status: int, said: str
) -> None:
    """Then it was not because of the array, and that it takes arrays is remembered."""
    assert delivered(sending, caliper_sink)[0].status == 0
    ids = caliper_sink.event_ids()
    caliper_sink.to_array = caliper_sink.to_object = answer
    ran, sizes = delivered(sending, caliper_sink)
    tally.same((status, 1, {10, 0}), (ran.status, sizes.count(0), set(sizes)), ran.detail)
    assert said in ran.detail
    assert ran.dead_letters() == []
    caliper_sink.to_array = caliper_sink.to_object = None
    caliper_sink.requests.clear()
    resumed = sending.run()
    tally.same((0, [10, 10, 10, 5]), (resumed.status, caliper_sink.sizes()), resumed.detail)
    assert caliper_sink.event_ids() == ids


def test_an_endpoint_that_is_busy_gets_no_more_requests(sending: ForkedSite, caliper_sink: CaliperSink) -> None:
    """A limit of requests is not kept by sending each event by itself."""
    assert delivered(sending, caliper_sink)[0].status == 0
    caliper_sink.to_array = Answer(429)
    ran, sizes = delivered(sending, caliper_sink)
    tally.same((4, {10}), (ran.status, set(sizes)), ran.detail)


@pytest.mark.parametrize("status", [400, 404, 413, 500])
def test_an_endpoint_that_takes_small_arrays_only_gets_everything(
    sending: ForkedSite, caliper_sink: CaliperSink, status: int
) -> None:
    """Each event once, in each run, whatever the endpoint says to larger arrays."""
    caliper_sink.to_array, caliper_sink.largest_array = Answer(status), 3
    for _ in range(2):
        ran, sizes = delivered(sending, caliper_sink)
        tally.same(0, ran.status, ran.detail)
        ids = caliper_sink.event_ids()
        assert len(set(ids)) == len(ids) == GOOD
        if status == 413:
            # Once it is known how much it takes, nothing larger is sent.
            assert len(sizes) < GOOD
            assert sizes[-8:] == [size for size in sizes[-8:] if 0 < size <= 3]


@pytest.mark.parametrize("status", [400, 415, 422])
def test_an_endpoint_that_takes_arrays_only_gets_arrays(
    sending: ForkedSite, caliper_sink: CaliperSink, status: int
) -> None:
    caliper_sink.to_object = Answer(status, {"error": "not an array"})
    ran, sizes = delivered(sending, caliper_sink)
    tally.same((0, [0, 1, 9, 10, 10, 5]), (ran.status, sizes), ran.detail)
    ids = caliper_sink.event_ids()
    assert len(set(ids)) == len(ids) == GOOD
    ran, sizes = delivered(sending, caliper_sink)
    tally.same((0, [10, 10, 10, 5]), (ran.status, sizes), ran.detail)
    # What is wrong with an event is what the endpoint says to an array.
    caliper_sink.refused = {ids[4]: 400}
    ran, _ = delivered(sending, caliper_sink)
    tally.same(3, ran.status, ran.detail)
    [letter] = ran.dead_letters()
    assert letter["statement"] == ids[4]
    assert f"event {ids[4]} is not welcome" in letter["detail"]
    assert sorted(caliper_sink.event_ids()) == sorted({*ids} - {ids[4]})


def test_an_endpoint_that_now_takes_arrays_only_gets_arrays(sending: ForkedSite, caliper_sink: CaliperSink) -> None:
    """It once refused them, and the ledger says so."""
    caliper_sink.to_array = Answer(400)
    assert delivered(sending, caliper_sink)[0].status == 0
    caliper_sink.to_array, caliper_sink.to_object = None, Answer(422)
    ran, sizes = delivered(sending, caliper_sink)
    tally.same((0, [0, 1, 9, 10, 10, 5]), (ran.status, sizes), ran.detail)


def test_of_an_event_that_is_rejected_in_both_forms_both_texts_are_kept(
    sending: ForkedSite, caliper_sink: CaliperSink
) -> None:
    assert delivered(sending, caliper_sink)[0].status == 0
    caliper_sink.to_array, caliper_sink.to_object = Answer(422, {"a": "no"}), Answer(400, {"o": "no"})
    ran, _ = delivered(sending, caliper_sink)
    tally.same(3, ran.status, ran.detail)
    letters = ran.dead_letters()
    assert len(letters) == GOOD
    assert all(letter["detail"].endswith('400: {"o": "no"} (in an array: 422: {"a": "no"})') for letter in letters)


@pytest.mark.parametrize("content", [b"", b"{", b'{"version": 99}', b'{"version": 3}', b"\xff", b"[" * 10**5])
def test_a_memory_that_can_t_be_read_is_written_again(
    sending: ForkedSite, caliper_sink: CaliperSink, content: bytes
) -> None:
    assert delivered(sending, caliper_sink)[0].status == 0
    [path] = sending.ledger.rglob("endpoint.*.json")
    known = path.read_bytes()
    path.write_bytes(content)
    ran, sizes = delivered(sending, caliper_sink)
    tally.same((0, TAKEN, known), (ran.status, sizes, path.read_bytes()), ran.detail)


@pytest.mark.parametrize("available", [1, 2, 3, 20, 33, 35])
def test_what_was_accepted_of_a_batch_is_not_sent_again(
    sending: ForkedSite, caliper_sink: CaliperSink, available: int
) -> None:
    """The endpoint goes down in the middle of a batch, and comes back for the next run."""
    caliper_sink.to_array = Answer(400)
    caliper_sink.available = available
    ran, _ = delivered(sending, caliper_sink, batch_size=30)
    tally.same(4, ran.status, ran.detail)
    caliper_sink.available = None
    resumed = sending.run(batch_size=30)
    tally.same(0, resumed.status, resumed.detail)
    check_sums(sending.result())
    [destination] = sending.result()["destinations"]
    ids = caliper_sink.event_ids()
    tally.same((GOOD, GOOD, GOOD), (len(ids), len(set(ids)), destination["stored"]), f"down after {available}")
    assert not list(sending.ledger.rglob("sent/*"))


@pytest.mark.parametrize(("available", "sizes"), [(20, [30, 10]), (20, [30, 4, 10]), (33, [30, 3]), (20, [10, 30])])
def test_what_was_accepted_is_not_sent_again_in_batches_of_another_size(
    sending: ForkedSite, caliper_sink: CaliperSink, available: int, sizes: list[int]
) -> None:
    """The endpoint goes down in the middle of a batch, once for each size but the last."""
    caliper_sink.to_array = Answer(400)
    caliper_sink.available = available
    ran, _ = delivered(sending, caliper_sink, batch_size=sizes[0])
    tally.same(4, ran.status, ran.detail)
    for size in sizes[1:-1]:
        # Far enough into what was not sent before.
        caliper_sink.available = len(caliper_sink.requests) + 5
        tally.same(4, sending.run(batch_size=size).status, f"stopped with {size}")
    caliper_sink.available = None
    resumed = sending.run(batch_size=sizes[-1])
    tally.same(0, resumed.status, resumed.detail)
    check_sums(sending.result())
    [destination] = sending.result()["destinations"]
    ids = caliper_sink.event_ids()
    tally.same((GOOD, GOOD, GOOD), (len(ids), len(set(ids)), destination["stored"]), f"down after {available}")


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGKILL"])
def test_a_signal_in_the_middle_of_a_batch_doubles_little(
    sending: ForkedSite, caliper_sink: CaliperSink, signal: str
) -> None:
    """After SIGTERM, the event that was being sent at most; after SIGKILL, those since the record was saved."""
    caliper_sink.to_array = Answer(400)
    sending.settings["batch_size"] = 300
    write_log(sending.logs / "tracking.log", Mix(good=250), names=CALIPER_GOOD_NAMES, seed=3)
    steps = {"label": "POST envelopes: sent", "number": 230, "signal": signal}
    ran = sending.run(steps=steps)
    tally.add("kills")
    tally.same(4 if signal == "SIGTERM" else -9, ran.status, ran.detail)
    resumed = sending.run()
    tally.same(0, resumed.status, resumed.detail)
    check_sums(sending.result())
    ids = caliper_sink.event_ids()
    assert len(set(ids)) == 250
    assert len(ids) - 250 <= (1 if signal == "SIGTERM" else 30)


@pytest.mark.parametrize("takes", [True, False])
def test_of_several_workers_one_finds_it_out(world: ForkedSite, caliper_sink: CaliperSink, takes: bool) -> None:
    sending = with_log(world, caliper_sink)
    for number in range(6):
        start = LOG_START.replace(hour=number + 1)
        write_log(
            world.logs / f"tracking.log-{number}", Mix(good=20), names=CALIPER_GOOD_NAMES, seed=number, start=start
        )
    caliper_sink.to_array = None if takes else Answer(400)
    ran, sizes = delivered(sending, caliper_sink, workers=4)
    assert ran.status == 0, ran.detail
    tally.same((1, 1), (sizes.count(0), sizes.count(1)) if takes else (sizes.count(1), sizes.count(1)), str(sizes))
    assert len(set(caliper_sink.event_ids())) == len(caliper_sink.event_ids()) == GOOD + 6 * 20


@pytest.mark.parametrize("takes", [True, False])
def test_a_kill_while_it_finds_out_loses_nothing(
    new_world: Callable[[str], ForkedSite], caliper_sink: CaliperSink, takes: bool
) -> None:
    """What is sent a second time, a batch at most, has its id."""
    caliper_sink.to_array = None if takes else Answer(400)
    reference = with_log(new_world("reference"), caliper_sink)
    trace = reference.folder / "trace"
    assert reference.run(steps={"trace": str(trace)}).status == 0
    ids = caliper_sink.event_ids()
    steps = trace.read_text().splitlines()
    assert set(STEPS) <= set(steps), set(STEPS) - set(steps)
    for label in STEPS:
        caliper_sink.requests.clear()
        caliper_sink.envelopes.clear()
        world = with_log(new_world(f"killed-{STEPS.index(label)}"), caliper_sink)
        killed = world.run(steps={"label": label, "number": min(2, steps.count(label))})
        tally.add("kills")
        tally.same(-9, killed.status, f"not killed at {label}")
        resumed = world.run()
        tally.same(0, resumed.status, f"killed at {label}: {resumed.detail}")
        got = caliper_sink.event_ids()
        tally.same(set(ids), set(got), f"killed at {label}")
        assert len(got) <= GOOD + 10
        assert caliper_sink.sizes().count(1) <= 2
        check_sums(world.result())
