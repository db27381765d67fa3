"""SIGTERM and SIGINT: the job leaves within ten seconds with 4, whatever it is doing, and the next run goes on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.harness import tally
from tests.harness.faulty_store import HANG, faulty
from tests.harness.forked_site import ForkedSite
from tests.harness.http_sinks import Answer, ScriptedLrs
from tests.harness.kills import chosen, steps_of, write_logs
from tests.harness.object_store import Bucket
from tutor_transform_logs.demo.log_writer import Mix, write_log

GOOD = 120
DOING: dict[str, tuple[dict[str, Any], list[Answer | None]]] = {
    "sleeping between batches": ({"sleep_between_batches_secs": 30}, []),
    "waiting for an answer": ({"lrs_timeout_secs": 40}, [None, Answer(hang_secs=40), Answer(hang_secs=40)]),
    "waiting to try again": ({"lrs_max_wait_secs": 60}, [None, *[Answer(503, headers={"Retry-After": "8"})] * 9]),
    "held to a pace": ({"max_events_per_second": 2}, []),
}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
@pytest.mark.parametrize("doing", DOING)
def test_leaves_in_time(
    world: ForkedSite, scripted_lrs: ScriptedLrs, doing: str, number: signal.Signals, workers: int
) -> None:
    write_log(world.logs / "tracking.log", Mix(good=GOOD), names=["play_video"], seed=8)
    settings, script = DOING[doing]
    # The LRS takes answers out of its own list.
    scripted_lrs.script = list(script)
    world.settings |= {"batch_size": 10, "segment_bytes": 65536, "workers": workers}
    world.to_lrs({"url": scripted_lrs.url, "username": "u", "password": "p"})
    process = world.start(**settings)
    wait_until(lambda: len(scripted_lrs.requests) >= (1 if doing.startswith("sleeping") else 2))
    time.sleep(0.2)
    began = time.monotonic()
    process.send(number)
    tally.add("signals")
    ran = process.wait(timeout_secs=15)
    tally.same(4, ran.status, f"{doing}: {ran.detail}")
    assert time.monotonic() - began < 10
    assert "Interrupted" in ran.detail
    assert "Traceback" not in ran.detail
    scripted_lrs.script = []
    again = world.run()
    tally.same(0, again.status, again.detail)
    tally.same(GOOD, len(scripted_lrs.statements), doing)


@pytest.mark.parametrize("command", ["run", "verify"])
def test_all_of_its_processes_get_ctrl_c(world: ForkedSite, scripted_lrs: ScriptedLrs, command: str) -> None:
    """Then a worker gets two signals, the terminal's and its parent's, at times that vary, and prints no traceback."""
    write_log(world.logs / "tracking.log", Mix(good=2200), seed=8)
    world.to_lrs({"url": scripted_lrs.url})
    world.settings |= {"workers": 3, "batch_size": 1000, "segment_bytes": 65536, "lrs_timeout_secs": 100}
    if command == "verify":
        assert world.run().status == 0
    scripted_lrs.gate.clear()
    for _ in range(3):
        asked = len(scripted_lrs.requests)
        process = world.start(command=command)
        wait_until(lambda asked=asked: len(scripted_lrs.requests) >= asked + 3)  # type: ignore[misc]
        os.killpg(process.pid, signal.SIGINT)
        tally.add("signals")
        ran = process.wait(timeout_secs=15)
        tally.same(4, ran.status, ran.detail)
        assert "Traceback" not in ran.detail
        assert "Error" not in ran.detail


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_while_it_says_what_has_failed(world: ForkedSite, number: signal.Signals) -> None:
    ran = world.run(
        source_container="gone", steps={"label": "error: before", "number": 1, "signal": number.name, "stop_secs": 0.1}
    )
    tally.add("signals")
    tally.same(4, ran.status, ran.detail)
    assert f"Interrupted ({number.name})." in ran.stderr
    assert "Traceback" not in ran.detail


# role -> the request that gets no answer: method and a part of its line
HANGING = {
    "source listing": ("source", "GET", "prefix="),
    "source reading": ("source", "GET", "tracking.log"),
    "destination upload": ("destination", "PUT", "-000001."),
    "ledger entry": ("ledger", "PUT", ".files.json"),
    "ledger entry, read": ("ledger", "GET", ".files.json"),
}


@pytest.mark.parametrize("workers", [1, 2] if tally.LONG else [1])
@pytest.mark.parametrize("what", HANGING)
def test_leaves_in_time_a_store_that_hangs(world: ForkedSite, nanio_bucket: Bucket, what: str, workers: int) -> None:
    write_log(world.logs / "tracking.log", Mix(good=GOOD), names=["play_video"], seed=8)
    world.settings |= {"batch_size": 10, "segment_bytes": 65536, "workers": workers, "lrs_max_wait_secs": 60}
    role, method, name = HANGING[what]
    world.in_bucket(nanio_bucket, role)

    def fault(_: int, line: str) -> int | None:
        return HANG if line.startswith(method) and name in line else None

    with faulty(nanio_bucket, fault) as (bucket, proxy):
        there = dict(world.settings)
        world.settings |= bucket.settings(role, prefix=f"{role}/")
        process = world.start()
        assert proxy.hanging.wait(60), process.err()
        began = time.monotonic()
        process.send(signal.SIGTERM)
        tally.add("signals")
        ran = process.wait(timeout_secs=20)
        tally.same(4, ran.status, f"{what}: {ran.detail}")
        assert time.monotonic() - began < 10
        assert "Interrupted" in ran.detail
        assert "Traceback" not in ran.detail
    world.settings = there
    again = world.run()
    tally.same(0, again.status, again.detail)
    if role != "destination":
        tally.same(GOOD, len(world.output_lines()), what)


AT = [
    "source read: after",
    "plan rename: before",
    "batch: before",
    "part write: half",
    "entry write: half",
    "entry write: after",
    "dead letters write: after",
    "joining write: after",
    "output write: half",
    "part delete: after",
    "manifest write: half",
    "result write: half",
    "finish plan: before",
]


def test_at_any_step_the_next_run_goes_on(new_world: Callable[[str], ForkedSite]) -> None:
    """While it plans, works and reports. Of the steps after the last ledger write, the signal may come too late."""
    reference = new_world("reference")
    write_logs(reference.logs)
    labels = steps_of(reference, AT)
    expected = reference.outcome()
    for number, (label, occurrence) in enumerate(chosen(labels, AT)):
        world = new_world(f"signalled-{number}")
        write_logs(world.logs)
        ran = world.run(steps={"label": label, "number": occurrence, "signal": "SIGTERM"})
        tally.add("signals")
        assert "Traceback" not in ran.detail, f"{label}: {ran.detail}"
        if label in AT or ran.status != 0:
            tally.same(4, ran.status, f"{label} {occurrence}: {ran.detail}")
            assert "Interrupted (SIGTERM)." in ran.detail
        again = world.run()
        tally.same(0, again.status, f"{label} {occurrence}: {again.detail}")
        tally.same(expected, world.outcome(), f"SIGTERM at {label} {occurrence}")


def wait_until(condition: Callable[[], bool], timeout_secs: float = 30) -> None:
    deadline = time.monotonic() + timeout_secs
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
