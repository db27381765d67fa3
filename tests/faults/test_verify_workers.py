"""Verify with several workers: they find what one process finds, and nobody is left behind when one of them goes."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.harness import tally
from tests.harness.clickhouse import ClickHouse, Fault
from tests.harness.forked_site import ForkedSite
from tests.harness.http_sinks import ScriptedLrs
from tests.harness.job import Process
from tutor_transform_logs.demo.log_writer import Mix, write_log

TABLE = "openedx.xapi_events_all"
PART = "cityHash64(event_id) % 100"


def write_logs(world: ForkedSite) -> None:
    """Logs of three thousand lines: workers transform a thousand at a time. The plan has several segments."""
    mix = Mix(good=1600, page_view=500, unknown_user=3, type_error=2, broken=3, copies=40)
    write_log(world.logs / "tracking.log", mix, seed=3)
    write_log(world.logs / "tracking.log-20260101.gz", Mix(good=1000), seed=4)
    world.settings |= {"batch_size": 1000, "segment_bytes": 2**19}


def verified(world: ForkedSite, **more: Any) -> tuple[int, dict[str, Any]]:
    """The status, and what a program reads of the comparison. How often each worker tries pages of an LRS varies."""
    ran = world.run(command="verify", log_format="json", **more)
    found = [json.loads(line) for line in ran.stdout.splitlines()]
    [verification] = [line for line in found if line["event"] == "verified"]
    tally.add("faults")
    del verification["time"]
    if "lrs_endpoints" in world.settings:
        del verification["destinations"][0]["requests"]
    return ran.status, verification


def same_for(world: ForkedSite, *numbers_of_workers: int) -> tuple[int, dict[str, Any]]:
    """Verify with each of these numbers of workers; gives what all of them find."""
    before = files_of(world)
    one, *more = (verified(world, workers=workers) for workers in numbers_of_workers)
    for found in more:
        tally.same(one, found, "what several workers find")
    assert files_of(world) == before
    return one


def files_of(world: ForkedSite) -> dict[Path, bytes]:
    """All that a verification could write, but what the jobs of a test print."""
    paths = [path for folder in (world.out, world.folder / "ledger", world.logs) for path in folder.rglob("*")]
    return {path: path.read_bytes() for path in paths if path.is_file()}


def test_in_clickhouse(world: ForkedSite, aspects_clickhouse: ClickHouse) -> None:
    """Missing, changed and doubled rows, dead letters of lines and of rows, and a log that is gone; then a repair."""
    server = aspects_clickhouse
    write_logs(world)
    write_log(world.logs / "tracking.log.2", Mix(good=5), seed=6)
    world.settings |= server.destination()
    server.query(f"ALTER TABLE {TABLE} ADD CONSTRAINT no_such CHECK {PART} != 7")
    try:
        assert world.run().status == 3
    finally:
        server.query(f"ALTER TABLE {TABLE} DROP CONSTRAINT no_such")
    (world.logs / "tracking.log.2").unlink()
    changed = "replaceOne(event, 'verb', 'nerb')"
    server.query(f"INSERT INTO {TABLE} SELECT event_id, emission_time, {changed} FROM {TABLE} WHERE {PART} = 20")
    server.delete(f"{PART} < 3 OR {PART} = 20 AND event NOT LIKE '%nerb%'")
    server.query(f"INSERT INTO {TABLE} SELECT * FROM {TABLE} WHERE {PART} BETWEEN 10 AND 14")

    before = server.rows()
    status, found = same_for(world, 1, 2, 3)
    assert server.rows() == before
    [numbers] = found["destinations"]
    assert status == found["status"] == 3
    assert found["not_verified"] == ["tracking.log.2: not in the source any more"]
    assert len(numbers["mismatches"]) == 20
    counts = ("missing", "different", "surplus", "dead_letters", "requests")
    assert min(numbers[name] for name in counts) > 3, numbers
    assert numbers["expected"] + numbers["dead_letters"] == 2640

    repaired = world.run(command="verify", repair=True, workers=2)
    assert repaired.status == 3, repaired.detail
    assert f"Repaired: {numbers['missing']} missing statements sent again." in repaired.stdout
    _, after = same_for(world, 1, 2)
    assert after["destinations"][0]["missing"] == 0
    assert after["destinations"][0]["different"] == numbers["different"]
    # What was a dead letter is delivered, too: after a redelivery, it is expected there.
    assert world.run(retry_failed=True, workers=2).status in (0, 3)
    _, redelivered = same_for(world, 2, 3)
    assert redelivered["destinations"][0]["found"] > after["destinations"][0]["found"]


def test_a_row_in_surplus_counts_once(world: ForkedSite, aspects_clickhouse: ClickHouse) -> None:
    """Its line is in two logs: it is searched for twice, by the same worker or by two."""
    write_log(world.logs / "tracking.log", Mix(good=1100), seed=3)
    write_log(world.logs / "tracking.log.1", Mix(good=1), seed=4)
    with (world.logs / "tracking.log.1").open("ab") as other:
        other.write((world.logs / "tracking.log").read_bytes())
    world.settings |= {**aspects_clickhouse.destination(), "batch_size": 1000}
    assert world.run().status == 0
    aspects_clickhouse.query(f"INSERT INTO {TABLE} SELECT * FROM {TABLE} WHERE {PART} = 20")
    aspects_clickhouse.query(f"INSERT INTO {TABLE} SELECT * FROM {TABLE} WHERE {PART} < 3")
    aspects_clickhouse.query(f"INSERT INTO {TABLE} SELECT * FROM {TABLE} WHERE {PART} = 1")
    rows = aspects_clickhouse.ids()
    status, found = same_for(world, 1, 2)
    [numbers] = found["destinations"]
    assert (status, numbers["surplus"]) == (0, len(rows) - len(set(rows)))


def test_of_a_choice_of_events_a_thousand_are_searched_for_at_a_time(
    world: ForkedSite, aspects_clickhouse: ClickHouse
) -> None:
    write_logs(world)
    world.settings |= {**aspects_clickhouse.destination(), "event": ["*_video"]}
    assert world.run().status == 0
    assert aspects_clickhouse.count() > 100
    status, found = verified(world, workers=2)
    [numbers] = found["destinations"]
    assert (status, numbers["requests"]) == (0, 1)
    assert numbers["found"] == numbers["expected"] >= aspects_clickhouse.count()


def test_in_an_lrs(world: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    """Missing, changed and voided statements. Each missing line is sent again once."""
    write_log(world.logs / "tracking.log", Mix(good=1200, unknown_user=2))
    world.settings["batch_size"] = 1000
    world.to_lrs({"url": scripted_lrs.url})
    assert world.run().status == 0
    names = list(scripted_lrs.statements)
    scripted_lrs.voided = {names[1]}
    scripted_lrs.statements[names[2]] = {**scripted_lrs.statements[names[2]], "verb": {"id": "http://other.test"}}
    lost = names[50::50][:22]
    for statement in lost:
        del scripted_lrs.statements[statement]

    status, found = same_for(world, 1, 2)
    [numbers] = found["destinations"]
    expected = {"found": 1176, "voided": 1, "missing": 22, "different": 1, "dead_letters": 0, "surplus": 0}
    assert status == 3
    assert numbers.items() >= expected.items()
    asked = len(scripted_lrs.requests)
    assert world.run(command="verify", repair=True, workers=2).status == 3
    posts = [request for request in scripted_lrs.requests[asked:] if request.method == "POST"]
    assert sorted(statement["id"] for post in posts for statement in post.json()) == sorted(lost)


def test_a_destination_that_refuses_every_worker(world: ForkedSite, aspects_clickhouse: ClickHouse) -> None:
    write_logs(world)
    world.settings |= aspects_clickhouse.destination()
    assert world.run().status == 0
    aspects_clickhouse.set_faults(Fault.exception(497, "Not enough privileges", on="SELECT", status=403, times=99))
    status, found = verified(world, workers=2)
    [numbers] = found["destinations"]
    assert (status, numbers["found"], numbers["missing"]) == (1, 0, 0)
    assert "Give the user INSERT and SELECT" in numbers["stopped"]


@pytest.fixture
def searching(world: ForkedSite, scripted_lrs: ScriptedLrs) -> Process:
    """A verification whose two workers wait for the LRS's answers."""
    write_log(world.logs / "tracking.log", Mix(good=1500))
    world.to_lrs({"url": scripted_lrs.url})
    assert world.run(batch_size=1000).status == 0
    asked = len(scripted_lrs.requests)
    scripted_lrs.gate.clear()
    # No answer may take so long that a worker gives up by itself.
    process = world.start(command="verify", workers=2, lrs_timeout_secs=100)
    wait_until(lambda: len(scripted_lrs.requests) == asked + 2)
    assert len(process.workers()) == 2
    return process


