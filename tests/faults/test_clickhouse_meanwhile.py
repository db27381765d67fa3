"""What happens to the table while a run fills it: rows that arrive live, a restart, inserts that nobody waits for.

Each test compares the rows of the table with those of a run that nothing disturbs, without ``FINAL`` and unmerged.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import pytest

from tests.harness import tally
from tests.harness.clickhouse import ClickHouse, Fault
from tests.harness.demo_lms import DemoLms
from tests.harness.forked_site import ForkedSite
from tests.harness.job import JobRun
from tests.harness.kills import write_overlapping_logs
from tests.harness.runs import check_sums
from tutor_transform_logs.demo.log_writer import Mix, write_log

NewWorld = Callable[[str], ForkedSite]
TABLE = "openedx.xapi_events_all"
LIVE = "openedx.live_rows"
EVERY_DAY = "openedx.live_rows_every_day"


@dataclass
class Filled:
    """A table that runs of ``world`` fill, and the ``rows`` that it should have in the end."""

    server: ClickHouse
    world: ForkedSite
    rows: list[list[str]]

    def run(self, *, status: int = 0, **more: Any) -> JobRun:
        """Run the job to its end."""
        ran = self.world.run(**more)
        tally.add("faults")
        tally.same(status, ran.status, ran.detail)
        assert "Traceback" not in ran.detail, ran.detail
        return ran

    def destination(self) -> dict[str, int]:
        """What the latest run counted."""
        result = self.world.result()
        check_sums(result)
        [counted] = result["destinations"]
        return dict(counted)

    def assert_each_row_once(self, what: str) -> None:
        """The table has each row once, and a view has counted each once."""
        tally.same(self.rows, self.server.rows(), f"{what}: the rows of the table")
        tally.same(len(self.rows), self.server.daily_sum(), f"{what}: what a view has counted")


@pytest.fixture(scope="module")
def undisturbed_rows(
    demo_lms_template: DemoLms, clickhouse_server: ClickHouse, tmp_path_factory: pytest.TempPathFactory
) -> list[list[str]]:
    """What the table should have in the end; the rows are kept as live rows, too."""
    clickhouse_server.clear()
    reference = ForkedSite(tmp_path_factory.mktemp("reference"), demo_lms_template)
    reference.settings = reference.source(prefix="")
    count = into_clickhouse(reference, clickhouse_server)
    assert reference.run().status == 0
    rows = clickhouse_server.rows()
    assert count == len(rows) == len({row[0] for row in rows}) == 50
    keep_as_live_rows(clickhouse_server)
    return rows


@pytest.fixture
def filled(undisturbed_rows: list[list[str]], aspects_clickhouse: ClickHouse, world: ForkedSite) -> Filled:
    """Two logs with 50 statements, 20 of them in both, that go to an empty table in batches of ten at most."""
    into_clickhouse(world, aspects_clickhouse)
    return Filled(aspects_clickhouse, world, undisturbed_rows)


def into_clickhouse(world: ForkedSite, server: ClickHouse) -> int:
    world.settings |= {**server.destination(), "workers": 1, "batch_size": 10}
    return write_overlapping_logs(world.logs, Mix(good=10, page_view=3, broken=1), names=["play_video"])


def keep_as_live_rows(server: ClickHouse, live: str = LIVE) -> None:
    """Move the rows of the table to one beside it, from where they arrive as Vector's do."""
    server.query(f"CREATE TABLE {live} ENGINE = MergeTree ORDER BY emission_time AS SELECT * FROM {TABLE}")
    server.clear()


def arrive(condition: str, live: str = LIVE) -> str:
    """The query that inserts those of the live rows, as Vector would."""
    return f"INSERT INTO {TABLE} SELECT * FROM {live} WHERE {condition}"


@contextmanager
def meanwhile(act: Callable[[], None]) -> Iterator[threading.Thread]:
    """Do something in a thread; what it raises is raised at the end."""
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            act()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(60)
    assert not thread.is_alive()
    if errors:
        raise errors[0]


def wait_for_rows(server: ClickHouse, count: int) -> None:
    deadline = time.monotonic() + 60
    while server.count() < count:
        assert time.monotonic() < deadline, f"{server.count()} rows, not {count}"
        time.sleep(0.05)


