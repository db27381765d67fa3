"""A file system that is mounted read-only, in a mount namespace of the job: what can't be written is said in a line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import tally
from tests.harness.forked_site import ForkedSite
from tutor_transform_logs.demo.log_writer import Mix, write_log


def run_with(world: ForkedSite, read_only: Path, command: str) -> subprocess.CompletedProcess[str]:
    config = world.folder / "config.json"
    config.write_text(json.dumps(world.settings))
    sandbox = ["bwrap", "--dev-bind", "/", "/", "--ro-bind", str(read_only), str(read_only), "--die-with-parent"]
    job = [sys.executable, "-m", "tutor_transform_logs.lms_job", command, "--config", str(config)]
    return subprocess.run([*sandbox, *job], env=world.lms.environment(), capture_output=True, text=True)


@pytest.fixture
def logged(world: ForkedSite) -> ForkedSite:
    write_log(world.logs / "tracking.log", Mix(good=30, unknown_user=1), names=["play_video"], seed=6)
    return world


@pytest.mark.parametrize("state", ["new", "stopped", "finished"])
@pytest.mark.parametrize("where", ["ledger", "out"])
def test_a_run_says_so_in_a_line(logged: ForkedSite, state: str, where: str) -> None:
    if state == "stopped":
        tally.same(-9, logged.run(steps={"label": "entry write: after", "number": 3}).status, "killed")
    elif state == "finished":
        tally.same(0, logged.run().status, "the run before")
        write_log(logged.logs / "tracking.log.1", Mix(good=5), names=["play_video"], seed=7)
    done = run_with(logged, logged.folder / where, "run")
    tally.add("faults")
    said = done.stdout + done.stderr
    tally.same(1, done.returncode, said)
    assert "Traceback" not in said
    assert "can't be written: it is on a read-only file system. Mount that for writing, or choose another" in " ".join(
        said.split()
    )
    assert str(logged.folder / where) in said
    tally.same(0, logged.run().status, "the run that can write")


def test_what_only_looks_needs_no_ledger_that_can_be_written(logged: ForkedSite) -> None:
    tally.same(0, logged.run().status, "the run before")
    for command in ("status", "verify"):
        done = run_with(logged, logged.folder / "ledger", command)
        tally.add("faults")
        tally.same(0, done.returncode, done.stdout + done.stderr)
    # A run could not write.
    done = run_with(logged, logged.folder / "ledger", "check")
    tally.same(1, done.returncode, done.stdout + done.stderr)
    assert "it is on a read-only file system" in " ".join(done.stdout.split())
