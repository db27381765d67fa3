"""Several requests in flight: nothing is lost, nothing is recorded before its turn, and the end is the same."""

from __future__ import annotations

import itertools
import json
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import tally
from tests.harness.forked_site import ForkedSite
from tests.harness.http_sinks import Answer, Request, ScriptedLrs
from tests.harness.process import wait_for
from tests.harness.runs import check_sums
from tutor_transform_logs.demo.log_writer import Mix, write_log
from tutor_transform_logs.lms_job.deliver.traffic import REJECTIONS_ALONE

GOOD = 200
BATCH = 5


@pytest.fixture
def sending(world: ForkedSite, scripted_lrs: ScriptedLrs) -> ForkedSite:
    """A world whose job sends 200 statements in batches of 5, several at the same time."""
    write_log(world.logs / "tracking.log", Mix(good=GOOD), names=["play_video"], seed=7)
    world.settings |= {"batch_size": BATCH, "workers": 1, "max_requests_in_flight": 16}
    world.to_lrs({"url": scripted_lrs.url})
    return world


@pytest.fixture
def dice() -> random.Random:
    return random.Random(20_261_130)


def recorded(world: ForkedSite) -> Iterator[dict[str, Any]]:
    """The entries of the ledger."""
    for path in sorted(world.ledger.glob("*/0*/0*.json")):
        yield json.loads(path.read_text())


def resumed(world: ForkedSite, lrs: ScriptedLrs, **more: Any) -> dict[str, Any]:
    """The result of another run, after which the LRS must have everything."""
    ran = world.run(**more)
    tally.same(0, ran.status, ran.detail)
    tally.same(GOOD, len(lrs.statements), "statements at the LRS")
    result = world.result()
    check_sums(result)
    return result


def counted(result: dict[str, Any]) -> tuple[int, int, int]:
    """Stored, duplicates, rejected."""
    [destination] = result["destinations"]
    return destination["stored"], destination["duplicates"], destination["rejected"]


def test_answers_out_of_order_change_nothing(
    sending: ForkedSite, scripted_lrs: ScriptedLrs, dice: random.Random
) -> None:
    scripted_lrs.delay = lambda _request: dice.choice([0.0, 0.01, 0.05, 0.2])
    result = resumed(sending, scripted_lrs)
    tally.same((GOOD, 0, 0), counted(result), "counts")
    assert 3 <= scripted_lrs.most_at_once <= 16
    tally.same(0, scripted_lrs.repeated, "sent again")


