"""Several jobs with one destination, at the same time."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

from tests.harness import tally
from tests.harness.forked_site import ForkedSite
from tests.harness.object_store import Bucket
from tests.harness.runs import statements
from tests.harness.site import is_manifest
from tutor_transform_logs.demo.log_writer import Mix, write_log

START, DAY = datetime(2026, 3, 1, tzinfo=timezone.utc), timedelta(days=1)
JOBS = ({"source_prefix": "a"}, {"source_prefix": "b"})


def plan_in_the_same_second(world: ForkedSite) -> None:
    """Make the plans of both jobs, and set both to one moment, as cron may start them."""
    for number, job in enumerate(JOBS):
        write_log(world.logs / f"{'ab'[number]}.log", Mix(good=12), names=["play_video"], start=START + number * DAY)
        assert world.run(job, command="plan").status == 0
    plans = list(world.ledger.glob("*/plan.json"))
    assert len(plans) == 2
    for path in plans:
        path.write_text(json.dumps(json.loads(path.read_text()) | {"created": 1_790_000_000.0}))


def run_both_at_once(world: ForkedSite, *settings: dict[str, Any]) -> None:
    """Each job has chosen the name of its file before either of them has written it."""
    killed = world.run(JOBS[0], *settings, steps={"label": "joining write: after", "number": 1})
    assert killed.status == -9, killed.detail
    for job in (JOBS[1], JOBS[0]):
        run = world.run(job, *settings)
        tally.same(0, run.status, run.detail)


def test_files_of_two_jobs_planned_in_the_same_second(world: ForkedSite) -> None:
    plan_in_the_same_second(world)
    run_both_at_once(world)
    lines = world.output_lines()
    tally.same((24, 24), (len(lines), len({json.loads(line)["id"] for line in lines})), "statements, ids")
    listed = sorted(path.read_text() for path in world.out.iterdir() if is_manifest(path.name))
    assert [text.partition(" - ")[0] for text in listed] == ["a.log", "b.log"]


def test_objects_of_two_jobs_planned_in_the_same_second(world: ForkedSite, nanio_bucket: Bucket) -> None:
    destination = nanio_bucket.settings("destination", prefix="out")
    world.settings |= destination
    plan_in_the_same_second(world)
    run_both_at_once(world)
    names = [name for name in nanio_bucket.keys("out/") if not is_manifest(name)]
    made = [statement["id"] for name in names for statement in statements(nanio_bucket.get(name))]
    tally.same((24, 24), (len(made), len(set(made))), "statements, ids")
