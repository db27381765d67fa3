"""Links, and files with modes of their own, in the places of files that the job writes: never written through."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from tests.harness import tally
from tests.harness.forked_site import ForkedSite
from tutor_transform_logs.demo.log_writer import Mix, write_log
from tutor_transform_logs.lms_job.storage.base import write_all
from tutor_transform_logs.lms_job.storage.local import LocalStorage

PRECIOUS = b"of somebody else"


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    path = tmp_path / "precious"
    path.write_bytes(PRECIOUS)
    return path


def finished(world: ForkedSite) -> Path:
    """A job that has run, with more to do; returns the folder of its ledger."""
    write_log(world.logs / "tracking.log", Mix(good=5, unknown_user=1), names=["play_video"], seed=6)
    assert world.run().status == 0
    write_log(world.logs / "tracking.log.1", Mix(good=3, unknown_user=1), names=["play_video"], seed=7)
    [job] = (world.folder / "ledger").iterdir()
    return job


@pytest.mark.parametrize("name", [".plan.json.unfinished", ".job.json.unfinished", "0002/.result.json.unfinished"])
def test_an_unfinished_file_of_the_ledger_is_replaced(world: ForkedSite, precious: Path, name: str) -> None:
    link = finished(world) / name
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(precious)
    tally.add("faults")
    tally.same(0, world.run().status, "the run")
    tally.same(PRECIOUS, precious.read_bytes(), "the file that the link leads to")
    assert not link.is_symlink()


def test_an_unfinished_file_of_the_output_is_replaced(world: ForkedSite, precious: Path) -> None:
    job = finished(world)
    assert world.run(command="plan").status == 0
    uuid = json.loads((job / "plan.json").read_text())["uuid"]
    link = world.out / f".parts-{job.name}/.{job.name}-0002-{uuid[:8]}-000001-000001.log.unfinished"
    link.parent.mkdir()
    link.symlink_to(precious)
    tally.add("faults")
    tally.same(0, world.run().status, "the run")
    assert not link.is_symlink()
    tally.same(PRECIOUS, precious.read_bytes(), "the file that the link leads to")


def test_a_lock_that_is_a_link_is_refused(world: ForkedSite, precious: Path) -> None:
    lock = finished(world) / "lock"
    lock.unlink()
    lock.symlink_to(precious)
    ran = world.run()
    tally.add("faults")
    tally.same(1, ran.status, ran.detail)
    assert f"{lock} is a symbolic link, and the job does not write through one" in ran.stderr
    tally.same(PRECIOUS, precious.read_bytes(), "the file that the link leads to")
    lock.unlink()
    tally.same(0, world.run().status, "the run without the link")


def test_a_file_that_was_there_before_does_not_keep_its_mode(tmp_path: Path) -> None:
    unfinished = tmp_path / ".letters.unfinished"
    unfinished.touch()
    unfinished.chmod(0o666)
    write_all(LocalStorage(str(tmp_path)), "letters", b"personal data", private=True)
    assert stat.S_IMODE((tmp_path / "letters").stat().st_mode) == 0o600
