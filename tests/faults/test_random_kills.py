"""SIGKILL at random moments, of the whole job, its parent or one of its workers, until a run gets through."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from datetime import datetime, timezone

import pytest

from tests.harness import tally
from tests.harness.clickhouse import ClickHouse
from tests.harness.forked_site import ForkedSite
from tests.harness.job import Process
from tests.harness.object_store import Bucket
from tests.harness.ralph import Lrs
from tests.harness.runs import check_sums
from tutor_transform_logs.demo.log_writer import Mix, write_log

KILLS = 50 if tally.LONG else 6
LINES = 200_000 if tally.LONG else 6_000
SEED = 20261124
# Logs that overlap in time can hold the same statement twice.
LATER = datetime(2026, 5, 1, tzinfo=timezone.utc)


def write_logs(world: ForkedSite) -> None:
    """Mostly lines to skip, as logs are; one of them to be shared out, one compressed."""
    good = LINES // 40
    mix = Mix(good=good, page_view=LINES - good, unknown_user=5, type_error=3, broken=5)
    write_log(world.logs / "tracking.log", mix, seed=11)
    write_log(world.logs / "tracking.log-20260101.gz", Mix(good=good // 4, page_view=good), seed=12, start=LATER)
    world.settings |= {"segment_bytes": 1_000_000, "batch_size": 40, "workers": 2}


def kill_somebody(process: Process, dice: random.Random) -> None:
    """Kill all at once, the parent alone, or a worker; a worker's death is not the run's."""
    whom = dice.choice(["all", "all", "parent", "worker"])
    workers = process.workers()
    if whom == "worker" and workers:
        os.kill(dice.choice(workers), signal.SIGKILL)
    else:
        process.kill(group=whom != "parent")
    tally.add("kills")


def run_with_kills(world: ForkedSite, undisturbed_secs: float) -> None:
    dice = random.Random(SEED)
    # So short that the run is not through before all the kills were.
    longest_secs = max(0.2, 1.5 * undisturbed_secs / KILLS)
    kills = 0
    while True:
        process = world.start()
        if kills >= KILLS:
            ran = process.wait()
            tally.same(0, ran.status, ran.detail)
            return
        while kills < KILLS and not process.ended(dice.uniform(0.05, longest_secs)):
            kill_somebody(process, dice)
            kills += 1
        if process.poll() == 0:
            # It was through before all the kills were: what it left is looked at, and a new job killed on.
            return
        if process.poll() is None:
            process.wait()


def timed(world: ForkedSite) -> float:
    began = time.monotonic()
    ran = world.run()
    assert ran.status == 0, ran.detail
    return time.monotonic() - began


@pytest.mark.parametrize("where", ["files", "nanio"])
def test_files(new_world: Callable[[str], ForkedSite], nanio_bucket: Bucket, where: str) -> None:
    reference, world = new_world("reference"), new_world("killed")
    for one in (reference, world):
        write_logs(one)
    if where == "nanio":
        world.in_bucket(nanio_bucket, "source", "destination", "ledger")
    secs = timed(reference)
    run_with_kills(world, secs)
    check_sums(world.result())
    world.outcome()
    tally.same(sorted(reference.output_lines()), sorted(world.output_lines()), "the statements in the files")
    tally.same([], world.left_over(), "left over")


def test_lrs(new_world: Callable[[str], ForkedSite], new_lrs: Callable[[], Lrs]) -> None:
    ids = []
    for name in ("reference", "killed"):
        world, lrs = new_world(name), new_lrs()
        write_logs(world)
        world.to_lrs({"url": lrs.url, "username": lrs.username, "password": lrs.password})
        if name == "reference":
            secs = timed(world)
        else:
            run_with_kills(world, secs)
            check_sums(world.result())
        # From the store: a page that Ralph gives may repeat what was on the one before.
        ids.append(sorted(one["id"] for one in lrs.statements()))
    tally.same(ids[0], ids[1], "the ids in Ralph")
    assert len(ids[1]) == len(set(ids[1]))


def test_clickhouse(new_world: Callable[[str], ForkedSite], aspects_clickhouse: ClickHouse) -> None:
    ids = []
    for name in ("reference", "killed"):
        aspects_clickhouse.clear()
        world = new_world(name)
        write_logs(world)
        world.settings |= aspects_clickhouse.destination()
        if name == "reference":
            secs = timed(world)
        else:
            run_with_kills(world, secs)
            check_sums(world.result())
        ids.append(aspects_clickhouse.ids())
    tally.same(ids[0], ids[1], "the ids in the table")
    assert len(ids[1]) == len(set(ids[1]))
    tally.same(len(ids[1]), aspects_clickhouse.daily_sum(), "what a view has counted")
