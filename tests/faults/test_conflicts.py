"""What becomes of a 409, at LRSs of every kind: in how many requests, and that nothing is a conflict that is not."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.harness import tally
from tests.harness.forked_site import ForkedSite
from tests.harness.http_sinks import Answer, ScriptedLrs
from tests.harness.job import JobRun
from tests.harness.ralph import Lrs
from tests.harness.runs import check_sums
from tutor_transform_logs.demo.log_writer import LOG_START, Mix, write_log

GOOD = 60
# The last batch is as large as the others.
BATCH = 30
STEPS = ["compare: before", "GET statements: sent", "compare: after", "POST statements: sent", "deliver: after"]


@pytest.fixture
def sending(world: ForkedSite, scripted_lrs: ScriptedLrs) -> ForkedSite:
    """A world whose job sends 60 statements in batches of 30 to the scripted LRS."""
    write_log(world.logs / "tracking.log", Mix(good=GOOD), names=["play_video"], seed=7)
    world.settings["batch_size"] = BATCH
    world.to_lrs({"url": scripted_lrs.url, "username": "u", "password": "p"})
    return world


def delivered(world: ForkedSite, lrs: ScriptedLrs) -> list[str]:
    """Deliver everything once; gives the ids in the order of the log."""
    assert world.run().status == 0
    lrs.requests.clear()
    return list(lrs.statements)


def again(world: ForkedSite, lrs: ScriptedLrs, **more: Any) -> tuple[JobRun, dict[str, int]]:
    """Replay the whole log; gives the run and the counts of the statements."""
    lrs.requests.clear()
    ran = world.run(restart=True, **more)
    tally.add("faults")
    assert "Traceback" not in ran.detail
    check_sums(world.result())
    [destination] = world.result()["destinations"]
    return ran, {name: destination[name] for name in ("stored", "duplicates", "rejected")}


def counted(stored: int = 0, duplicates: int = 0, rejected: int = 0) -> dict[str, int]:
    return {"stored": stored, "duplicates": duplicates, "rejected": rejected}


def change(lrs: ScriptedLrs, *ids: str) -> None:
    """Put another statement under each of these ids."""
    for id_ in ids:
        lrs.statements[id_] = {**lrs.statements[id_], "result": {"completion": False}}


def test_an_lrs_that_refuses_what_it_has_has_only_duplicates(sending: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    """30 are refused, and pages by time show nothing; then 15 and 7, of which each is asked for.

    The rest of the batch, 8 and 15, is asked for as well, and posted no more than once. The second batch is posted
    once, asked for a page, and then asked for one by one.
    """
    scripted_lrs.refuses_same = True
    delivered(sending, scripted_lrs)
    ran, found = again(sending, scripted_lrs)
    tally.same((0, counted(duplicates=GOOD)), (ran.status, found), ran.detail)
    assert scripted_lrs.batch_sizes() == [30, 15, 7, 8, 15, 30]
    assert scripted_lrs.methods() == {"POST": 6, "GET": GOOD + 2}


@pytest.mark.parametrize("spec", ["milliseconds", "microseconds"])
def test_an_lrs_that_keeps_times_to_the_millisecond_has_no_conflicts(
    sending: ForkedSite, scripted_lrs: ScriptedLrs, spec: str
) -> None:
    """But one that keeps another time to the microsecond has."""
    log = sending.logs / "tracking.log"
    log.write_text(re.sub(r"(\.\d{3})\d{3}\+00:00", r"\g<1>456+00:00", log.read_text()))
    for id_ in delivered(sending, scripted_lrs):
        at = datetime.fromisoformat(scripted_lrs.statements[id_]["timestamp"])
        assert at.microsecond % 1000
        kept = at.isoformat(timespec="milliseconds") if spec == "milliseconds" else f"{at + timedelta(microseconds=1)}"
        scripted_lrs.statements[id_] = {**scripted_lrs.statements[id_], "timestamp": kept}
    ran, found = again(sending, scripted_lrs)
    expected = (0, counted(duplicates=GOOD)) if spec == "milliseconds" else (3, counted(rejected=GOOD))
    tally.same(expected, (ran.status, found), ran.detail)


@pytest.mark.parametrize(
    "time",
    [
        "0001-01-01T00:00:00+00:00",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59.999999+00:00",
        "9999-12-31T23:59:59-12:00",
    ],
)
def test_a_time_at_the_edge_of_the_calendar_is_compared_by_id(
    sending: ForkedSite, scripted_lrs: ScriptedLrs, time: str
) -> None:
    log = sending.logs / "tracking.log"
    first, *others = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(re.sub(rb'"time": "[^"]*"', f'"time": "{time}"'.encode(), first) + b"".join(others))
    scripted_lrs.refuses_same = True
    delivered(sending, scripted_lrs)
    ran, found = again(sending, scripted_lrs)
    tally.same((0, counted(duplicates=GOOD)), (ran.status, found), ran.detail)
    verified = sending.run(command="verify")
    assert "Traceback" not in verified.detail
    assert verified.status == 0, verified.detail


def test_what_such_an_lrs_has_not_is_posted_at_once(sending: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    """Half of the statements are there, one of them with other content."""
    scripted_lrs.refuses_same = True
    ids = delivered(sending, scripted_lrs)
    change(scripted_lrs, ids[44])
    for id_ in ids[::2]:
        scripted_lrs.statements.pop(id_, None) if id_ != ids[44] else None
    ran, found = again(sending, scripted_lrs)
    tally.same((3, counted(29, 30, 1)), (ran.status, found), ran.detail)
    tally.same(GOOD, len(scripted_lrs.statements), "nothing is missing")
    [letter] = ran.dead_letters()
    assert (letter["statement"], letter["reason"]) == (ids[44], "conflict")
    assert "already exists" in letter["detail"]
    # The second batch: refused, asked for, and those that are not there in one request.
    assert scripted_lrs.batch_sizes()[-2:] == [30, 14]
    assert scripted_lrs.methods()["POST"] <= 10
    assert scripted_lrs.methods()["GET"] <= GOOD + 3


def test_one_conflict_in_a_batch_is_found_in_halves(sending: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    """An LRS that takes what it has, and is not read by the time of an event."""
    ids = delivered(sending, scripted_lrs)
    change(scripted_lrs, ids[3])
    ran, found = again(sending, scripted_lrs)
    tally.same((3, counted(0, GOOD - 1, 1)), (ran.status, found), ran.detail)
    # Of the part of 7, each is asked for: none is left to be posted.
    assert scripted_lrs.batch_sizes() == [30, 15, 7, 8, 15, 30]
    assert scripted_lrs.methods()["GET"] == 7 + 1


def test_ralph_is_asked_for_pages(world: ForkedSite, lrs: Lrs) -> None:
    """A third of the statements are there with other content: they are found without halves."""
    log = world.logs / "tracking.log"
    for second in range(10):
        part = write_log(world.folder / "part", Mix(good=30), seed=second, start=LOG_START + timedelta(seconds=second))
        log.write_bytes((log.read_bytes() if second else b"") + part.path.read_bytes())
    world.settings["batch_size"] = 300
    world.to_lrs(lrs.endpoint)
    assert world.run().status == 0
    log.write_bytes(log.read_bytes().replace(b"195.5", b"200.5"))
    changed = log.read_bytes().count(b"200.5")
    assert changed > 20
    trace = world.folder / "trace"
    ran = world.run(restart=True, steps={"trace": str(trace)})
    tally.same(3, ran.status, ran.detail)
    check_sums(world.result())
    [destination] = world.result()["destinations"]
    tally.same((0, 300 - changed, changed), tuple(destination[n] for n in ("stored", "duplicates", "rejected")), "")
    sent = Counter(line for line in trace.read_text().splitlines() if line.endswith("statements: sent"))
    assert sent == {"POST statements: sent": 1, "GET statements: sent": 4}


def test_a_voided_statement_is_a_duplicate(sending: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    scripted_lrs.refuses_same = True
    ids = delivered(sending, scripted_lrs)
    scripted_lrs.voided = set(ids[20:22])
    ran, found = again(sending, scripted_lrs)
    tally.same((0, counted(duplicates=GOOD)), (ran.status, found), ran.detail)


def test_voided_statements_take_two_requests_each(sending: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    """And no POST of their own, once one was found: also where all of a batch are voided."""
    scripted_lrs.refuses_same = True
    ids = delivered(sending, scripted_lrs)
    scripted_lrs.voided = set(ids)
    ran, found = again(sending, scripted_lrs)
    tally.same((0, counted(duplicates=GOOD)), (ran.status, found), ran.detail)
    assert scripted_lrs.methods()["GET"] <= 2 * GOOD + 12
    assert scripted_lrs.methods()["POST"] <= 20
    # Mixed with those that are as they were, and with new ones.
    scripted_lrs.voided = set(ids[::3])
    for id_ in ids[1::3]:
        del scripted_lrs.statements[id_]
    ran, found = again(sending, scripted_lrs)
    tally.same((0, counted(stored=20, duplicates=40)), (ran.status, found), ran.detail)
    assert scripted_lrs.methods()["GET"] <= 2 * GOOD
    assert scripted_lrs.methods()["POST"] <= 14


def test_an_lrs_that_does_not_know_voided_statements_is_compared_all_the_same(
    sending: ForkedSite, scripted_lrs: ScriptedLrs
) -> None:
    """It answers 400 to a request with that parameter."""
    scripted_lrs.refuses_same = True
    scripted_lrs.knows_voided = False
    ids = delivered(sending, scripted_lrs)
    scripted_lrs.voided = {ids[20]}
    ran, found = again(sending, scripted_lrs)
    tally.same((3, counted(duplicates=GOOD - 1, rejected=1)), (ran.status, found), ran.detail)
    [letter] = ran.dead_letters()
    assert letter["statement"] == ids[20]
    assert "not found there by its id" in letter["detail"]


def test_a_comparison_that_takes_long_is_seen(sending: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    scripted_lrs.refuses_same = True
    delivered(sending, scripted_lrs)
    scripted_lrs.latency_secs = 0.25
    ran, _ = again(sending, scripted_lrs, log_format="json")
    assert ran.status == 0, ran.detail
    lines = [json.loads(line) for line in ran.stderr.splitlines()]
    states = {state for line in lines if line["event"] == "progress" for state in line["workers"]}
    assert any(re.fullmatch(r"comparing with .*: \d+ of \d+ statements", state) for state in states), states


NO_GET: dict[str, tuple[Answer, str]] = {
    "404": (Answer(404), "it finds none of these statements by their ids"),
    "405": (Answer(405), "answers 405: check its URL"),
    "403": (Answer(403), "does not let these credentials read (403)"),
    "401": (Answer(401), "does not let these credentials read (401)"),
    "501": (Answer(501, {"detail": "no index"}), 'answers 501: {"detail": "no index"}'),
    "HTML": (
        Answer(200, "<html>", headers={"Content-Type": "text/html"}),
        "but with text/html and not with statements",
    ),
}


@pytest.mark.parametrize("name", NO_GET)
def test_without_get_a_409_is_a_conflict(sending: ForkedSite, scripted_lrs: ScriptedLrs, name: str) -> None:
    """As it was before anything was compared: halved down to the statements that the LRS refuses."""
    scripted_lrs.to_get, said = NO_GET[name]
    ids = delivered(sending, scripted_lrs)
    conflicts = [ids[3], ids[33], ids[34], ids[50]]
    change(scripted_lrs, *conflicts)
    ran, found = again(sending, scripted_lrs, lrs_max_wait_secs=0.5)
    tally.same((3, counted(0, GOOD - 4, 4)), (ran.status, found), f"{name}: {ran.detail}")
    letters = ran.dead_letters()
    assert [letter["statement"] for letter in letters] == conflicts
    assert all(letter["detail"].startswith("409: ") for letter in letters)
    assert said in letters[-1]["detail"]
    assert ran.stderr.count("counts as a conflict, because it can't be compared: ") == 1
    assert "resume" not in ran.stderr
    # Not asked for the statements of the second batch.
    assert scripted_lrs.methods()["GET"] <= 40


@pytest.mark.parametrize("answer", [Answer(503), Answer(no_answer=True), Answer(429)])
def test_a_get_that_passes_is_waited_for(sending: ForkedSite, scripted_lrs: ScriptedLrs, answer: Answer) -> None:
    scripted_lrs.refuses_same = True
    delivered(sending, scripted_lrs)
    scripted_lrs.script = [None, None, None, None, answer, answer, None]
    ran, found = again(sending, scripted_lrs)
    tally.same((0, counted(duplicates=GOOD)), (ran.status, found), ran.detail)


@pytest.mark.parametrize(("size", "answered"), [(BATCH, 4), (1, 1)])
def test_an_lrs_that_goes_down_between_a_409_and_the_comparison_stops_the_run(
    sending: ForkedSite, scripted_lrs: ScriptedLrs, size: int, answered: int
) -> None:
    """No statement becomes a dead letter because the LRS could not be asked."""
    scripted_lrs.refuses_same = True
    delivered(sending, scripted_lrs)
    scripted_lrs.script = [*[None] * answered, *[Answer(503)] * 50]
    ran, found = again(sending, scripted_lrs, lrs_max_wait_secs=1, batch_size=size)
    tally.same((4, counted()), (ran.status, found), ran.detail)
    assert ran.dead_letters() == []
    scripted_lrs.script = []
    resumed = sending.run()
    tally.same(0, resumed.status, resumed.detail)
    [destination] = sending.result()["destinations"]
    assert destination["duplicates"] == GOOD


@pytest.mark.parametrize("answer", [Answer(500), Answer(502), Answer(503), Answer(no_answer=True)])
@pytest.mark.parametrize("size", [BATCH, 1])
def test_an_lrs_that_can_t_be_read_for_now_stops_the_run(
    sending: ForkedSite, scripted_lrs: ScriptedLrs, answer: Answer, size: int
) -> None:
    """Its POST works all the time. That its GET fails makes no conflicts, neither then nor later."""
    scripted_lrs.refuses_same = True
    ids = delivered(sending, scripted_lrs)
    change(scripted_lrs, ids[44])
    scripted_lrs.to_get = answer
    ran, found = again(sending, scripted_lrs, lrs_max_wait_secs=0.5, batch_size=size)
    tally.same((4, counted()), (ran.status, found), ran.detail)
    assert "After a 409, the LRS must answer what it has, and does not: " in ran.detail
    assert "run the same command again to resume" in ran.detail
    assert "counts as a conflict" not in ran.detail
    scripted_lrs.to_get = None
    resumed = sending.run()
    tally.same(3, resumed.status, resumed.detail)
    assert [letter["statement"] for letter in resumed.dead_letters()] == [ids[44]]
    [destination] = sending.result()["destinations"]
    assert destination["duplicates"] == GOOD - 1


def test_ids_of_all_are_believed(sending: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    """As Learning Locker answers: 200 and the ids of what it had, too."""
    ids = delivered(sending, scripted_lrs)
    scripted_lrs.script = [Answer(200, ids[:30]), Answer(200, ids[30:])]
    ran, found = again(sending, scripted_lrs)
    tally.same((0, counted(stored=GOOD)), (ran.status, found), ran.detail)


def test_a_kill_while_it_compares_changes_nothing(
    new_world: Callable[[str], ForkedSite], scripted_lrs: ScriptedLrs
) -> None:
    """Killed before, amid and after each comparison: each statement is there once, and the conflict is the same one."""
    scripted_lrs.refuses_same = True

    def replaying(name: str) -> ForkedSite:
        """A world that replays its log to an LRS that has every other statement, and one of them changed."""
        world = new_world(name)
        write_log(world.logs / "tracking.log", Mix(good=24), names=["play_video"], seed=7)
        world.settings |= {"batch_size": 12, "workers": 1}
        world.to_lrs({"url": scripted_lrs.url, "username": "u", "password": "p"})
        scripted_lrs.statements = {id_: everything[id_] for id_ in list(everything)[::2]}
        change(scripted_lrs, *list(everything)[8:9])
        return world

    filled = new_world("filled")
    write_log(filled.logs / "tracking.log", Mix(good=24), names=["play_video"], seed=7)
    filled.to_lrs({"url": scripted_lrs.url, "username": "u", "password": "p"})
    assert filled.run().status == 0
    everything = dict(scripted_lrs.statements)
    reference = replaying("reference")
    labels = reference.folder / "trace"
    ran = reference.run(steps={"trace": str(labels)})
    assert ran.status == 3, ran.detail
    expected = reference.outcome()["dead letters"]
    kept = dict(scripted_lrs.statements)
    assert len(kept) == 24
    trace = labels.read_text().splitlines()
    assert set(STEPS) <= set(trace), set(STEPS) - set(trace)
    for label in STEPS:
        count = trace.count(label)
        for number in range(1, count + 1) if tally.LONG else [(count + 1) // 2]:
            world = replaying(f"killed-{STEPS.index(label)}-{number}")
            killed = world.run(steps={"label": label, "number": number})
            tally.add("kills")
            tally.same(-9, killed.status, f"not killed at {label} {number}")
            resumed = world.run()
            tally.same(3, resumed.status, f"killed at {label} {number}: {resumed.detail}")
            tally.same(kept, scripted_lrs.statements, f"killed at {label} {number}")
            tally.same(expected, world.outcome()["dead letters"], f"killed at {label} {number}")
            check_sums(world.result())
