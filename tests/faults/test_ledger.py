"""A ledger that is damaged, of another version, or in use; a source that changes under it."""

from __future__ import annotations

import gzip
import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import tally
from tests.harness.forked_site import ForkedSite
from tests.harness.http_sinks import ScriptedLrs
from tests.harness.object_store import Bucket
from tests.harness.runs import check_sums
from tutor_transform_logs.demo.log_writer import Mix, write_log


def job_of(world: ForkedSite) -> Path:
    [job] = (world.folder / "ledger").iterdir()
    return job


def stop_midway(world: ForkedSite) -> None:
    """Leave a plan unfinished: killed in the middle of its batches."""
    write_log(world.logs / "tracking.log", Mix(good=30), names=["play_video"], seed=6)
    ran = world.run(steps={"label": "entry write: after", "number": 3})
    assert ran.status == -9


DAMAGES: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "a truncated plan": ("plan.json", lambda content: content[: len(content) // 2]),
    "an empty plan": ("plan.json", lambda content: b""),
    "a plan of another version": ("plan.json", lambda content: content.replace(b'"version": 2', b'"version": 99')),
    "an entry of rubbish": ("0001/000001.files.json", lambda content: b"\0" * len(content)),
    "an entry without its counts": ("0001/000001.files.json", lambda content: b'{"version": 1, "position": 5}'),
    "an entry with other counts": (
        "0001/000001.files.json",
        lambda content: content.replace(b'"lines": ', b'"lines": -'),
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_said_and_nothing_starts_over(world: ForkedSite, damage: str) -> None:
    stop_midway(world)
    name, change = DAMAGES[damage]
    path = job_of(world) / name
    path.write_bytes(change(path.read_bytes()))
    before = {path: path.read_bytes() for path in world.folder.rglob("out/**/*") if path.is_file()}
    ran = world.run()
    tally.add("faults")
    tally.same(1, ran.status, f"{damage}: {ran.detail}")
    assert "Traceback" not in ran.detail
    assert "--restart" in ran.detail
    assert str(path) in ran.detail
    after = {path: path.read_bytes() for path in world.folder.rglob("out/**/*") if path.is_file()}
    tally.same(before, after, f"{damage}: what is in the output")
    restarted = world.run(restart=True)
    tally.same(0, restarted.status, restarted.detail)
    check_sums(world.result())


@pytest.mark.parametrize("where", ["local", "nanio"])
def test_a_second_run_is_refused_while_the_first_one_lives(
    world: ForkedSite, scripted_lrs: ScriptedLrs, nanio_bucket: Bucket, where: str
) -> None:
    write_log(world.logs / "tracking.log", Mix(good=30), names=["play_video"], seed=6)
    world.to_lrs({"url": scripted_lrs.url, "username": "u", "password": "p"})
    if where == "nanio":
        world.in_bucket(nanio_bucket, "ledger")
    first = world.start(sleep_between_batches_secs=2)
    while not scripted_lrs.requests:
        time.sleep(0.05)
    second = world.run()
    tally.add("faults")
    tally.same(1, second.status, second.detail)
    assert f"running already (pid {first.pid} on " in second.detail
    asked = len(scripted_lrs.requests)
    first.send(signal.SIGKILL)
    first.wait()
    third = world.run()
    tally.same(0, third.status, f"a dead run's lock is taken over: {third.detail}")
    tally.same(30, len(scripted_lrs.statements), "all is there")
    assert len(scripted_lrs.requests) > asked


def rename(folder: Path) -> None:
    (folder / "tracking.log").rename(folder / "tracking.log.1")


def rename_and_go_on(folder: Path) -> None:
    rename(folder)
    write_log(folder / "tracking.log", Mix(good=5), names=["pause_video"], seed=21)


def compress(folder: Path) -> None:
    rename(folder)
    (folder / "tracking.log-20260201.gz").write_bytes(gzip.compress((folder / "tracking.log.1").read_bytes()))
    (folder / "tracking.log.1").unlink()


def append_and_compress(folder: Path) -> None:
    append(folder)
    compress(folder)


def append(folder: Path) -> None:
    write_log(folder / "more", Mix(good=5), names=["pause_video"], seed=22)
    with (folder / "tracking.log").open("ab") as log:
        log.write((folder / "more").read_bytes())
    (folder / "more").unlink()


def copy_and_truncate(folder: Path) -> None:
    (folder / "tracking.log.1").write_bytes((folder / "tracking.log").read_bytes())
    write_log(folder / "tracking.log", Mix(good=5), names=["pause_video"], seed=23)


CHANGES = [rename, rename_and_go_on, compress, append, append_and_compress, copy_and_truncate]


@pytest.mark.parametrize("midway", [False, True], ids=["between two runs", "in the middle of one"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: str(change.__name__))
def test_what_was_done_is_known_whatever_it_is_called_now(
    world: ForkedSite, scripted_lrs: ScriptedLrs, change: Callable[[Path], None], midway: bool
) -> None:
    world.to_lrs({"url": scripted_lrs.url, "username": "u", "password": "p"})
    if midway:
        stop_midway(world)
    else:
        write_log(world.logs / "tracking.log", Mix(good=30), names=["play_video"], seed=6)
        assert world.run().status == 0
    change(world.logs)
    ran = world.run()
    tally.add("faults")
    tally.same(0, ran.status, ran.detail)
    new = 0 if change in (rename, compress) else 5
    tally.same(30 + new, len(scripted_lrs.statements), change.__name__)
    # The batch that a kill fell upon may come twice; nothing else.
    assert scripted_lrs.repeated <= (6 if midway else 0)
    last = world.run()
    assert last.stdout.startswith("Nothing new"), last.detail


def test_an_object_that_is_gone_or_another_is_accounted_for(world: ForkedSite) -> None:
    stop_midway(world)
    (world.logs / "tracking.log").unlink()
    write_log(world.logs / "tracking.log", Mix(good=7), names=["pause_video"], seed=31)
    ran = world.run()
    tally.add("faults")
    tally.same(3, ran.status, ran.detail)
    assert "deleted, or replaced by another log" in ran.detail
    check_sums(world.result())
    again = world.run()
    tally.same(0, again.status, again.detail)
    verbs = [json.loads(line)["verb"]["display"]["en"] for line in world.output_lines()]
    assert verbs.count("paused") == 7


def test_status_changes_nothing(world: ForkedSite) -> None:
    stop_midway(world)
    files = {path: path.read_bytes() for path in world.folder.rglob("*") if path.is_file() and "jobs" not in path.parts}
    ran = world.run(command="status")
    tally.same(0, ran.status, ran.detail)
    assert "NOT finished" in ran.stdout
    after = {path: path.read_bytes() for path in world.folder.rglob("*") if path.is_file() and "jobs" not in path.parts}
    tally.same(files, after, "files after status")