def test_a_killed_worker_ends_all_of_it(world: ForkedSite, searching: Process) -> None:
    before, workers = files_of(world), searching.workers()
    os.kill(workers[0], signal.SIGKILL)
    tally.add("kills")
    ran = searching.wait(timeout_secs=30)
    tally.same((4, ""), (ran.status, ran.stdout), ran.detail)
    said = "A worker of the verification was killed by SIGKILL. Run the same command again."
    assert ran.stderr.splitlines()[-1] == said
    assert len(ran.stderr.splitlines()) == 2
    assert files_of(world) == before
    assert not alive(workers)


def to_the_parent(process: Process, number: int) -> None:
    """What ``docker stop`` does."""
    process.send(number)


def to_all(process: Process, number: int) -> None:
    """What a terminal does."""
    os.killpg(process.pid, number)


@pytest.mark.parametrize("send", [to_the_parent, to_all])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_ends_all_of_it(
    world: ForkedSite, searching: Process, number: signal.Signals, send: Callable[[Process, int], None]
) -> None:
    before, workers = files_of(world), searching.workers()
    send(searching, number)
    tally.add("signals")
    ran = searching.wait(timeout_secs=15)
    tally.same((4, ""), (ran.status, ran.stdout), ran.detail)
    assert ran.stderr.splitlines()[-1] == f"Interrupted ({number.name}). Run the same command again."
    assert len(ran.stderr.splitlines()) == 2
    assert files_of(world) == before
    assert not alive(workers)


def test_workers_end_with_a_killed_parent(searching: Process) -> None:
    workers = searching.workers()
    searching.kill(group=False)
    tally.add("kills")
    wait_until(lambda: not alive(workers))


def alive(pids: list[int]) -> list[int]:
    """Those that still run; a zombie does not."""
    return [
        pid
        for pid in pids
        if psutil.pid_exists(pid) and psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    ]


def wait_until(condition: Callable[[], bool], timeout_secs: float = 30) -> None:
    deadline = time.monotonic() + timeout_secs
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