def test_one_request_at_a_time_if_that_is_the_limit(sending: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    scripted_lrs.latency_secs = 0.02
    resumed(sending, scripted_lrs, max_requests_in_flight=1)
    tally.same(1, scripted_lrs.most_at_once, "at once")


def test_a_pause_after_each_batch_is_one_for_all(sending: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    scripted_lrs.latency_secs = 0.02
    resumed(sending, scripted_lrs, sleep_between_batches_secs=0.01)
    tally.same(1, scripted_lrs.most_at_once, "at once")


def test_the_workers_share_the_limit(sending: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    write_log(sending.logs / "tracking.log", Mix(good=GOOD, page_view=1000), names=["play_video"], seed=7)
    scripted_lrs.latency_secs = 0.05
    resumed(sending, scripted_lrs, workers=2, max_requests_in_flight=4, segment_bytes=65536)
    assert 2 <= scripted_lrs.most_at_once <= 4


def held_back(lrs: ScriptedLrs, statement: str) -> threading.Event:
    """From now on, the request with this statement is not answered before the event is set; the others are, at once."""
    release = threading.Event()

    def delay(request: Request) -> float:
        if statement in request.ids():
            release.wait(60)
        return 0.0

    lrs.delay = delay
    return release


def forgets(lrs: ScriptedLrs) -> list[str]:
    """Make the LRS empty; gives the ids that it had, in their order."""
    ids = list(lrs.statements)
    lrs.statements.clear()
    lrs.requests.clear()
    return ids


@pytest.mark.parametrize("name", ["KILL", "TERM"])
def test_nothing_is_recorded_beyond_a_batch_that_is_not_delivered(
    sending: ForkedSite, scripted_lrs: ScriptedLrs, name: str
) -> None:
    """The second batch gets no answer; those behind it were stored, and are sent again: they are duplicates then."""
    resumed(sending, scripted_lrs, max_requests_in_flight=1)
    release = held_back(scripted_lrs, forgets(scripted_lrs)[BATCH + 2])
    process = sending.start(restart=True)
    wait_for(lambda: len(scripted_lrs.statements) >= 4 * BATCH)
    time.sleep(0.3)
    *_, entry = recorded(sending)
    tally.same((1, BATCH, False), (entry["batches"], entry["counts"]["stored"], entry["done"]), "the entry")
    if name == "KILL":
        process.kill(group=True)
    else:
        process.send(signal.SIGTERM)
    ended = process.wait(20)
    tally.same(-9 if name == "KILL" else 4, ended.status, ended.detail)
    *_, entry = recorded(sending)
    tally.same((1, BATCH), (entry["batches"], entry["counts"]["stored"]), "the entry after the end")
    before = len(scripted_lrs.statements)
    scripted_lrs.delay = None
    release.set()
    result = resumed(sending, scripted_lrs)
    stored, duplicates, _ = counted(result)
    tally.same(GOOD, stored + duplicates, "stored, or duplicates")
    # The second may have been stored when it was let go.
    assert duplicates in (before - BATCH, before)


@pytest.mark.parametrize("broken", [False, True])
def test_a_record_that_is_ahead_of_the_delivery_loses_something(
    sending: ForkedSite, scripted_lrs: ScriptedLrs, broken: bool
) -> None:
    """The tests themselves: with a mistake in the order (``steps._break_order``), a kill makes a difference."""
    resumed(sending, scripted_lrs, max_requests_in_flight=1)
    release = held_back(scripted_lrs, forgets(scripted_lrs)[BATCH + 2])
    process = sending.start(restart=True, steps={"out_of_order": broken})
    wait_for(lambda: len(scripted_lrs.statements) >= 4 * BATCH)
    time.sleep(0.5)
    process.kill(group=True)
    process.wait(20)
    # What the killed run had sent is not stored either.
    scripted_lrs.delay = None
    scripted_lrs.script = [Answer(503)]
    release.set()
    wait_for(lambda: not scripted_lrs.script)
    assert sending.run().status == 0
    tally.same(GOOD - (BATCH if broken else 0), len(scripted_lrs.statements), "statements")


def test_a_failure_of_one_batch_ends_the_record_before_it(sending: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    """What is in flight behind it is awaited."""
    resumed(sending, scripted_lrs, max_requests_in_flight=1)
    scripted_lrs.refused = {forgets(scripted_lrs)[5 * BATCH + 2]: 401}
    scripted_lrs.latency_secs = 0.05
    ran = sending.run(restart=True)
    tally.same(1, ran.status, ran.detail)
    assert "refuses the credentials" in ran.detail
    *_, entry = recorded(sending)
    tally.same((5, 5 * BATCH), (entry["batches"], entry["counts"]["stored"]), "the entry")
    assert len(scripted_lrs.statements) > 5 * BATCH
    scripted_lrs.refused = {}
    resumed(sending, scripted_lrs)


def test_a_refused_statement_is_one_dead_letter_and_holds_up_nobody(
    sending: ForkedSite, scripted_lrs: ScriptedLrs
) -> None:
    resumed(sending, scripted_lrs)
    all_ids = forgets(scripted_lrs)
    scripted_lrs.refused = {all_ids[12]: 400, all_ids[77]: 409}
    scripted_lrs.latency_secs = 0.03
    ran = sending.run(restart=True)
    tally.same(3, ran.status, ran.detail)
    tally.same(set(all_ids) - scripted_lrs.refused.keys(), set(scripted_lrs.statements), "statements")
    result = sending.result()
    check_sums(result)
    tally.same((GOOD - 2, 0, 2), counted(result), "counts")
    tally.same(2, sum(result["reasons"].values()), "dead letters")
    assert scripted_lrs.most_at_once > 2


def test_the_first_batch_does_not_hold_up_all_others_until_it_is_halved(
    sending: ForkedSite, scripted_lrs: ScriptedLrs
) -> None:
    """After some rejections, an LRS is there, and most of what it rejects is known."""
    resumed(sending, scripted_lrs, max_requests_in_flight=1)
    ids = forgets(scripted_lrs)
    first = set(ids[: GOOD // 2])
    scripted_lrs.refused = dict.fromkeys(first, 400)
    other = threading.Event()
    in_time = []
    of_first = itertools.count()

    def delay(request: Request) -> float:
        if not request.ids() <= first:
            other.set()
        elif next(of_first) == 2 * REJECTIONS_ALONE:
            in_time.append(other.wait(20))
        return 0.0

    scripted_lrs.delay = delay
    ran = sending.run(restart=True, batch_size=GOOD // 2)
    tally.same(3, ran.status, ran.detail)
    tally.same([True], in_time, "was another batch sent before the end of the first one?")
    tally.same((GOOD // 2, 0, GOOD // 2), counted(sending.result()), "counts")


@pytest.mark.parametrize("status", [401, 403, 404])
def test_an_lrs_that_takes_nothing_from_this_job_gets_one_request(
    sending: ForkedSite, scripted_lrs: ScriptedLrs, status: int
) -> None:
    scripted_lrs.script = [Answer(status)] * 100
    scripted_lrs.latency_secs = 0.3
    ran = sending.run()
    tally.same(1, ran.status, ran.detail)
    tally.same(1, len(scripted_lrs.requests), "requests")
    tally.same(1, ran.detail.count("stopped: "), f"errors: {ran.detail}")


def test_an_lrs_that_is_down_in_between_is_waited_for_by_all(sending: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    scripted_lrs.latency_secs = 0.02
    scripted_lrs.script = [None] * 12 + [Answer(503)] * 4
    result = resumed(sending, scripted_lrs, lrs_max_wait_secs=60)
    tally.same((GOOD, 0, 0), counted(result), "counts")


def test_an_lrs_that_stays_down_stops_the_run_with_4(sending: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    scripted_lrs.latency_secs = 0.02
    scripted_lrs.script = [None] * 12 + [Answer(503)] * 500
    ran = sending.run(lrs_max_wait_secs=2)
    tally.same(4, ran.status, ran.detail)
    [entry] = recorded(sending)
    # One tries for all: they do not come back together.
    assert len(scripted_lrs.requests) < 12 + 40
    scripted_lrs.script = []
    tally.same(GOOD, sum(counted(resumed(sending, scripted_lrs))), "made")
    assert entry["counts"]["stored"] <= 12 * BATCH


def test_statements_with_one_id_are_never_in_flight_together(sending: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    """Lines that are repeated a few batches later, and one of them with another content under the same id."""
    path = sending.logs / "tracking.log"
    lines = path.read_text().splitlines(keepends=True)
    copied = []
    for at in range(0, GOOD, 20):
        copied += lines[at : at + 20] + lines[at + 3 : at + 20 : 4]
    path.write_text("".join(copied))
    scripted_lrs.latency_secs = 0.03
    result = resumed(sending, scripted_lrs)
    tally.same([], scripted_lrs.same_at_once, "in flight together")
    tally.same((GOOD, len(copied) - GOOD, 0), counted(result), "counts")
    assert scripted_lrs.most_at_once > 1


@pytest.mark.parametrize("limit", [BATCH, 7 * BATCH])
def test_the_limit_of_a_run_is_its_limit(sending: ForkedSite, scripted_lrs: ScriptedLrs, limit: int) -> None:
    scripted_lrs.latency_secs = 0.03
    ran = sending.run(limit=limit)
    tally.same(4, ran.status, ran.detail)
    tally.same(limit, len(scripted_lrs.statements), "at the LRS")
    [entry] = recorded(sending)
    tally.same(limit, entry["counts"]["stored"], "in the ledger")
    resumed(sending, scripted_lrs)


@pytest.mark.parametrize(
    "label", ["POST statements: sent", "deliver: after", "entry write: before", "entry write: after", "batch: before"]
)
@pytest.mark.parametrize("number", [2, 9, 23])
def test_a_kill_with_requests_in_flight_changes_nothing(
    sending: ForkedSite, scripted_lrs: ScriptedLrs, dice: random.Random, label: str, number: int
) -> None:
    scripted_lrs.delay = lambda _request: dice.choice([0.0, 0.01, 0.08])
    killed = sending.run(steps={"label": label, "number": number, "group": True})
    tally.same(-9, killed.status, killed.detail)
    tally.add("kills")
    entries = list(recorded(sending))
    assert sum(entry["counts"]["stored"] for entry in entries) <= len(scripted_lrs.statements)
    result = resumed(sending, scripted_lrs)
    tally.same(GOOD, sum(counted(result)), "stored, or duplicates")


def test_the_log_is_read_no_faster_than_the_lrs_takes_it(
    sending: ForkedSite, scripted_lrs: ScriptedLrs, tmp_path: Path
) -> None:
    """As long as there are no answers, a bounded part of the log is in memory, and of no more is sent."""
    scripted_lrs.gate.clear()
    trace = tmp_path / "trace"
    process = sending.start(steps={"trace": str(trace)})
    time.sleep(2)
    assert trace.read_text().count("batch: before") <= 3
    scripted_lrs.gate.set()
    tally.same(0, process.wait(60).status, "the end")


def one_at_a_time(lrs: ScriptedLrs, secs: float) -> None:
    """From now on, the LRS works on one request at a time, for so long."""
    server = threading.Lock()

    def delay(_request: Request) -> float:
        with server:
            time.sleep(secs)
        return 0.0

    lrs.delay = delay


def test_when_the_time_is_up_no_further_batches_are_sent(sending: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    """Not even those that could have been made while the LRS took no more."""
    one_at_a_time(scripted_lrs, 0.4)
    ran = sending.run(max_duration="5s")
    tally.same(4, ran.status, ran.detail)
    assert 1 <= len(scripted_lrs.requests) < GOOD // BATCH // 2
    check_sums(sending.result())
    scripted_lrs.delay = None
    resumed(sending, scripted_lrs)


def test_after_a_stall_a_throttled_run_does_not_catch_up(sending: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    """Ten batches a second: in four seconds without an answer, 40 could have been made; ten may follow at once."""
    arrived: list[float] = []
    ends: list[float] = []

    def delay(_request: Request) -> float:
        arrived.append(time.monotonic())
        if len(arrived) == 4:
            ends.append(time.monotonic() + 4.0)
        return max(0.0, ends[0] - time.monotonic()) if ends else 0.0

    scripted_lrs.delay = delay
    resumed(sending, scripted_lrs, max_events_per_second=10 * BATCH)
    assert sum(ends[0] <= at < ends[0] + 0.5 for at in arrived) <= 24