def test_rows_that_arrive_live_in_the_middle_are_not_inserted_again(filled: Filled) -> None:
    """Vector lags behind: its rows arrive when the job has planned their lines, and not looked them up."""
    first_look_up = Fault(on="SELECT")
    filled.server.set_faults(first_look_up, Fault(on="SELECT", sql=arrive("emission_time >= '2025-12-31 00:00:00'")))
    filled.run()
    live = 30
    counted = filled.destination()
    tally.same((len(filled.rows) - live, 70), (counted["stored"], counted["made"]), str(counted))
    filled.assert_each_row_once("live rows before their look-up")


def day_of(number: int) -> datetime:
    return datetime(2026, 3, number, 12, tzinfo=timezone.utc)


def test_jobs_run_while_the_lms_logs_and_vector_delivers(new_world: NewWorld, aspects_clickhouse: ClickHouse) -> None:
    """Each statement goes to the table and its line to the log, while one job after the other reads the log."""
    server, days = aspects_clickhouse, range(1, 13)
    reference, world = new_world("reference"), new_world("disturbed")
    lines = {}
    for day in days:
        written = write_log(reference.logs / "day", Mix(good=8), names=["play_video"], seed=day, start=day_of(day))
        lines[day] = written.path.read_bytes()
        written.path.unlink()
    (reference.logs / "tracking.log").write_bytes(b"".join(lines.values()))
    for each in (reference, world):
        each.settings |= {**server.destination(), "batch_size": 5, "workers": 2}
    assert reference.run().status == 0
    filled = Filled(server, world, server.rows())
    keep_as_live_rows(server, EVERY_DAY)

    log = world.logs / "tracking.log"
    log.write_bytes(lines[1] + lines[2])

    def lms() -> None:
        for day in days[2:]:
            server.query(arrive(f"toDayOfMonth(emission_time, 'UTC') = {day}", EVERY_DAY))
            with log.open("ab") as file:
                file.write(lines[day])
            time.sleep(0.2)

    stored = duplicates = 0
    with meanwhile(lms) as thread:
        more = True
        while more:
            more = thread.is_alive()
            if not filled.run().stdout.startswith("Nothing new"):
                counted = filled.destination()
                stored, duplicates = stored + counted["stored"], duplicates + counted["duplicates"]
    tally.same((16, 80), (stored, duplicates), "stored, and found as Vector had delivered them")
    filled.assert_each_row_once("jobs beside Vector")


def test_a_restart_in_the_middle_is_waited_for(filled: Filled) -> None:
    process = filled.world.start(sleep_between_batches_secs=0.5, lrs_max_wait_secs=60)
    wait_for_rows(filled.server, 10)
    filled.server.restart()
    ran = process.wait()
    tally.add("faults")
    tally.same(0, ran.status, ran.detail)
    counted = filled.destination()
    tally.same((50, 20), (counted["stored"], counted["duplicates"]), str(counted))
    filled.assert_each_row_once("a restart")


def test_a_server_that_stays_away_ends_the_run(filled: Filled) -> None:
    process = filled.world.start(sleep_between_batches_secs=0.5, lrs_max_wait_secs=1)
    wait_for_rows(filled.server, 10)
    filled.server.stop()
    try:
        ran = process.wait()
    finally:
        filled.server.start()
    tally.same(4, ran.status, ran.detail)
    filled.run()
    filled.assert_each_row_once("run again")


def test_a_table_that_was_made_again_gets_what_is_not_done_and_repair_gets_the_rest(filled: Filled) -> None:
    """The ledger says what was delivered; what was deleted since, ``--verify`` finds."""
    table = "xapi.xapi_events_all"
    filled.world.settings |= filled.server.destination(user="ch_lrs", database="xapi")
    create = "\n".join(line for [line] in filled.server.query(f"SHOW CREATE TABLE {table} FORMAT TabSeparatedRaw"))
    filled.server.set_faults(*[Fault()] * 2, Fault(sql=f"DROP TABLE {table}"))
    try:
        filled.run(status=1)
    finally:
        filled.server.query(create)
    filled.run()
    again = filled.server.rows(table)
    assert again == [row for row in filled.rows if row in again]
    assert 20 <= len(again) < 50, len(again)
    filled.run(status=3, command="verify")
    filled.run(command="verify", repair=True)
    tally.same(filled.rows, filled.server.rows(table), "after the repair")


