"""A ledger that is damaged, of another version, or in use; a source that changes under it."""

from __future__ import annotations

import gzip
import json
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness import tally
from tests.harness.faulty_store import faulty
from tests.harness.forked_site import ForkedSite
from tests.harness.http_sinks import ScriptedLrs
from tests.harness.object_store import Bucket
from tests.harness.runs import check_sums
from tutor_transform_logs.demo.log_writer import Mix, write_log
from tutor_transform_logs.lms_job.report.join_files import joined_bytes
from tutor_transform_logs.lms_job.storage.base import write_all
from tutor_transform_logs.lms_job.storage.local import LocalStorage
from tutor_transform_logs.lms_job.util.errors import JobError


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
    "a plan of another version": ("plan.json", lambda content: re.sub(rb'"version": \d+', b'"version": 99', content)),
    "an entry of rubbish": ("0001/000001.files.json", lambda content: b"\0" * len(content)),
    "a plan that is nested too deeply": ("plan.json", lambda content: b"[" * 200_000),
    "a plan with a number that is text": (
        "plan.json",
        lambda content: content.replace(b'"number": 1', b'"number": "x"'),
    ),
    "a segment that starts at a text": ("plan.json", lambda content: content.replace(b'"start": 0', b'"start": "x"')),
    "an entry that is nested too deeply": ("0001/000001.files.json", lambda content: b'{"counts": ' * 200_000),
    "an entry at a text": (
        "0001/000001.files.json",
        lambda content: re.sub(rb'"position": \d+', b'"position": "x"', content),
    ),
    "an entry that is done by a number": (
        "0001/000001.files.json",
        lambda content: content.replace(b'"done": false', b'"done": 0'),
    ),
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
    content = change(path.read_bytes())
    assert content != path.read_bytes()
    path.write_bytes(content)
    status = world.run(command="status")
    tally.same(1, status.status, f"{damage}: {status.detail}")
    assert str(path) in status.stderr
    assert "Traceback" not in status.detail
    before = {path: path.read_bytes() for path in world.folder.rglob("out/**/*") if path.is_file()}
    ran = world.run()
    tally.add("faults")
    tally.same(1, ran.status, f"{damage}: {ran.detail}")
    assert "Traceback" not in ran.detail
    assert ("upgrade the plugin" if "version" in damage else "--restart") in ran.detail
    assert str(path) in ran.detail
    after = {path: path.read_bytes() for path in world.folder.rglob("out/**/*") if path.is_file()}
    tally.same(before, after, f"{damage}: what is in the output")
    restarted = world.run(restart=True)
    tally.same(0, restarted.status, restarted.detail)
    check_sums(world.result())


@pytest.mark.parametrize("how", ["deleted", "a link to nothing"])
@pytest.mark.parametrize("finished", [False, True])
def test_a_plan_that_is_lost_is_said_and_nothing_starts_over(world: ForkedSite, how: str, finished: bool) -> None:
    stop_midway(world)
    if finished:
        tally.same(0, world.run().status, "finished")
    path = job_of(world) / "plan.json"
    path.unlink()
    if how == "a link to nothing":
        path.symlink_to("saved/plan.json")
    before = {path: path.read_bytes() for path in world.folder.rglob("out/**/*") if path.is_file()}
    for command, more in (("run", {}), ("run", {"retry_failed": True}), ("work", {}), ("status", {}), ("verify", {})):
        ran = world.run(command=command, **more)
        tally.add("faults")
        tally.same(1, ran.status, f"{command}: {ran.detail}")
        assert f"{path} is missing, but the ledger has files of plan 0001: " in ran.stderr
    assert f"{path} is missing, but " in re.sub(r"\n +", " ", world.run(command="check").stdout)
    after = {path: path.read_bytes() for path in world.folder.rglob("out/**/*") if path.is_file()}
    tally.same(before, after, "what is in the output")
    restarted = world.run(restart=True)
    tally.same(0, restarted.status, restarted.detail)
    tally.same(0, world.run(command="verify").status, "verified")


def test_a_ledger_in_which_nothing_is_done_needs_no_plan(world: ForkedSite) -> None:
    write_log(world.logs / "tracking.log", Mix(good=30), names=["play_video"], seed=6)
    assert world.run(steps={"label": "plan rename: before", "number": 1}).status == -9
    tally.same([], [path.name for path in job_of(world).glob("*.json")], "killed before its first plan")
    (job_of(world) / "job.json").write_text('{"version": 1, "first_plan": 1}')
    ran = world.run()
    tally.same(0, ran.status, ran.detail)
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
    assert f"already running (pid {first.pid} on " in second.detail
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
    world.settings["max_requests_in_flight"] = 1
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


