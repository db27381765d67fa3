"""Several inserts in flight to one table: each row once, whatever happens to the run or to the answers."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import pytest

from tests.harness import tally
from tests.harness.clickhouse import ClickHouse, Fault
from tests.harness.forked_site import ForkedSite
from tests.harness.runs import check_sums
from tutor_transform_logs.demo.log_writer import Mix, write_log
from tutor_transform_logs.lms_job.deliver.clickhouse_days import DayLocks

GOOD = 120
BATCH = 6


@pytest.fixture
def sending(world: ForkedSite, aspects_clickhouse: ClickHouse) -> ForkedSite:
    """A world whose job sends 120 statements of one day in batches of 6, some of them repeated further on."""
    path = write_log(world.logs / "tracking.log", Mix(good=GOOD), names=["play_video"], seed=7).path
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:40] + lines[30:70] + lines[10:20] + lines[70:] + lines[110:]))
    world.settings |= {
        **aspects_clickhouse.destination(),
        "batch_size": BATCH,
        "workers": 1,
        "max_requests_in_flight": 16,
    }
    return world


def assert_complete(world: ForkedSite, server: ClickHouse) -> None:
    """The next run stores what is missing, and nothing twice."""
    server.set_faults()
    ran = world.run()
    tally.add("faults")
    tally.same(0, ran.status, ran.detail)
    check_sums(world.result())
    [counted] = world.result()["destinations"]
    tally.same((GOOD + 30, 0), (counted["stored"] + counted["duplicates"], counted["rejected"]), "counts")
    tally.same(GOOD, len(set(server.ids())), "statements")
    tally.same((GOOD, GOOD), (server.count(), server.daily_sum()), "rows, and what a view has counted")


def test_each_row_is_stored_once(sending: ForkedSite, aspects_clickhouse: ClickHouse, tmp_path: Path) -> None:
    """Slow answers, so that several are waited for; most batches are begun before the one before them has ended."""
    trace = tmp_path / "trace"
    aspects_clickhouse.set_faults(*(Fault("answer", secs=secs) for secs in (0.0, 0.4, 0.1, 0.3, 0.0, 0.4)))
    ran = sending.run(steps={"trace": str(trace)})
    tally.same(0, ran.status, ran.detail)
    together = most = 0
    for label in trace.read_text().splitlines():
        together += {"deliver: before": 1, "deliver: after": -1}.get(label, 0)
        most = max(most, together)
    assert most > 1
    tally.same((GOOD, GOOD), (aspects_clickhouse.count(), aspects_clickhouse.daily_sum()), "rows")
    check_sums(sending.result())


@pytest.mark.parametrize(
    "fault",
    [
        Fault("answer", status=500, text="stored all the same", times=6),
        Fault("answer_only", status=503, times=6),
        Fault("no_answer", times=4),
        Fault("cut_body", store=False, times=4),
        Fault("answer_only", on="SELECT", status=502, text="Bad Gateway", times=4),
    ],
    ids=lambda fault: f"{fault}"[:40],
)
def test_answers_that_fail_are_asked_again(sending: ForkedSite, aspects_clickhouse: ClickHouse, fault: Fault) -> None:
    aspects_clickhouse.set_faults(Fault(times=3), fault)
    assert_complete_after(sending, aspects_clickhouse)


def assert_complete_after(world: ForkedSite, server: ClickHouse) -> None:
    """The run itself gets through what fails now and then."""
    ran = world.run(lrs_max_wait_secs=60)
    tally.add("faults")
    tally.same(0, ran.status, ran.detail)
    check_sums(world.result())
    tally.same((GOOD, GOOD), (server.count(), server.daily_sum()), "rows, and what a view has counted")


@pytest.mark.parametrize("label", ["insert: before", "POST insert: sent", "insert: after", "entry write: before"])
@pytest.mark.parametrize("number", [2, 7, 13])
def test_a_kill_with_inserts_in_flight_stores_nothing_twice(
    sending: ForkedSite, aspects_clickhouse: ClickHouse, label: str, number: int
) -> None:
    dice = random.Random(f"{label} {number}")
    aspects_clickhouse.set_faults(*(Fault("answer", secs=dice.choice([0.0, 0.1, 0.3])) for _ in range(10)))
    killed = sending.run(steps={"label": label, "number": number, "group": True})
    tally.same(-9, killed.status, killed.detail)
    tally.add("kills")
    assert_complete(sending, aspects_clickhouse)


def test_threads_share_days_and_processes_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two objects stand for two processes: each has the file open by itself."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    ours, theirs = DayLocks("table"), DayLocks("table")
    taken: list[str] = []

    def take(day: int) -> threading.Thread:
        def body() -> None:
            with theirs.locked({day}):
                taken.append(str(day))

        thread = threading.Thread(target=body)
        thread.start()
        return thread

    with ours.locked({3, 6}):
        with ours.locked({5, 8}):
            waiting = [take(day) for day in (4, 8)]
            take(9).join(10)
            time.sleep(0.2)
            assert taken == ["9"]
        waiting[1].join(10)
        time.sleep(0.2)
        assert taken == ["9", "8"]
    waiting[0].join(10)
    assert taken == ["9", "8", "4"]


def test_an_insert_of_a_process_that_died_is_seen_by_every_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    dead, ours = DayLocks("table"), DayLocks("table")
    first, second, other = ("x" * 35, "y" * 35, "z" * 35)
    with dead.locked({1}) as days, dead.locked({1}) as more:
        days.sent(first)
        more.sent(second)
        more.sent(other)
        more.ended()
        more.sent(second)
    with ours.delivering("a" * 35), ours.locked({1, 2}) as days:
        assert days.unanswered() == {first, second}
        days.all_ended({first})
        days.sent("a" * 35)
        seen: list[set[str]] = []

        def look() -> None:
            with ours.delivering("b" * 35), ours.locked({1}) as here:
                seen.append(here.unanswered())

        thread = threading.Thread(target=look)
        thread.start()
        thread.join(10)
        # Of this process's own threads, each takes care of itself.
        assert seen[0] - {second} == set()
        days.ended()
    with DayLocks("table").locked({1}) as days:
        assert "a" * 35 not in days.unanswered()
