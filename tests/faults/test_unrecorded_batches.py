"""A batch was delivered and its run killed before that was recorded; then the rest of its log is not there any more."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime, timezone

import pytest

from tests.harness import tally
from tests.harness.forked_site import ForkedSite
from tests.harness.site import files_below
from tutor_transform_logs.demo.log_writer import Mix, write_log

NAMES = ("tracking.log", "other.log", "third.log")


def log(world: ForkedSite, name: str) -> None:
    """A log of 20 events of a month of its own."""
    start = datetime(2026, 1 + NAMES.index(name), 1, tzinfo=timezone.utc)
    write_log(world.logs / name, Mix(good=20), names=["play_video"], start=start, seed=len(name))


@pytest.mark.parametrize("layout", ["single", "batches"])
@pytest.mark.parametrize("number", [1, 2])
def test_what_is_not_recorded_is_not_left_in_the_output(world: ForkedSite, layout: str, number: int) -> None:
    """The log comes back, and is delivered then: also what of it was delivered before."""
    world.settings |= {"output_layout": layout, "batch_size": 6}
    log(world, "tracking.log")
    log(world, "other.log")
    killed = world.run(workers=1, steps={"label": "entry write: before", "number": number})
    tally.same(-9, killed.status, killed.detail)
    away = world.folder / "away"
    for path in [*world.logs.iterdir()]:
        away.mkdir(exist_ok=True)
        path.rename(away / path.name)
    log(world, "third.log")
    ran = world.run()
    tally.same(3, ran.status, ran.detail)
    for path in away.iterdir():
        path.rename(world.logs / path.name)
    ran = world.run()
    tally.same(0, ran.status, ran.detail)
    found = Counter(json.loads(line)["id"] for line in world.output_lines())
    tally.same((60, {1}), (len(found), set(found.values())), "statements, and how often each has arrived")
    tally.same([], [str(path) for path in files_below(world.out) if ".parts-" in str(path)], "left over")