@pytest.mark.parametrize(
    "throttled",
    [
        Fault("answer_only", status=429, text="slow down", headers={"Retry-After": "2"}),
        Fault("answer_only", on="SELECT", status=429, headers={"Retry-After": "2"}),
        Fault("answer_only", status=503, headers={"Retry-After": "2"}),
        Fault(
            "answer_only",
            status=500,
            text="Code: 202. DB::Exception: Too many simultaneous queries",
            headers={"X-ClickHouse-Exception-Code": "202", "Retry-After": "2"},
        ),
    ],
    ids=["429 insert", "429 look-up", "503", "202"],
)
def test_it_waits_as_long_as_it_is_asked_to(filled: Filled, throttled: Fault) -> None:
    filled.server.set_faults(throttled)
    began = time.monotonic()
    ran = filled.run()
    assert time.monotonic() - began >= 2
    assert "trying again in 2 s" in ran.stderr
    assert filled.destination()["stored"] == 50
    filled.assert_each_row_once("throttled")


def test_too_many_parts_are_waited_for(filled: Filled) -> None:
    """The engine's own answer, with its own limit, until it has merged."""
    filled.server.query(f"ALTER TABLE {TABLE} MODIFY SETTING parts_to_throw_insert = 2, parts_to_delay_insert = 2")
    try:
        process = filled.world.start(lrs_max_wait_secs=60)
        deadline = time.monotonic() + 60
        while "too many parts" not in process.err():
            assert time.monotonic() < deadline, process.err()
            time.sleep(0.05)
    finally:
        filled.server.query(f"ALTER TABLE {TABLE} RESET SETTING parts_to_throw_insert, parts_to_delay_insert")
    ran = process.wait()
    tally.same(0, ran.status, ran.detail)
    assert filled.destination()["stored"] == 50
    filled.assert_each_row_once("too many parts")


LOST = {
    "stored, then 500": Fault("answer", status=500, text="stored", times=2),
    "stored, and no answer": Fault("no_answer", times=2),
    "cut off in the body, half stored": Fault("cut_body", times=2),
    "cut off in the body, nothing stored": Fault("cut_body", store=False, times=2),
    "stored after the time-out": Fault("answer", secs=3),
    "stored after a 504": Fault("runs_on", status=504, secs=2),
    "the quota is used up": Fault.exception(201, "Quota for user exceeded", times=2),
    "the status is not known": Fault("answer", status=500, headers={"X-ClickHouse-Exception-Code": "319"}),
    "memory": Fault.exception(241, times=3),
}


@pytest.mark.parametrize("name", LOST)
def test_an_insert_that_fails_is_not_lost_and_not_doubled(filled: Filled, name: str) -> None:
    filled.server.set_faults(Fault(), LOST[name])
    filled.run(workers=2, lrs_timeout_secs=2, lrs_max_wait_secs=30)
    counted = filled.destination()
    # Rows whose insert failed may be stored by the other worker, and both count them then.
    assert 50 <= counted["stored"] <= counted["made"] == 70
    filled.assert_each_row_once(name)


def same_lines_in_two_logs(filled: Filled) -> None:
    """A batch of each log has the rows of two days that are in the other log, too."""
    filled.world.settings |= {"workers": 2, "batch_size": 1000}


def test_an_insert_that_runs_on_holds_up_whoever_has_the_same_rows(filled: Filled) -> None:
    """A proxy gives up on it, its worker waits; the other worker has some of its rows in another batch."""
    same_lines_in_two_logs(filled)
    filled.server.set_faults(Fault("runs_on", status=504, secs=3))
    filled.run(lrs_max_wait_secs=30)
    filled.assert_each_row_once("an insert that runs on")


@pytest.mark.parametrize("whom", ["a worker", "all"])
def test_an_insert_that_a_killed_job_left_behind_holds_up_whoever_has_the_same_rows(filled: Filled, whom: str) -> None:
    same_lines_in_two_logs(filled)
    filled.server.set_faults(Fault("runs_on", status=504, secs=3))
    killed = filled.world.run(steps={"label": "POST insert: sent", "number": 1, "group": whom == "all"})
    tally.add("kills")
    tally.same(-9 if whom == "all" else 0, killed.status, killed.detail)
    sent = time.monotonic()
    # Other batches than before.
    filled.run(batch_size=7, workers=1, lrs_max_wait_secs=30)
    time.sleep(max(0, sent + 3.5 - time.monotonic()))
    filled.assert_each_row_once(f"{whom} killed")
