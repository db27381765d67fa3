"""SIGTERM and SIGINT: the job leaves within ten seconds with 4, whatever it is doing, and the next run goes on."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest

from tests.faults import tally
from tests.faults.world import World
from tests.services.http_sinks import Answer, ScriptedLrs
from tutor_transform_logs.demo.log_writer import Mix, write_log

GOOD = 120
DOING: dict[str, tuple[dict[str, object], list[Answer | None]]] = {
    "sleeping between batches": ({"sleep_between_batches_secs": 30}, []),
    "waiting for an answer": ({"lrs_timeout_secs": 40}, [None, Answer(hang_secs=40), Answer(hang_secs=40)]),
    "waiting to try again": ({"lrs_max_wait_secs": 60}, [None, *[Answer(503, headers={"Retry-After": "8"})] * 9]),
    "held to a pace": ({"max_events_per_second": 2}, []),
}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
@pytest.mark.parametrize("doing", DOING)
def test_leaves_in_time(
    world: World, scripted_lrs: ScriptedLrs, doing: str, number: signal.Signals, workers: int
) -> None:
    write_log(world.logs / "tracking.log", Mix(good=GOOD), names=["play_video"], seed=8)
    settings, scripted_lrs.script = DOING[doing]
    world.settings |= {"batch_size": 10, "segment_bytes": 65536, "workers": workers}
    world.to_lrs({"url": scripted_lrs.url, "username": "u", "password": "p"})
    process = world.start(**settings)
    wait_until(lambda: len(scripted_lrs.requests) >= (1 if doing.startswith("sleeping") else 2))
    time.sleep(0.2)
    began = time.monotonic()
    process.send(number)
    tally.add("signals")
    ran = process.wait(timeout_secs=15)
    tally.same(4, ran.status, f"{doing}: {ran.words}")
    assert time.monotonic() - began < 10
    assert "Interrupted" in ran.words
    assert "Traceback" not in ran.words
    scripted_lrs.script = []
    again = world.run()
    tally.same(0, again.status, again.words)
    tally.same(GOOD, len(scripted_lrs.statements), doing)


def wait_until(condition: Callable[[], bool], timeout_secs: float = 30) -> None:
    deadline = time.monotonic() + timeout_secs
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
