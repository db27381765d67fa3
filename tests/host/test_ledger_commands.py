"""``tutor transform-logs`` with ``jobs``, ``report``, ``dead-letters`` and ``prune``, on ledgers of real runs."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.harness.demo_lms import DemoLms
from tests.harness.forked_site import ForkedSite
from tests.harness.tutor_cli import Tutor
from tutor_transform_logs.demo.log_writer import Mix

REPLAY, DRY_RUN = "replay", "dry run"


@pytest.fixture(scope="module")
def made(demo_lms_template: DemoLms, tmp_path_factory: pytest.TempPathFactory) -> tuple[ForkedSite, dict[str, str]]:
    """Two runs of a job, and a dry run; and the key of each job."""
    folder = tmp_path_factory.mktemp("jobs")
    site = ForkedSite(folder, demo_lms_template.copy_to(folder / "lms.sqlite3"))
    keys: dict[str, str] = {}

    def run(name: str, **settings: object) -> None:
        done = site.run(site.source(), site.to_files(), **settings)
        assert done.status == 0, done.stderr
        keys[name] = next(path.name for path in site.ledger.iterdir() if path.name not in keys.values())

    site.log(Mix(good=3, broken=1, unknown_user=2), name="tracking.log.1", seed=1)
    run(REPLAY)
    site.log(Mix(good=5, broken=2), name="tracking.log.2", seed=2)
    assert site.run(site.source(), site.to_files()).status == 0
    run(DRY_RUN, dry_run=True)
    return site, keys


@pytest.fixture
def ledger(tutor: Tutor, made: tuple[ForkedSite, dict[str, str]]) -> Path:
    folder = tutor.root.joinpath("data", "lms", "transform-logs")
    shutil.copytree(made[0].ledger, folder)
    return folder


@pytest.fixture
def keys(made: tuple[ForkedSite, dict[str, str]]) -> dict[str, str]:
    return made[1]


def plans(folder: Path) -> set[str]:
    """What is left of the reports, results and dead letters."""
    names = ("report.html", "result.json", "dead-letters.jsonl")
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.name in names}


def age(folder: Path, days: int) -> None:
    for path in folder.rglob("*"):
        status = path.stat()
        os.utime(path, (status.st_atime, status.st_mtime - days * 86400))


@pytest.mark.usefixtures("ledger")
def test_jobs_are_listed_with_how_they_ended(tutor: Tutor, keys: dict[str, str]) -> None:
    dry, last, numbers, letters, *others = tutor.must("transform-logs", "jobs").splitlines()
    assert dry.startswith(f"{keys[DRY_RUN]}  LOCAL ")
    assert dry.endswith("(xapi, dry run)")
    assert ", plan 0001: " in last
    assert numbers.startswith("  13 lines read, ")
    assert letters == f"  5 dead letters: tutor transform-logs dead-letters --job {keys[DRY_RUN]}"
    first, last, numbers, letters = others
    assert first.startswith(f"{keys[REPLAY]}  LOCAL ")
    assert first.endswith("(xapi)")
    assert ", plan 0002: " in last
    assert numbers.startswith("  13 lines read, 8 statements stored")
    assert letters.startswith("  5 dead letters: ")


def test_a_job_that_runs_is_said_to(tutor: Tutor, ledger: Path, keys: dict[str, str]) -> None:
    lock = ledger / keys[REPLAY] / "lock"
    lock.write_text(json.dumps({"pid": 7, "host": "0123456789ab", "since": 0}))
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert "  running: pid 7 on 0123456789ab, for " in tutor.must("transform-logs", "jobs")


@pytest.mark.parametrize(("content", "said"), [("{", "is damaged"), (None, "is missing, but the ledger has files")])
def test_a_damaged_job_hides_no_other(
    tutor: Tutor, ledger: Path, keys: dict[str, str], content: str | None, said: str
) -> None:
    plan = ledger / keys[REPLAY] / "plan.json"
    plan.unlink()
    if content is not None:
        plan.write_text(content)
    output = tutor.must("transform-logs", "jobs")
    assert said in output
    assert keys[DRY_RUN] in output


def test_reports_are_listed_and_chosen(tutor: Tutor, ledger: Path, keys: dict[str, str]) -> None:
    def pages(*arguments: str) -> list[Path]:
        lines = tutor.must("transform-logs", "report", *arguments).splitlines()
        return [Path(line).relative_to(ledger).parent for line in lines if line.endswith("report.html")]

    replay, dry = (Path(keys[name]) for name in (REPLAY, DRY_RUN))
    assert pages("--list") == [dry / "0001", replay / "0002", replay / "0001"]
    assert pages("--job", keys[REPLAY][:6]) == [replay / "0002"]
    assert pages("--job", keys[REPLAY], "--plan", "1") == [replay / "0001"]
    assert "There is no such report" in tutor("transform-logs", "report", "--plan", "9").error
    assert "No job has a key that begins with 'zz'" in tutor("transform-logs", "report", "--job", "zz").error


@pytest.mark.usefixtures("ledger")
def test_dead_letters_are_printed_without_personal_data(tutor: Tutor, keys: dict[str, str]) -> None:
    arguments = ("transform-logs", "dead-letters", "--job", keys[REPLAY], "--reason", "unknown_user")
    whole = [json.loads(line) for line in tutor.must(*arguments, "--show").splitlines()]
    assert [letter["reason"] for letter in whole] == ["unknown_user"] * 2
    names = {json.loads(letter["line"][letter["line"].index("{") :])["username"] for letter in whole}
    masked = tutor.must(*arguments)
    assert masked.count(": unknown_user (") == 2
    assert all(names)
    assert not any(name in masked for name in names)
    everything = tutor.must("transform-logs", "dead-letters", "--show").splitlines()
    assert len(everything) == 10
    of_plan = tutor.must("transform-logs", "dead-letters", "--job", keys[REPLAY], "--plan", "2", "--show")
    assert len(of_plan.splitlines()) == 2


@pytest.mark.usefixtures("ledger")
def test_an_unknown_reason_is_refused_and_all_others_are_taken(tutor: Tutor) -> None:
    done = tutor("transform-logs", "dead-letters", "--reason", "nope")
    assert done.status == 1
    assert "'nope' is not a reason of dead letters" in done.error
    assert ", unknown_course, unknown_user" in done.error
    assert tutor.must("transform-logs", "dead-letters", "--reason", "conflict") == ""


@pytest.mark.usefixtures("ledger")
def test_dead_letters_are_counted(tutor: Tutor, keys: dict[str, str]) -> None:
    output = tutor.must("transform-logs", "dead-letters", "--count", "--job", keys[REPLAY])
    first, *reasons = (line.split() for line in output.splitlines())
    assert first == [keys[REPLAY], "5"]
    assert sum(int(number) for _, number in reasons) == 5
    assert ["unknown_user", "2"] in reasons


def test_a_reader_may_end_early(tutor: Tutor, ledger: Path, keys: dict[str, str]) -> None:
    file = ledger / keys[REPLAY] / "0001" / "dead-letters.jsonl"
    file.write_bytes(file.read_bytes() * 2000)
    command = [str(tutor.bin / "tutor"), "transform-logs", "dead-letters", "--show"]
    environ = {**tutor.environ, "TUTOR_ROOT": str(tutor.root)}
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.read(10) == b'{"object":'
    process.stdout.close()
    errors = process.stderr.read().decode()
    process.wait(timeout=60)
    assert "Traceback" not in errors
    assert "sudo" not in errors


def test_a_damaged_file_of_dead_letters_is_named(tutor: Tutor, ledger: Path, keys: dict[str, str]) -> None:
    file = ledger / keys[REPLAY] / "0001" / "dead-letters.jsonl"
    file.write_bytes(b"[]\n")
    done = tutor("transform-logs", "dead-letters", "--job", keys[REPLAY])
    assert f"{file} is damaged in line 1 (" in done.error


def test_what_no_run_needs_is_deleted(
    tutor: Tutor, ledger: Path, made: tuple[ForkedSite, dict[str, str]], keys: dict[str, str]
) -> None:
    site, _ = made
    replay = keys[REPLAY]
    everything = plans(ledger)
    assert "Nothing to delete" in tutor.must("transform-logs", "prune", "--yes")
    age(ledger, 40)
    refused = tutor("transform-logs", "prune")
    assert refused.status == 1
    assert plans(ledger) == everything
    assert "a dry run" in tutor.must("transform-logs", "prune", "--yes")
    assert not (ledger / keys[DRY_RUN]).exists()
    first, second = (
        {f"{replay}/{plan}/{name}" for name in ("report.html", "result.json")} for plan in ("0001", "0002")
    )
    letters = {f"{replay}/{plan}/dead-letters.jsonl" for plan in ("0001", "0002")}
    assert plans(ledger) == second | letters
    assert first <= everything
    tutor.must("transform-logs", "prune", "--yes", "--dead-letters", "--older-than", "41d")
    assert plans(ledger) == second | letters
    tutor.must("transform-logs", "prune", "--yes", "--dead-letters")
    assert plans(ledger) == second

    # The job goes on from there.
    own = site.ledger / replay
    kept = own.with_name("kept")
    own.rename(kept)
    try:
        shutil.copytree(ledger / replay, own)
        assert "Nothing new" in site.run(site.source(), site.to_files()).stdout
        assert site.run(site.source(), site.to_files(), command="verify").status == 0
    finally:
        shutil.rmtree(own)
        kept.rename(own)


def test_the_numbers_of_a_job_outlive_its_results(tutor: Tutor, ledger: Path, keys: dict[str, str]) -> None:
    def numbers() -> str:
        lines = tutor.must("transform-logs", "jobs").splitlines()
        at = next(number for number, line in enumerate(lines) if line.startswith(keys[REPLAY]))
        return lines[at + 2]

    age(ledger, 40)
    for _ in range(2):
        assert numbers() == "  13 lines read, 8 statements stored"
        tutor.must("transform-logs", "prune", "--yes")
    assert not (ledger / keys[REPLAY] / "0001" / "result.json").exists()
    # Interrupted between the two: counted once.
    shutil.copy(ledger / keys[REPLAY] / "0001" / "totals.json", ledger / keys[REPLAY] / "0002" / "totals.json")
    assert numbers() == "  13 lines read, 8 statements stored"


def test_the_lines_of_dead_letters_are_counted_when_they_are_read_first(
    tutor: Tutor, tmp_path: Path, demo_lms_template: DemoLms
) -> None:
    site = ForkedSite(tmp_path, demo_lms_template.copy_to(tmp_path / "lms.sqlite3"))
    site.log(Mix(good=3, broken=1, unknown_user=2))
    assert site.run(site.source(), site.to_files()).status == 0
    again = site.run(site.source(), site.to_files(), retry_failed=True)
    assert again.result is not None, again.detail
    assert (again.result["kind"], again.result["lines"]["lines"]) == ("redelivery", 3)
    shutil.copytree(site.ledger, tutor.root.joinpath("data", "lms", "transform-logs"))
    assert "  6 lines read, 3 statements stored\n" in tutor.must("transform-logs", "jobs")


def test_a_job_that_runs_is_not_pruned(tutor: Tutor, ledger: Path, keys: dict[str, str]) -> None:
    age(ledger, 40)
    with (ledger / keys[REPLAY] / "lock").open() as held, (ledger / keys[DRY_RUN] / "lock").open() as other:
        fcntl.flock(held, fcntl.LOCK_EX)
        fcntl.flock(other, fcntl.LOCK_EX)
        assert "Nothing to delete" in tutor.must("transform-logs", "prune", "--yes")


@pytest.mark.parametrize("days", ["", "x", "-1d", "1h", "999999d"])
def test_an_age_is_a_number_of_days(tutor: Tutor, days: str) -> None:
    done = tutor("transform-logs", "prune", "--older-than", days)
    assert done.status == 2
    assert "such as 30d" in done.output


@pytest.mark.usefixtures("tutor")
def test_without_a_job_each_command_says_so(tutor: Tutor) -> None:
    assert "No job has run yet" in tutor.must("transform-logs", "jobs")
    assert tutor.must("transform-logs", "dead-letters") == ""
    assert "Nothing to delete" in tutor.must("transform-logs", "prune")
