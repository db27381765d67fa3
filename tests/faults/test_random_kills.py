"""SIGKILL at random moments, of the whole job, its parent or one of its workers, until a run gets through."""

from __future__ import annotations

import itertools
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
from tests.harness.kills import write_overlapping_logs
from tests.harness.object_store import Bucket
from tests.harness.ralph import Lrs
from tests.harness.runs import check_sums
from tutor_transform_logs.demo.log_writer import Mix, write_log

KILLS = 50 if tally.LONG else 6
KILLS_INTO_CLICKHOUSE = 200 if tally.LONG else 50
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


def run_with_kills(world: ForkedSite, longest_secs: float, dice: random.Random, most: int = KILLS) -> int:
    """Run until status 0, killed up to ``most`` times; returns how often, less if a run gets through before that.

    :param longest_secs: between two kills; the shorter, the more of them hit the beginning of a run.
    """
    kills = 0
    while True:
        process = world.start()
        if kills >= most:
            ran = process.wait()
            tally.same(0, ran.status, ran.detail)
            return kills
        while kills < most and not process.ended(dice.uniform(0.05, longest_secs)):
            kill_somebody(process, dice)
            kills += 1
        if process.poll() == 0:
            return kills
        if process.poll() is None:
            process.wait()


def so_short_that_all_kills_happen(undisturbed_secs: float) -> float:
    """The longest time between two of ``KILLS`` with which no run gets through before the last."""
    return max(0.2, 1.5 * undisturbed_secs / KILLS)


def timed(world: ForkedSite) -> float:
    began = time.monotonic()
    ran = world.run()
    assert ran.status == 0, ran.detail
    return time.monotonic() - began


@pytest.mark.parametrize("where", ["files", "nanio"])
def test_files(new_world: Callable[[str], ForkedSite], nanio_bucket: Bucket, where: str) -> None:
    reference, world = new_world("reference"), new_world("killed")
    for site in (reference, world):
        write_logs(site)
    if where == "nanio":
        world.in_bucket(nanio_bucket, "source", "destination", "ledger")
    secs = timed(reference)
    run_with_kills(world, so_short_that_all_kills_happen(secs), random.Random(SEED))
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
            run_with_kills(world, so_short_that_all_kills_happen(secs), random.Random(SEED))
            check_sums(world.result())
        # From the store: a page that Ralph gives may repeat what was on the one before.
        ids.append(sorted(statement["id"] for statement in lrs.statements()))
    tally.same(ids[0], ids[1], "the ids in Ralph")
    assert len(ids[1]) == len(set(ids[1]))


def test_clickhouse(new_world: Callable[[str], ForkedSite], aspects_clickhouse: ClickHouse) -> None:
    """Jobs with one to three workers are killed fifty times; each ends with the rows of an undisturbed one."""
    server, dice, kills = aspects_clickhouse, random.Random(SEED), 0

    def in_clickhouse(name: str, workers: int) -> tuple[ForkedSite, int]:
        server.clear()
        world = new_world(name)
        world.settings |= {**server.destination(), "segment_bytes": 200_000, "batch_size": 40, "workers": workers}
        mix = Mix(good=LINES // 100, page_view=LINES // 10, unknown_user=2, broken=2)
        return world, write_overlapping_logs(world.logs, mix)

    reference, count = in_clickhouse("reference", 2)
    secs = timed(reference)
    rows = server.rows()
    assert count == len(rows) == len({row[0] for row in rows})
    for number in itertools.count():
        world, _ = in_clickhouse(f"killed-{number}", 1 + number % 3)
        kills += run_with_kills(world, max(0.2, secs / 4), dice, KILLS_INTO_CLICKHOUSE - kills)
        check_sums(world.result())
        tally.same(rows, server.rows(), "the rows in the table")
        tally.same(count, server.daily_sum(), "what a view has counted")
        if kills >= KILLS_INTO_CLICKHOUSE:
            return
