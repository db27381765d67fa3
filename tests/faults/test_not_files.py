"""Named pipes, sockets, devices and folders in the places of files: each is said in a line, and none is waited for."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import tally
from tests.harness.forked_site import ForkedSite
from tests.harness.process import wait_for
from tutor_transform_logs.demo.log_writer import Mix, write_log
from tutor_transform_logs.lms_job.storage.base import read_all
from tutor_transform_logs.lms_job.storage.local import LocalSource, LocalStorage
from tutor_transform_logs.lms_job.util.errors import ObjectGone, ObjectUnreadable

SECS = 60


def pipe(path: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    """Bound by its name in its folder: the whole path may be too long for a socket."""
    here = os.open(path.parent, os.O_RDONLY)
    try:
        socket.socket(socket.AF_UNIX).bind(f"/proc/self/fd/{here}/{path.name}")
    finally:
        os.close(here)


def device(path: Path) -> None:
    """One that never ends; only root may make it."""
    os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))


def folder(path: Path) -> None:
    path.mkdir()


NOT_FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a pipe": (pipe, "is not a file (it is a named pipe)"),
    "a socket": (unix_socket, "is not a file (it is a socket or a device)"),
    **({"a device": (device, "is not a file (it is a socket or a device)")} if os.geteuid() == 0 else {}),
    "a folder": (folder, ""),
}


def swap(path: Path, kind: str) -> None:
    path.rename(path.with_name(f"{path.name}-before"))
    NOT_FILES[kind][0](path)


@pytest.mark.parametrize("kind", NOT_FILES)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_log_that_becomes_one_after_the_plan_is_reported_and_the_others_are_done(
    world: ForkedSite, kind: str, workers: int
) -> None:
    write_log(world.logs / "tracking.log", Mix(good=30), names=["play_video"], seed=6)
    write_log(world.logs / "tracking.log-1", Mix(good=5), names=["play_video"], seed=7)
    tally.same(0, world.run(command="plan").status, "plan")
    path = world.logs / "tracking.log"
    moved = world.folder / "moved"
    path.rename(moved)
    NOT_FILES[kind][0](path)
    work = world.start(command="work", workers=workers).wait(SECS)
    tally.add("faults")
    tally.same(0, work.status, work.detail)
    report = world.start(command="report").wait(SECS)
    tally.same(3, report.status, report.detail)
    assert "Traceback" not in work.detail + report.detail
    [problem] = world.result()["problems"]
    tally.same("tracking.log: deleted, or replaced by another log, before it was read to its end", problem, kind)
    tally.same(5, len(world.output_lines()), "statements of the other log")
    path.rmdir() if path.is_dir() else path.unlink()
    moved.rename(path)
    again = world.start().wait(SECS)
    tally.same(0, again.status, again.detail)
    tally.same(35, len(world.output_lines()), "statements of both")


@pytest.mark.parametrize("kind", NOT_FILES)
@pytest.mark.parametrize("name", ["plan.json", "lock", "job.json", "0001/000001.files.json"])
@pytest.mark.parametrize("command", ["run", "status", "verify"])
def test_one_in_the_ledger_ends_the_run_with_a_line(world: ForkedSite, kind: str, name: str, command: str) -> None:
    write_log(world.logs / "tracking.log", Mix(good=30, unknown_user=1), names=["play_video"], seed=6)
    tally.same(-9, world.run(steps={"label": "entry write: after", "number": 3}).status, "killed")
    [job] = world.ledger.iterdir()
    swap(job / name, kind)
    ran = world.start(command=command).wait(SECS)
    tally.add("faults")
    assert "Traceback" not in ran.detail
    assert "report this" not in ran.detail
    if ran.status == 0:
        # What is not read does no harm; a run replaces what it writes and does not read.
        assert name == "job.json" or (name, command) == ("lock", "status")
        return
    tally.same(1, ran.status, f"{kind} for {name}: {ran.detail}")
    lines = [line for line in ran.detail.splitlines() if str(job / name) in line]
    tally.same(1, len(lines), ran.detail)
    assert NOT_FILES[kind][1] in lines[0] or "can't be used (Is a directory)" in lines[0]


@pytest.mark.parametrize("kind", [kind for kind in NOT_FILES if kind != "a folder"])
def test_nothing_waits_for_one(tmp_path: Path, kind: str) -> None:
    NOT_FILES[kind][0](tmp_path / "x")
    began = time.monotonic()
    with pytest.raises(ObjectUnreadable, match="is not a file"):
        read_all(LocalStorage(str(tmp_path)), "x")
    with pytest.raises(ObjectGone, match="is not a file"):
        read_all(LocalSource(str(tmp_path)), "x")
    assert time.monotonic() - began < 5
    tally.add("faults")


def test_a_pipe_that_somebody_writes_into_is_not_read_either(tmp_path: Path) -> None:
    pipe(tmp_path / "x")
    ended = threading.Event()

    def write() -> None:
        try:
            with open(tmp_path / "x", "wb", buffering=0) as file:
                while True:
                    file.write(b"1" * 4096)
        except BrokenPipeError:
            ended.set()

    threading.Thread(target=write, daemon=True).start()
    wait_for(lambda: _is_refused(tmp_path) and ended.is_set(), SECS)
    tally.add("faults")


def _is_refused(folder: Path) -> bool:
    with pytest.raises(ObjectUnreadable, match="it is a named pipe"):
        read_all(LocalStorage(str(folder)), "x")
    return True