def everything(world: ForkedSite) -> dict[Path, tuple[int, bytes]]:
    """All files and folders of the ledger and the output, with the times of their last changes."""
    folders = (world.folder / "ledger", world.folder / "out")
    paths = [path for folder in folders if folder.exists() for path in (folder, *folder.rglob("*"))]
    return {path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"") for path in paths}


@pytest.mark.parametrize("command", ["status", "check", "verify"])
@pytest.mark.parametrize("state", ["finished", "stopped", "without a lock", "never run"])
def test_what_only_looks_changes_nothing(world: ForkedSite, command: str, state: str) -> None:
    if state == "never run":
        world.settings["ledger_container"] = "not-yet"
        write_log(world.logs / "tracking.log", Mix(good=30), names=["play_video"], seed=6)
    else:
        stop_midway(world)
        if state != "stopped":
            assert world.run().status == 0
        if state == "without a lock":
            (job_of(world) / "lock").unlink()
    before = everything(world)
    ran = world.run(command=command)
    tally.add("faults")
    tally.same(1 if (command, state) == ("verify", "never run") else 0, ran.status, ran.detail)
    tally.same(before, everything(world), f"the ledger and the output after {command}")
    assert not (world.folder / "not-yet").exists()


def test_a_dry_run_changes_nothing_of_the_job(world: ForkedSite) -> None:
    """It has a ledger of its own."""
    stop_midway(world)
    job = job_of(world)
    before = everything(world)
    tally.same(0, world.run(dry_run=True).status, "the dry run")
    after = everything(world)
    assert {path for path in after.keys() - before.keys() if path.is_relative_to(job)} == set()
    tally.same({**before, job.parent: after[job.parent]}, {path: after[path] for path in before}, "the job")


@pytest.mark.parametrize("where", ["local", "nanio"])
def test_verify_is_refused_while_a_run_lives_and_changes_nothing(
    world: ForkedSite, scripted_lrs: ScriptedLrs, nanio_bucket: Bucket, where: str
) -> None:
    write_log(world.logs / "tracking.log", Mix(good=30), names=["play_video"], seed=6)
    world.to_lrs({"url": scripted_lrs.url, "username": "u", "password": "p"})
    if where == "nanio":
        world.in_bucket(nanio_bucket, "ledger")
    first = world.start(sleep_between_batches_secs=60)
    while not scripted_lrs.requests or "running" not in world.run(command="status").stdout:
        assert not first.ended(0.05)
    before = everything(world)
    ran = world.run(command="verify")
    tally.add("faults")
    tally.same(1, ran.status, ran.detail)
    assert f"already running (pid {first.pid} on " in ran.detail
    tally.same(before, everything(world), "the ledger after verify")
    first.kill()
    if where == "nanio":
        objects = in_ledger(nanio_bucket)
        assert "found" in world.run(command="verify").stdout
        tally.same(objects, in_ledger(nanio_bucket), "the ledger after verify")


