"""The logs of cloned servers, replayed by a whole job: what arrives, what is said, and the exit status."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable

import pytest

from tests.harness.forked_site import ForkedSite
from tests.harness.object_store import Bucket
from tests.harness.runs import check_sums
from tests.harness.tally import same
from tutor_transform_logs.demo.log_writer import Mix, write_log


def lines_of(world: ForkedSite, good: int) -> list[bytes]:
    """The lines of a log, which is not one of the site's."""
    path = world.folder / "lines"
    write_log(path, Mix(good=good, page_view=good), seed=good)
    lines = path.read_bytes().splitlines(keepends=True)
    path.unlink()
    return lines


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("where", ["files", "nanio"])
def test_each_is_delivered_whole(
    new_world: Callable[[str], ForkedSite], nanio_bucket: Bucket, where: str, packed: bool
) -> None:
    world = new_world("both")
    lines = lines_of(world, 40)
    common, first, second = lines[:30], lines[30:60], lines[60:]
    assert len(b"".join(common)) > 4096
    logs = {"a": b"".join(common + first), "b": b"".join(common + second)}
    for name, content in logs.items():
        world.place(f"{name}/tracking.log" + ".gz" * packed, gzip.compress(content) if packed else content)
    if where == "nanio":
        for path in sorted(world.logs.rglob("tracking.log*")):
            nanio_bucket.put(f"source/{path.relative_to(world.logs)}", path)
        world.settings |= nanio_bucket.settings("source", prefix="source/")
    ran = world.run()
    same(0, ran.status, ran.detail)
    check_sums(world.result())
    alone: list[bytes] = []
    for name, content in logs.items():
        reference = new_world(name)
        reference.place("tracking.log", content)
        assert reference.run().status == 0
        alone += reference.output_lines()
    assert len(set(alone)) < len(alone)
    same(sorted(alone), sorted(world.output_lines()), "what each log makes on its own")
    verified = world.run(command="verify")
    same(0, verified.status, verified.detail)
    assert "Nothing new" in world.run().stdout


def test_a_log_that_may_be_a_copy_is_said_until_it_is_decided(world: ForkedSite) -> None:
    lines = lines_of(world, 40)
    log = world.place("tracking.log", b"".join(lines[:60]))
    assert world.run().status == 0
    log.unlink()
    other = world.place("other.log", b"".join(lines[:30]))
    for command in ("run", "verify"):
        ran = world.run(command=command)
        same(3, ran.status, ran.detail)
        assert "other.log: has the first bytes of tracking.log and is shorter (" in ran.stdout
        assert "were seen before), so it may be a copy or another log: nothing of it is read" in ran.stdout
    world.place("new.log", b"".join(lines_of(world, 3)))
    ran = world.run()
    same(3, ran.status, ran.detail)
    [problem] = world.result()["problems"]
    assert problem.startswith("other.log: has the first bytes of")
    other.unlink()
    assert world.run().status == 0


def test_it_is_said_after_a_resumed_plan_too(world: ForkedSite) -> None:
    lines = lines_of(world, 40)
    world.settings["output_layout"] = "batches"
    log = world.place("tracking.log", b"".join(lines[:60]))
    assert world.run().status == 0
    # As it is if a run is killed when all is delivered.
    [path] = world.ledger.glob("*/plan.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "finished": False}))
    log.unlink()
    world.place("other.log", b"".join(lines[:30]))
    ran = world.run()
    assert "Resuming plan 0001" in ran.stderr
    same(3, ran.status, ran.detail)
    assert "other.log: has the first bytes of tracking.log and is shorter (" in ran.stdout
