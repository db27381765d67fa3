"""Logs that are unpacked ahead in a thread of its own: killed, interrupted and broken behind where that begins."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import signal
import tarfile
import time
import zipfile
from collections.abc import Callable

import pytest
import zstandard

from tests.harness import tally
from tests.harness.forked_site import ForkedSite
from tests.harness.http_sinks import ScriptedLrs
from tests.harness.runs import check_sums
from tests.harness.tally import same
from tutor_transform_logs.demo.log_writer import Mix, write_log
from tutor_transform_logs.lms_job.read.unpack_ahead import BEGINNING_BYTES

NewWorld = Callable[[str], ForkedSite]
MIX = Mix(good=60, page_view=14_000, unknown_user=3, copies=1)
# What is read until the first batches wait is not a third of it.
LONG_MIX = Mix(good=60, page_view=80_000)
LATE_BATCH = 8


def tarred(log: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as archive:
        for name, content in (("logs/first.log", log[:5000]), ("logs/tracking.log", log)):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def zipped(log: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("logs/tracking.log", log)
    return out.getvalue()


def in_members(log: bytes) -> bytes:
    """As a collector that adds a gzip member at each flush."""
    return b"".join(gzip.compress(log[at : at + 50_000], 1) for at in range(0, len(log), 50_000))


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "tracking.log.gz": in_members,
    "tracking.log.bz2": bz2.compress,
    "tracking.log.xz": lambda log: lzma.compress(log, preset=0),
    "tracking.log.zst": zstandard.compress,
    "logs.tar.gz": tarred,
    "logs.zip": zipped,
}


def log_of(world: ForkedSite, mix: Mix = MIX) -> bytes:
    """The same in every world; most of its batches are behind where a thread begins to read ahead."""
    path = world.folder / "lines"
    write_log(path, mix, seed=7)
    content = path.read_bytes()
    path.unlink()
    assert len(content) * LATE_BATCH / (mix.good / world.settings["batch_size"]) > BEGINNING_BYTES * 1.2
    return content


@pytest.mark.parametrize("name", PACKED)
def test_killed_late_it_is_resumed_as_if_nothing_had_been(new_world: NewWorld, name: str) -> None:
    plain = new_world("plain")
    log = log_of(plain)
    plain.place("tracking.log", log)
    if name == "logs.tar.gz":
        plain.place("first.log", log[:5000])
    ran = plain.run()
    same(0, ran.status, ran.detail)
    world = new_world("packed")
    world.place(name, PACKED[name](log))
    killed = world.run(workers=1, steps={"label": "batch: before", "number": LATE_BATCH})
    tally.add("kills")
    same(-9, killed.status, killed.detail)
    ran = world.run(workers=1)
    same(0, ran.status, ran.detail)
    check_sums(world.result())
    same(sorted(plain.output_lines()), sorted(world.output_lines()), name)
    same(plain.result()["lines"], world.result()["lines"], "lines")
    assert "Nothing new" in world.run().stdout


def test_what_follows_a_broken_log_is_read_too(world: ForkedSite) -> None:
    log = log_of(world)
    world.place("tracking.log.1.gz", gzip.compress(log, 1)[:-1000])
    write_log(world.logs / "tracking.log", Mix(good=10), seed=8)
    ran = world.run(workers=1)
    same(3, ran.status, ran.detail)
    assert "truncated gzip data" in ran.detail
    assert "Traceback" not in ran.detail
    read = {row["name"]: row["lines"] for row in world.result()["objects"]}
    same(10, read["tracking.log"], "lines of the log that follows")
    assert MIX.lines * 0.95 < read["tracking.log.1.gz"] < MIX.lines


@pytest.mark.parametrize("workers", [1, 2])
def test_interrupted_it_leaves_at_once(world: ForkedSite, scripted_lrs: ScriptedLrs, workers: int) -> None:
    """While the thread waits for a place: the LRS answers nothing."""
    log = log_of(world, LONG_MIX)
    for number in range(workers):
        # Of other times: no statement is in two of them.
        world.place(f"tracking.log.{number}.gz", gzip.compress(log.replace(b"2026-02", b"2026-%02d" % (5 + number)), 1))
    world.to_lrs({"url": scripted_lrs.url})
    world.settings |= {"workers": workers, "lrs_timeout_secs": 100}
    scripted_lrs.gate.clear()
    process = world.start()
    deadline = time.monotonic() + 60
    while len(scripted_lrs.requests) < workers:
        assert time.monotonic() < deadline, process.err()
        time.sleep(0.01)
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    tally.add("signals")
    ran = process.wait(timeout_secs=15)
    same(4, ran.status, ran.detail)
    assert time.monotonic() - began < 10
    assert "Traceback" not in ran.detail
    scripted_lrs.gate.set()
    ran = world.run()
    same(0, ran.status, ran.detail)
    same(LONG_MIX.good * workers, len(scripted_lrs.statements), "statements")
