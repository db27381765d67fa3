"""Files of the ledger or the output that exist and can't be read. They must not count as missing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.harness import tally
from tests.harness.forked_site import ForkedSite
from tests.harness.runs import check_sums
from tutor_transform_logs.demo.log_writer import Mix, write_log


def contents(*folders: Path) -> dict[Path, tuple[int, bytes]]:
    """All files below the folders, with the times of their last changes."""
    paths = [path for folder in folders for path in (folder, *folder.rglob("*"))]
    return {path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"") for path in paths}


def finished(world: ForkedSite) -> Path:
    """A job that has run, with dead letters; returns the folder of its ledger."""
    write_log(world.logs / "tracking.log", Mix(good=30, unknown_user=2), names=["play_video"], seed=6)
    assert world.run().status == 0
    [job] = (world.folder / "ledger").iterdir()
    return job


def stopped(world: ForkedSite) -> Path:
    """A job that was killed between two batches; returns the folder of its ledger."""
    write_log(world.logs / "tracking.log", Mix(good=30, unknown_user=2), names=["play_video"], seed=6)
    assert world.run(steps={"label": "entry write: after", "number": 3}).status == -9
    [job] = (world.folder / "ledger").iterdir()
    return job


def assert_refused(world: ForkedSite, path: Path, command: str, **more: object) -> None:
    path.chmod(0)
    try:
        ran = world.run(command=command, unprivileged=True, **more)
    finally:
        path.chmod(0o755 if path.is_dir() else 0o644)
    tally.add("faults")
    tally.same(1, ran.status, ran.detail)
    assert re.search(f"{re.escape(str(path))}.* can't be (opened|written) by the job's user ", ran.detail), ran.detail
    assert re.search(r"Change the (file|directory)'s owner", ran.detail)
    assert "Traceback" not in ran.detail
    assert "report this" not in ran.detail


@pytest.mark.parametrize(
    ("name", "command", "more"),
    [
        ("plan.json", "run", {}),
        ("plan.json", "status", {}),
        ("plan.json", "verify", {}),
        ("plan.json", "run", {"retry_failed": True}),
        ("", "run", {}),
        ("", "status", {}),
        ("lock", "run", {}),
        ("lock", "status", {}),
        ("lock", "verify", {}),
        ("job.json", "verify", {}),
        ("0001/dead-letters.jsonl", "verify", {}),
        ("0001/joining.json", "verify", {}),
    ],
)
def test_a_finished_job_is_not_done_again(world: ForkedSite, name: str, command: str, more: dict[str, object]) -> None:
    job = finished(world)
    before = contents(world.folder / "out", job)
    assert_refused(world, job / name, command, **more)
    after = contents(world.folder / "out", job)
    # A run may have taken the lock.
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert not changed - {job / "lock"}
    ran = world.run(command=command, **more)
    tally.same(0, ran.status, ran.detail)
    tally.same(30, len(world.output_lines()), "statements, when the file is readable again")


def test_dead_letters_that_can_not_be_read_are_kept(world: ForkedSite) -> None:
    job = finished(world)
    letters = (job / "0001/dead-letters.jsonl").read_bytes()
    assert_refused(world, job / "0001/dead-letters.jsonl", "run", retry_failed=True)
    tally.same(letters, (job / "0001/dead-letters.jsonl").read_bytes(), "dead letters")
    tally.same(0, world.run(retry_failed=True).status, "the run that can read them")
    tally.same(2, world.result()["lines"]["untransformable"], "lines that were retried")


@pytest.mark.parametrize("line", [b"[]", b"null", b"17", b'"x"', b'{"line": 3}'])
def test_a_line_that_is_not_a_dead_letter_is_said(world: ForkedSite, line: bytes) -> None:
    path = finished(world) / "0001/dead-letters.jsonl"
    letters = path.read_bytes()
    path.write_bytes(letters + line + b"\n")
    commands: list[tuple[str, dict[str, object]]] = [("verify", {}), ("verify", {"repair": True})]
    commands.append(("run", {"retry_failed": True}))
    for command, more in commands:
        ran = world.run(command=command, **more)
        tally.add("faults")
        tally.same(1, ran.status, ran.detail)
        assert f"damaged at byte {len(letters)} (" in ran.detail, ran.detail
        assert "report this" not in ran.detail


@pytest.mark.parametrize("name", ["0001/000001.files.json", "0001"])
def test_a_stopped_job_is_not_done_again(world: ForkedSite, name: str) -> None:
    job = stopped(world)
    before = contents(world.folder / "out")
    assert_refused(world, job / name, "status")
    tally.same(before, contents(world.folder / "out"), "what status changes in the output")
    assert_refused(world, job / name, "run")
    ran = world.run()
    tally.same(0, ran.status, ran.detail)
    tally.same(30, len(world.output_lines()), "statements, when the file is readable again")
    check_sums(world.result())


def test_dead_letters_of_a_stopped_job_are_not_lost(world: ForkedSite) -> None:
    job = stopped(world)
    assert_refused(world, next(job.glob("0001/dead/000001.files.000001.*.jsonl")), "run")
    tally.same(0, world.run().status, "the run that can read them")
    tally.same(2, world.result()["lines"]["untransformable"], "dead letters")
    tally.same(30, len(world.output_lines()), "statements")


def test_an_output_file_that_can_not_be_read_is_not_lost(world: ForkedSite) -> None:
    finished(world)
    [output] = world.outputs_on_disk()
    assert_refused(world, output, "verify")
    assert_refused(world, output, "verify", repair=True)
    tally.same(0, world.run(command="verify", repair=True).status, "verified when it can be read")
    tally.same(30, len(world.output_lines()), "statements")


def test_parts_that_can_not_be_listed_are_not_lost(world: ForkedSite) -> None:
    stopped(world)
    [parts] = (world.folder / "out").glob(".parts-*")
    parts.chmod(0o300)  # files in it can be written, but not listed
    ran = world.run(unprivileged=True)
    parts.chmod(0o755)
    tally.add("faults")
    tally.same(1, ran.status, ran.detail)
    assert f"{parts} can't be opened by the job's user" in ran.detail
    tally.same(0, world.run().status, "the run that can list them")
    tally.same(30, len(world.output_lines()), "statements")


def test_dead_letters_of_an_older_plan_that_can_not_be_listed_are_not_gone(world: ForkedSite) -> None:
    job = finished(world)
    write_log(world.logs / "tracking.log.1", Mix(good=5), names=["play_video"], seed=7)
    tally.same(0, world.run().status, "a second plan")
    assert_refused(world, job / "0001", "run", retry_failed=True)
    assert_refused(world, job / "0001", "verify")


def test_what_a_volume_has_of_its_own_is_left_out(world: ForkedSite) -> None:
    (world.logs / "lost+found").mkdir(mode=0)
    write_log(world.logs / "tracking.log", Mix(good=30), names=["play_video"], seed=6)
    tally.same(0, world.run(unprivileged=True, source_prefix="").status, "the run")
    tally.same(30, len(world.output_lines()), "statements")


@pytest.mark.parametrize("mode", [0, 0o400], ids=["not listed", "listed and not entered"])
@pytest.mark.parametrize("more", [{"source_prefix": ""}, {"source_prefix": "old/", "files": ["*.log*"]}], ids=str)
def test_a_folder_of_the_source_that_can_not_be_listed_is_reported(
    world: ForkedSite, mode: int, more: dict[str, object]
) -> None:
    folder = world.logs / "old/2025"
    folder.mkdir(parents=True)
    write_log(world.logs / "old/tracking.log", Mix(good=30), names=["play_video"], seed=6)
    write_log(folder / "tracking.log", Mix(good=5), names=["play_video"], seed=7)
    folder.chmod(mode)
    try:
        ran = world.run(unprivileged=True, **more)
        checked = world.run(unprivileged=True, command="check", **more)
        again = world.run(unprivileged=True, **more)
    finally:
        folder.chmod(0o755)
    tally.add("faults")
    for run in (ran, again):
        tally.same(3, run.status, run.detail)
        assert f"{folder}" in " ".join(run.stdout.split())
        assert "can't be read by the job's user" in " ".join(run.stdout.split())
    assert "old/2025/" in checked.stdout, checked.detail
    tally.same(30, len(world.output_lines()), "statements of the log beside it")
    tally.same(0, world.run(**more).status, "the run that can list it")
    tally.same(35, len(world.output_lines()), "statements of both")


@pytest.mark.parametrize("command", ["work", "report"])
def test_a_phase_without_a_plan_makes_nothing(world: ForkedSite, command: str) -> None:
    write_log(world.logs / "tracking.log", Mix(good=3), names=["play_video"], seed=6)
    before = contents(world.folder / "out")
    ran = world.run(command=command, ledger_container="new")
    tally.same(1, ran.status, ran.detail)
    assert "There is no plan in " in ran.stderr
    assert not (world.folder / "new").exists()
    tally.same(before, contents(world.folder / "out"), "the output's folder")


@pytest.mark.parametrize("command", ["run", "status", "verify"])
def test_a_directory_is_not_a_plan(world: ForkedSite, command: str) -> None:
    job = finished(world)
    (job / "plan.json").rename(job / "saved")
    (job / "plan.json").mkdir()
    ran = world.run(command=command)
    tally.add("faults")
    tally.same(1, ran.status, ran.detail)
    assert f"{job}/plan.json can't be used (Is a directory)" in ran.stderr
    tally.same(30, len(world.output_lines()), "statements")


@pytest.mark.parametrize("command", ["run", "status", "verify", "check"])
def test_a_file_is_not_a_container(world: ForkedSite, command: str) -> None:
    job = finished(world)
    (world.folder / "ledger").rename(world.folder / "saved")
    (world.folder / "ledger").write_text("")
    ran = world.run(command=command)
    tally.add("faults")
    tally.same(1, ran.status, ran.detail)
    assert str(job.parent) in ran.detail
    assert "Traceback" not in ran.detail
    assert "report this" not in ran.detail
    tally.same(30, len(world.output_lines()), "statements")


def test_a_log_that_can_not_be_read_is_reported_and_the_others_are_done(world: ForkedSite) -> None:
    write_log(world.logs / "tracking.log", Mix(good=30), names=["play_video"], seed=6)
    write_log(world.logs / "tracking.log.1", Mix(good=5), names=["play_video"], seed=7)
    (world.logs / "tracking.log.1").chmod(0)
    ran = world.run(unprivileged=True)
    tally.add("faults")
    tally.same(3, ran.status, ran.detail)
    assert "can't be read by the job's user" in json.dumps(world.result()["objects"])
    tally.same(30, len(world.output_lines()), "statements of the other log")
    (world.logs / "tracking.log.1").chmod(0o644)
    tally.same(0, world.run().status, "the run that can read it")
    tally.same(35, len(world.output_lines()), "statements of both")


def test_parts_that_can_not_be_deleted_are_said_once(world: ForkedSite) -> None:
    write_log(world.logs / "tracking.log", Mix(good=30), names=["play_video"], seed=6)
    for command in ("plan", "work"):
        tally.same(0, world.run(command=command).status, command)
    [parts] = world.out.glob(".parts-*")
    assert len(list(parts.iterdir())) > 2
    parts.chmod(0o555)
    try:
        ran = world.run(command="report", unprivileged=True)
    finally:
        parts.chmod(0o755)
    tally.add("faults")
    tally.same(0, ran.status, ran.detail)
    first = min(parts.iterdir())
    assert f"{first} is no longer needed and can't be deleted: Permission denied. " in ran.stderr
    tally.same(1, ran.stderr.count("can't be deleted: "), "warnings")
    verified = world.run(command="verify")
    tally.same(0, verified.status, verified.detail)
