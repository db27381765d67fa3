"""A kill at every step: the job is killed once at each step that a run has, run again, and compared.

The long form kills at every occurrence of every step of a run to one file, and once at each step elsewhere; the short
form at the steps named here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.harness import tally
from tests.harness.clickhouse import ClickHouse
from tests.harness.forked_site import ForkedSite
from tests.harness.http_sinks import ScriptedLrs
from tests.harness.kills import chosen, steps_of, write_logs, write_overlapping_logs
from tests.harness.object_store import Bucket, ObjectStore
from tests.harness.ralph import Lrs
from tests.harness.runs import check_sums
from tutor_transform_logs.demo.log_writer import Mix, write_log

NewWorld = Callable[[str], ForkedSite]

# A run that lacks one of these steps would make its test an empty one.
FILES = [
    "source read: after",
    "batch: before",
    "deliver: after",
    "part write: half",
    "part rename: before",
    "dead batch write: after",
    "entry write: half",
    "entry rename: before",
    "entry write: after",
    "plan rename: before",
    "dead letters write: after",
    "joining write: after",
    "output write: half",
    "output rename: before",
    "part delete: before",
    "part delete: after",
    "manifest write: half",
    "result write: half",
    "finish plan: before",
    "finish plan: after",
    "dead batch delete: after",
]
BATCHES = ["batch file write: half", "batch file rename: before", "entry rename: before", "finish plan: before"]
LRS = ["batch: before", "POST statements: half", "POST statements: sent", "deliver: after", "entry rename: before"]
CLICKHOUSE = [
    "source read: after",
    "save plan: after",
    "batch: before",
    "look-up: before",
    "POST look-up: sent",
    "look-up: after",
    "insert: before",
    "POST insert: half",
    "POST insert: sent",
    "insert: after",
    "entry write: half",
    "entry rename: before",
    "entry write: after",
    "result write: half",
    "finish plan: before",
    "finish plan: after",
]
NANIO = [
    "source read: after",
    "PUT part: half",
    "PUT part: sent",
    "PUT entry: half",
    "PUT plan: sent",
    "PUT output: half",
    "part delete: after",
    "finish plan: before",
]
RETRY = [
    "save plan: after",
    "deliver: after",
    "entry write: after",
    "output write: after",
    "part delete: after",
    "dead letters delete: before",
    "dead letters delete: after",
    "finish plan: before",
    "finish plan: after",
]


def kill_and_run_again(world: ForkedSite, label: str, number: int, **more: Any) -> None:
    killed = world.run(steps={"label": label, "number": number}, **more)
    tally.add("kills")
    tally.same(-9, killed.status, f"not killed at {label} {number}: {killed.detail}")
    again = world.run(**more)
    tally.same(0, again.status, f"killed at {label} {number}, then: {again.detail}")


@pytest.mark.parametrize(("layout", "compression", "named"), [("single", "none", FILES), ("batches", "gzip", BATCHES)])
def test_files(new_world: NewWorld, layout: str, compression: str, named: list[str]) -> None:
    settings = {"output_layout": layout, "output_compression": compression}
    reference = new_world("reference")
    reference.settings |= settings
    write_logs(reference.logs)
    labels = steps_of(reference, named)
    expected = reference.outcome()
    for number, (label, occurrence) in enumerate(chosen(labels, named, every=tally.LONG and layout == "single")):
        world = new_world(f"killed-{number}")
        world.settings |= settings
        write_logs(world.logs)
        kill_and_run_again(world, label, occurrence)
        tally.same(expected, world.outcome(), f"killed at {label} {occurrence}")


def test_lrs(new_world: NewWorld, new_lrs: Callable[[], Lrs]) -> None:
    """Ralph holds the ids of an undisturbed run, each once."""

    def in_lrs(name: str) -> tuple[ForkedSite, Lrs]:
        world, lrs = new_world(name), new_lrs()
        write_logs(world.logs)
        world.to_lrs({"url": lrs.url, "username": lrs.username, "password": lrs.password})
        return world, lrs

    reference, lrs = in_lrs("reference")
    labels = steps_of(reference, LRS)
    expected, ids = reference.outcome(), sorted(lrs.ids())
    assert len(ids) == 21
    for number, (label, occurrence) in enumerate(chosen(labels, LRS)):
        world, lrs = in_lrs(f"killed-{number}")
        kill_and_run_again(world, label, occurrence)
        tally.same(expected, world.outcome(), f"killed at {label} {occurrence}")
        check_sums(world.result())
        tally.same(ids, sorted(lrs.ids()), f"what Ralph holds after a kill at {label} {occurrence}")


def test_clickhouse(new_world: NewWorld, aspects_clickhouse: ClickHouse) -> None:
    """The table has the rows of an undisturbed run, each once, and so has a view that counts every row for good."""
    server, mix = aspects_clickhouse, Mix(good=5, page_view=2, unknown_user=1, broken=1)

    def in_clickhouse(name: str) -> tuple[ForkedSite, int]:
        server.clear()
        world = new_world(name)
        world.settings |= {**server.destination(), "workers": 1, "batch_size": 4}
        return world, write_overlapping_logs(world.logs, mix)

    reference, count = in_clickhouse("reference")
    labels = steps_of(reference, CLICKHOUSE)
    expected, rows = reference.outcome(), server.rows()
    assert count == len(rows) == len({row[0] for row in rows})
    for number, (label, occurrence) in enumerate(chosen(labels, CLICKHOUSE)):
        world, _ = in_clickhouse(f"killed-{number}")
        kill_and_run_again(world, label, occurrence)
        tally.same(expected, world.outcome(), f"killed at {label} {occurrence}")
        check_sums(world.result())
        tally.same(rows, server.rows(), f"what the table has after a kill at {label} {occurrence}")
        tally.same(count, server.daily_sum(), f"what a view has after a kill at {label} {occurrence}")


def test_object_store(new_world: NewWorld, nanio: ObjectStore, nanio_bucket: Bucket) -> None:
    """Source, destination and ledger in nanio."""

    def in_nanio(name: str, bucket: Bucket) -> ForkedSite:
        world = new_world(name)
        write_logs(world.logs)
        world.in_bucket(bucket, "source", "destination", "ledger")
        return world

    reference = in_nanio("reference", nanio_bucket)
    labels = steps_of(reference, NANIO)
    expected = reference.outcome()
    assert expected["finished"]
    for number, (label, occurrence) in enumerate(chosen(labels, NANIO)):
        world = in_nanio(f"killed-{number}", nanio.bucket(f"{nanio_bucket.name}-{number}"))
        kill_and_run_again(world, label, occurrence)
        tally.same(expected, world.outcome(), f"killed at {label} {occurrence}")


def test_retry(new_world: NewWorld, scripted_lrs: ScriptedLrs) -> None:
    """Killed while it sends dead letters again: each arrives once, and none stays behind as a dead letter."""

    def with_dead_letters(name: str) -> ForkedSite:
        """A job whose LRS refused three statements, fixed since; then one that goes to files."""
        world = new_world(name)
        write_log(world.logs / "tracking.log", Mix(good=20), seed=5)
        world.to_lrs({"url": scripted_lrs.url, "username": "u", "password": "p"})
        return world

    reference = with_dead_letters("ids")
    assert reference.run().status == 0
    refused = dict.fromkeys(list(scripted_lrs.statements)[4:16:4], 409)

    def refuse(name: str) -> ForkedSite:
        scripted_lrs.statements.clear()
        scripted_lrs.refused = refused
        world = with_dead_letters(name)
        ran = world.run()
        assert ran.status == 3, ran.detail
        assert len(scripted_lrs.statements) == 17
        scripted_lrs.refused = {}
        return world

    reference = refuse("reference")
    named = [label for label in RETRY if "output" not in label and "part" not in label]
    labels = steps_of(reference, named, retry_failed=True)
    expected = reference.outcome()
    tally.same([], expected["dead letters"], "dead letters after a retry of all")
    for number, (label, occurrence) in enumerate(chosen(labels, named)):
        world = refuse(f"killed-{number}")
        repeated = scripted_lrs.repeated
        kill_and_run_again(world, label, occurrence, retry_failed=True)
        tally.same(20, len(scripted_lrs.statements), f"killed at {label} {occurrence}")
        assert scripted_lrs.repeated - repeated <= 3
        tally.same(expected, world.outcome(), f"killed at {label} {occurrence}")


def test_a_killed_worker_is_replaced_and_the_run_goes_on(new_world: NewWorld) -> None:
    reference = new_world("reference")
    write_logs(reference.logs)
    assert reference.run().status == 0
    expected = reference.outcome()
    for number, label in enumerate(FILES[:9]):
        world = new_world(f"killed-{number}")
        write_logs(world.logs)
        ran = world.run(steps={"label": label, "number": 2}, workers=2)
        tally.add("kills")
        if ran.status == -9:
            assert label in ("source read: after",), label  # the parent's own, while it plans
            ran = world.run(workers=2)
        else:
            assert "was killed by SIGKILL" in ran.stderr
        tally.same(0, ran.status, ran.detail)
        tally.same(expected, world.outcome(), f"a worker killed at {label}")


def test_a_broken_ledger_write_is_found(new_world: NewWorld) -> None:
    """The suite itself: with the one-line mistake in ``steps._break_ledger``, a kill makes a difference.

    To see the whole suite fail on it, write ``"batches": self.batches - (not self.done and self.batches > 0)`` in
    ``Entry.to_json``.
    """
    reference, world = new_world("reference"), new_world("killed")
    for site in (reference, world):
        write_logs(site.logs)
        site.settings["batch_size"] = 3
    assert reference.run(steps={"broken": True}).status == 0
    assert world.run(steps={"broken": True, "label": "deliver: before", "number": 3}).status == -9
    world.run()
    assert world.outcome()["statements"] != reference.outcome()["statements"]