def test_verify_says_that_a_run_was_active_meanwhile(world: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    write_log(world.logs / "tracking.log", Mix(good=30), names=["play_video"], seed=6)
    world.to_lrs({"url": scripted_lrs.url, "username": "u", "password": "p"})
    assert world.run().status == 0
    scripted_lrs.statements.popitem()
    sent = len(scripted_lrs.requests)
    note = "Another run of this job was active meanwhile."
    alone = world.run(command="verify")
    tally.same(3, alone.status, alone.detail)
    assert note not in alone.detail
    searches = len(scripted_lrs.requests) - sent
    # The pause that the settings ask for comes after the last search, too.
    verify = world.start(command="verify", sleep_between_batches_secs=8)
    while len(scripted_lrs.requests) < sent + 2 * searches:
        assert not verify.ended(0.02)
    write_log(world.logs / "tracking.log.1", Mix(good=5), names=["play_video"], seed=7)
    tally.same(0, world.run().status, "the run meanwhile")
    assert verify.poll() is None
    ran = verify.wait()
    tally.add("faults")
    tally.same(3, ran.status, ran.detail)
    assert note in ran.detail


def in_ledger(bucket: Bucket) -> dict[str, bytes]:
    return {key: bucket.get(key) for key in bucket.keys("ledger/")}


@pytest.mark.parametrize("left", [0, 1, 2])
def test_parts_that_are_lost_before_they_are_joined_are_not_a_finished_file(world: ForkedSite, left: int) -> None:
    """The names of the files and of their parts are saved already, so the parts are expected."""
    write_log(world.logs / "tracking.log", Mix(good=30), names=["play_video"], seed=6)
    assert world.run(steps={"label": "joining write: after", "number": 1}).status == -9
    parts = sorted((world.folder / "out").rglob(".parts-*/*"))
    assert len(parts) == 5
    for part in parts[left:]:
        part.unlink()
    ran = world.run()
    tally.add("faults")
    tally.same(1, ran.status, ran.detail)
    assert f"{parts[left]} is missing: start over with --restart." in ran.detail
    tally.same(parts[:left], sorted((world.folder / "out").rglob(".parts-*/*")), "parts that are left")
    again = world.run(restart=True)
    tally.same(0, again.status, again.detail)
    [output] = (path for path in world.out.glob("*_xapi*.log") if not path.name.endswith("_manifest.log"))
    tally.same(30, len(output.read_bytes().splitlines()), "statements")


def test_a_part_that_vanishes_while_it_is_joined_is_said(tmp_path: Path) -> None:
    """Between the listing of the parts and the reading of this one."""
    store = LocalStorage(str(tmp_path))
    write_all(store, "first.log", b"1\n")
    with pytest.raises(JobError, match=r"/second\.log is missing: start over with --restart\."):
        store.write("joined.log", lambda: joined_bytes(store, ["first.log", "second.log"]))
    tally.add("faults")
    tally.same(["first.log"], [path.name for path in tmp_path.iterdir()], "files")


def test_parts_that_are_gone_because_their_file_is_written_are_not_lost(world: ForkedSite) -> None:
    write_log(world.logs / "tracking.log", Mix(good=30), names=["play_video"], seed=6)
    assert world.run(steps={"label": "part delete: after", "number": 2}).status == -9
    ran = world.run()
    tally.same(0, ran.status, ran.detail)
    tally.same(30, len(world.output_lines()), "statements")
    tally.same([], world.left_over(), "files that no finished job leaves behind")


def test_a_plan_that_a_store_does_not_let_read_is_not_a_new_job(world: ForkedSite, nanio_bucket: Bucket) -> None:
    write_log(world.logs / "tracking.log", Mix(good=30), names=["play_video"], seed=6)
    world.in_bucket(nanio_bucket, "ledger")
    assert world.run().status == 0
    denied = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

    def fault(_: int, line: str) -> bytes | None:
        return denied if line.startswith(("GET", "HEAD")) and "plan.json" in line else None

    with faulty(nanio_bucket, fault) as (bucket, proxy):
        world.settings |= bucket.settings("ledger", prefix="ledger/")
        for command in ("run", "status", "verify"):
            ran = world.run(command=command)
            tally.add("faults")
            tally.same(1, ran.status, f"{command}: {ran.detail}")
            assert "refuses the credentials" in ran.detail
            assert "Traceback" not in ran.detail
        assert proxy.faults
    tally.same(30, len(world.output_lines()), "statements")


# What is done about a file of dead letters that ends in the middle of a line, by its content when it was whole.
CORRECTIONS: dict[str, Callable[[bytes], bytes]] = {
    "restored from a backup": lambda whole: whole,
    "without the damaged line": lambda whole: b"".join(whole.splitlines(keepends=True)[:-1]),
    "with an empty line for it": lambda whole: b"".join(whole.splitlines(keepends=True)[:-1]) + b"\n",
}


RETRY: dict[str, Any] = {"retry_failed": True}
REPAIR: dict[str, Any] = {"command": "verify", "repair": True}
CORRECTED = [(correction, RETRY) for correction in CORRECTIONS]


@pytest.mark.parametrize(
    ("correction", "resume"), [*CORRECTED, ("restored from a backup", {}), ("restored from a backup", REPAIR)]
)
@pytest.mark.parametrize("started", [False, True], ids=["not started", "started"])
def test_a_retry_goes_on_with_a_corrected_file(
    world: ForkedSite, started: bool, correction: str, resume: dict[str, Any]
) -> None:
    write_log(world.logs / "tracking.log", Mix(good=5, unknown_user=14), names=["play_video"], seed=6)
    tally.same(0, world.run().status, "the first run")
    path = job_of(world) / "0001/dead-letters.jsonl"
    whole = path.read_bytes()
    if started:
        killed = world.run(retry_failed=True, steps={"label": "entry write: after", "number": 1})
        tally.same(-9, killed.status, killed.detail)
    path.write_bytes(whole[:-100])
    last_line = len(b"".join(whole.splitlines(keepends=True)[:-1]))
    for _ in range(2):
        ran = world.run(retry_failed=True)
        tally.same(1, ran.status, ran.detail)
        assert f"0001/dead-letters.jsonl is damaged at byte {last_line} (" in ran.detail, ran.detail
    path.write_bytes(CORRECTIONS[correction](whole))
    ran = world.run(**resume)
    tally.add("faults")
    tally.same(0, ran.status, ran.detail)
    result = world.result()
    check_sums(result)
    wanted = CORRECTIONS[correction](whole).count(b'"unknown_user"')
    tally.same({"unknown_user": wanted}, result["reasons"], "what is not transformed this time either")
    tally.same([], result["problems"], "problems")
    assert not path.exists()
    tally.same(5, len(world.output_lines()), "statements")
