"""A folder for temporary files that is full: a real file system of a few kilobytes, in a mount namespace of the job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.harness import tally
from tests.harness.clickhouse import ClickHouse
from tests.harness.demo_lms import REPOSITORY
from tests.harness.forked_site import ForkedSite
from tests.harness.object_store import Bucket
from tutor_transform_logs.demo.log_writer import Mix, write_log

PAGE = 4096
FILL = 'for folder in "$TMPDIR" /tmp /var/tmp; do head -c 4096 /dev/zero >"$folder/other"; done; exec "$@"'
"""Takes the only page of each of these file systems."""


def full_tmp(world: ForkedSite, command: str, *parts: dict[str, Any]) -> None:
    """Run the job with a TMPDIR that has no space. Python itself would use ``/tmp`` instead, which is full, too."""
    config, tiny = world.folder / "config.json", world.folder / "tiny"
    settings = dict(world.settings)
    for part in parts:
        settings |= part
    config.write_text(json.dumps(settings))
    tiny.mkdir(exist_ok=True)
    environ = world.lms.environment()
    assert world.lms.database is not None
    sandbox = ["bwrap", "--dev-bind", "/", "/", "--unshare-pid", "--die-with-parent", "--chdir", "/proc"]
    for folder in ("/tmp", "/var/tmp"):
        sandbox += ["--size", str(PAGE), "--tmpfs", folder]
    # What the tests themselves have in such folders.
    for path in (REPOSITORY, Path(os.environ["TMPDIR"]), world.folder, world.lms.database.parent):
        sandbox += ["--bind", str(path), str(path)]
    sandbox += ["--size", str(PAGE), "--tmpfs", str(tiny), "--setenv", "TMPDIR", str(tiny)]
    job = [sys.executable, "-m", "tutor_transform_logs.lms_job", command, "--config", str(config)]
    done = subprocess.run([*sandbox, "sh", "-c", FILL, "sh", *job], env=environ, capture_output=True, text=True)
    tally.add("faults")
    tally.same(4, done.returncode, done.stdout + done.stderr)
    # A run says in its summary what stopped a destination.
    said = " ".join((done.stdout + done.stderr).split())
    assert said.count(f"The folder for temporary files, {tiny}, is full. Make room in it, or set TMPDIR to ") == 1
    assert "Traceback" not in said


@pytest.fixture
def logged(world: ForkedSite) -> ForkedSite:
    write_log(world.logs / "tracking.log", Mix(good=30), names=["play_video"], seed=6)
    return world


def test_verify_stops_and_verifies_when_there_is_room(logged: ForkedSite) -> None:
    assert logged.run().status == 0
    full_tmp(logged, "verify")
    full_tmp(logged, "verify", {"repair": True})
    tally.same(0, logged.run(command="verify").status, "verified with room")


@pytest.mark.parametrize("command", ["run", "gaps"])
def test_with_clickhouse_it_stops_and_goes_on_when_there_is_room(
    logged: ForkedSite, aspects_clickhouse: ClickHouse, command: str
) -> None:
    target = aspects_clickhouse.destination()
    logged.to_lrs()
    full_tmp(logged, command, target)
    assert aspects_clickhouse.count() == 0
    assert logged.run(target).status == 0
    tally.same(30, aspects_clickhouse.count(), "statements")
    assert logged.run(target, command="gaps").status == 0


def test_to_an_object_store_it_stops_and_goes_on_when_there_is_room(logged: ForkedSite, nanio_bucket: Bucket) -> None:
    logged.in_bucket(nanio_bucket, "destination")
    full_tmp(logged, "run")
    tally.same(0, logged.run().status, "the run with room")
    tally.same(30, logged.result()["destinations"][0]["stored"], "statements")
