"""What a run says while it runs: on a terminal, in a pipe, to a program; and what it says to those who ask."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.forked_site import ForkedSite
from tests.harness.http_sinks import Answer, ScriptedLrs
from tests.harness.job import JobRun, local
from tests.harness.object_store import Bucket
from tests.harness.terminal import run_on_a_terminal
from tutor_transform_logs.demo.log_writer import Mix
from tutor_transform_logs.lms_job.ledger.lock import current_owner, remote_lock
from tutor_transform_logs.lms_job.ledger.owner import LeaseOwner
from tutor_transform_logs.lms_job.model.counts import Counts
from tutor_transform_logs.lms_job.model.progress_events import BatchDone, BytesRead, Resting, SegmentStarted
from tutor_transform_logs.lms_job.util import console
from tutor_transform_logs.lms_job.util.backoff import Waiting
from tutor_transform_logs.lms_job.util.formatting import of
from tutor_transform_logs.lms_job.work.eta import FIRST_SAID_SECS, Eta
from tutor_transform_logs.lms_job.work.progress import Progress, ProgressState
from tutor_transform_logs.lms_job.work.progress_printers import FIRST_INTERVAL, LONGEST_INTERVAL, interval

MIX = Mix(good=60, page_view=40, unknown_user=2, broken=1)


@given(st.floats(1, 1e9), st.floats(0.01, 30), st.integers(1, 400))
def test_at_an_even_speed_the_time_left_is_right(speed: float, step: float, steps: int) -> None:
    estimate = Eta(0.0)
    for number in range(1, steps + 1):
        estimate.done(speed * step, number * step)
    now = steps * step
    left = estimate.secs_left(speed * 100, now)
    if now < FIRST_SAID_SECS:
        assert left is None
    else:
        assert left == pytest.approx(100, rel=0.3 if step > 1 else 0.02)


def test_the_time_left_follows_the_speed_and_is_not_said_too_early() -> None:
    estimate = Eta(0.0)
    assert estimate.secs_left(100, 60.0) is None
    for second in range(61, 200):
        estimate.done(10, float(second))
    fast = estimate.secs_left(1000, 200.0)
    assert fast == pytest.approx(100, rel=0.2)
    # Nothing comes any more: it can only take longer.
    slower = [estimate.secs_left(1000, 200.0 + wait) for wait in (10, 60, 300)]
    assert [*slower] == sorted(slower)  # type: ignore[type-var]  # none of them is None any more
    assert slower[-1] > 10 * fast  # type: ignore[operator]
    assert estimate.secs_left(0, 600.0) == 0


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_long_run_speaks_less_often(one: float, other: float) -> None:
    assert FIRST_INTERVAL <= interval(one) <= LONGEST_INTERVAL
    assert (interval(one) <= interval(other)) or one > other


def test_a_part_of_a_size_names_its_unit_once() -> None:
    assert of(1.25e9, 2.6e9) == "1.2 of 2.6 GB"
    assert of(12e6, 2.6e9) == "12.0 MB of 2.6 GB"
    assert of(0, 900) == "0 of 900 B"


@pytest.fixture
def plain_console(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    console.set_up(console.TEXT_FORMAT, quiet=False)
    yield
    console.set_up(console.TEXT_FORMAT, quiet=False)


@pytest.mark.usefixtures("plain_console")
def test_the_trouble_of_all_workers_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(100, workers=4)
    for worker in range(4):
        progress.emit(SegmentStarted("a.log"), worker)
        progress.emit(Waiting("the LRS does not answer", 2.5), worker)
        progress.emit(Waiting(f"S3 answers 503: can't read {worker}.log", 1.0, "S3 answers 503"), worker)
    progress.emit(Waiting("the database does not answer", 0.4), 1)
    assert capsys.readouterr().err.splitlines() == [
        "the LRS does not answer; trying again in 2 s",
        "S3 answers 503: can't read 0.log; trying again in 1 s",
        "the database does not answer; trying again in 1 s",
    ]


@pytest.mark.usefixtures("plain_console")
def test_a_plain_line_says_what_each_worker_does(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    progress = Progress(4_000_000, workers=3)
    progress.emit(SegmentStarted("a.log"), 0)
    progress.emit(SegmentStarted("b.log"), 1)
    progress.emit(Resting(2.0), 2)
    for _ in range(12):
        clock[0] += 1
        progress.emit(BytesRead(100_000))
        progress.emit(BatchDone(Counts(lines=100, transformed=50, unknown_event=50, made=50)), 0)
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == (
        "25%, 1.0 of 4.0 MB, 900 lines, 450 events (45/s), about 30 s left: a.log, b.log, resting for 2 s"
    )
    assert len(said) == 2


@pytest.mark.parametrize("columns", [35, 45, 64])
def test_where_not_all_fits_the_time_left_stays(columns: int) -> None:
    state = ProgressState(2_600_000_000, 0.0, {0: "a.log"})
    for second in range(1, 61):
        state.apply(BytesRead(12_500_000), 0, float(second))
        state.apply(BatchDone(Counts(lines=1000, transformed=1234, made=1234)), 0, float(second))
    text = state.summary(60.0, columns)
    assert len(text) <= columns
    assert text == f"750.0 MB of 2.6 GB, {'1,234 events/s, ' if columns == 64 else ''}2 min 28 s left"
    assert state.summary(60.0, 18) == "2 min 28 s left"


@pytest.mark.usefixtures("plain_console")
def test_a_resumed_job_begins_where_it_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    progress = Progress(4_000_000, done_bytes=3_000_000)
    for _ in range(6):
        clock[0] += 1
        progress.emit(BytesRead(100_000))
    assert capsys.readouterr().err.startswith("88%, 3.5 of 4.0 MB, 0 lines, 0 events (0/s), about 5 s left")


@pytest.mark.usefixtures("lms")
@pytest.mark.parametrize("columns", [40, 50, 80])
def test_on_a_terminal_the_percentage_after_a_resume_is_that_of_the_job(site: ForkedSite, columns: int) -> None:
    site.log(Mix(good=600))
    assert run(site, limit=300, batch_size=50).status == 4
    status, seen = run_on_a_terminal(site, columns=columns, batch_size=50)
    assert status == 0, seen
    shares = [int(share) for share in re.findall(r"(\d+)% ", seen)]
    assert shares[0] > 35
    assert shares == sorted(shares)
    assert shares[-1] == 100
    assert ("% |" in seen) == (columns >= 60)
    drawn = [line for part in seen.split("\n") for line in re.split(r"\r|\x1b\[\w", part) if "% " in line]
    assert max(map(len, drawn)) <= columns


def test_what_to_do_next_is_said_once(site: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    site.log(MIX)
    scripted_lrs.script = [Answer(503)] * 99
    endpoint = {"url": scripted_lrs.url, "username": "u", "password": "p"}
    done = site.run(site.source(), {"destination_provider": "LRS", "lrs_endpoints": [endpoint]}, lrs_max_wait_secs=0.3)
    assert done.status == 4
    assert re.findall(r"(?i)\brun\b[\w ]*\bagain\b", done.stdout + done.stderr) == ["run the same command again"]


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def run(site: ForkedSite, **more: Any) -> JobRun:
    return site.run(site.source(), site.to_files(), **more)


def test_quiet_says_the_result_and_no_more(site: ForkedSite) -> None:
    site.log(MIX)
    done = run(site, quiet=True)
    assert done.status == 0
    assert done.stderr == ""
    assert "accounted for." in done.stdout
    failed = run(site, quiet=True, source_prefix="nothing", restart=True)
    assert failed.status == 1
    [line] = failed.stderr.splitlines()
    assert "nothing" in line


def test_a_quiet_rehearsal_only_counts(site: ForkedSite) -> None:
    log = site.log(MIX)
    done = run(site, quiet=True, dry_run=True)
    assert done.stderr == ""
    assert '"version": "1.0.3"' not in done.stdout
    assert re.search(rf"\n  made +{log.xapi.statements}\n", done.stdout)


def test_nothing_is_said_twice(site: ForkedSite) -> None:
    site.log(MIX)
    done = run(site)
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    assert len(said) == len(set(said))
    assert done.stdout.startswith("object ")


@pytest.mark.parametrize("workers", [1, 2])
def test_to_a_program_every_line_is_json(site: ForkedSite, scripted_lrs: ScriptedLrs, workers: int) -> None:
    site.log(Mix(good=400, broken=1))
    scripted_lrs.script = [None, Answer(503, {"detail": "busy"})]
    endpoint = {"url": scripted_lrs.url, "username": "u", "password": "p"}
    done = site.run(
        site.source(),
        {"destination_provider": "LRS", "lrs_endpoints": [endpoint]},
        log_format="json",
        workers=workers,
        batch_size=50,
        segment_bytes=64 * 1024,
    )
    assert done.status == 0, done.stderr
    said = lines_of(done.stderr)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", message["time"]) for message in said)
    assert all(message["level"] in ("info", "warning") and message["message"] for message in said)
    events = [message["event"] for message in said]
    assert events.count("plan") == 1
    [waiting] = [message for message in said if message["event"] == "waiting"]
    assert "answers 503" in waiting["message"]
    assert waiting["level"] == "warning"
    assert waiting["seconds"] > 0
    [result] = lines_of(done.stdout)
    assert result["event"] == "result"
    assert done.result is not None
    for name in ("lines", "reasons", "status", "destinations", "page", "dead_letters"):
        assert result[name] == done.result[name]

    again = lines_of(
        site.run(site.source(), {"destination_provider": "LRS", "lrs_endpoints": [endpoint]}, log_format="json").stdout
    )
    assert [message["event"] for message in again] == ["nothing_new"]


def test_an_error_is_json_too(site: ForkedSite) -> None:
    failed = run(site, log_format="json", quiet=True, source_prefix="nothing")
    assert failed.status == 1
    assert failed.stdout == ""
    [line] = lines_of(failed.stderr)
    assert (line["level"], line["event"], line["status"]) == ("error", "error", 1)
    assert "nothing" in line["message"]


@pytest.mark.usefixtures("lms")
@pytest.mark.parametrize("columns", [60, 80])
def test_each_worker_has_a_line_on_a_terminal(site: ForkedSite, columns: int) -> None:
    site.log(Mix(good=600, page_view=400), name=f"tracking.log-{'long' * 30}")
    status, seen = run_on_a_terminal(site, columns=columns, workers=2, segment_bytes=64 * 1024)
    assert status == 0, seen
    drawn = [line for part in seen.split("\n") for line in re.split(r"\r|\x1b\[\w", part) if line.strip()]
    progress = [line for line in drawn if re.match(r" *\d+% \|| +[12] ", line)]
    assert any(line.startswith("   1 tracking.log-long") for line in progress)
    assert any(line.startswith("   2 tracking.log-long") for line in progress)
    assert any(line.startswith("100% |") for line in progress)
    assert max(map(len, progress)) <= columns
    # Nothing but the bar is left above the table.
    assert not re.search(r"\n +[12] tracking", seen[seen.rindex("100% |") :])
    # No colours, which some can't see and some do not want.
    assert not re.search(r"\x1b\[[\d;]*m", seen)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_status_says_how_far_it_is_and_who_runs_it(site: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    site.log(Mix(good=400))
    scripted_lrs.script = [*[None] * 6, Answer(hang_secs=60)]
    config = {
        **site.source(),
        **local("ledger", site.folder / "ledger"),
        "destination_provider": "LRS",
        "lrs_endpoints": [{"url": scripted_lrs.url, "username": "u", "password": "p"}],
        "batch_size": 50,
        "max_requests_in_flight": 1,
    }
    before = site.run(config, command="status")
    assert before.status == 0
    assert before.stdout.startswith("This job has not run yet ")

    # Nobody reads what it says.
    process = site.start(config, quiet=True)
    wait_until(lambda: len(scripted_lrs.requests) == 7)
    running = site.run(config, command="status")
    assert running.status == 0, running.stderr
    assert re.match(r"Plan 0001, started .* UTC, running\.\nRun by pid \d+ on \S+, for \d+ s\.\n", running.stdout)
    assert f"Run by pid {process.pid} on " in running.stdout
    share = re.search(r"\nDone: .* \((\d+)%\), 0 of 1 segment\.\n", running.stdout)
    assert share is not None
    assert 65 < int(share[1]) < 85
    assert re.search(r"\n  stored +300\n", running.stdout)
    assert running.stdout.endswith("\nNot finished: the job is running.\n")

    process.kill(group=False)
    stopped = site.run(config, command="status", log_format="json")
    [line] = lines_of(stopped.stdout)
    assert (line["event"], line["running"], line["owner"], line["segments_done"]) == ("status", False, None, 0)
    stopped = site.run(config, command="status")
    assert "NOT finished, and not running" in stopped.stdout
    again = "Not finished: run the job again with the same settings and options to resume where it stopped."
    assert stopped.stdout.endswith(f"\n{again}\n")

    scripted_lrs.script = []
    assert site.run(config).status == 0
    finished = site.run(config, command="status")
    assert finished.stdout.startswith("Plan 0001, finished. The last run found nothing new.\n")
    ledger = next((site.folder / "ledger").glob("*/0001"))
    assert finished.stdout.endswith(f"\nResult: {ledger}/result.json\nReport: {ledger}/report.html\n")


def test_status_names_the_files_of_a_finished_job_as_its_run_does(site: ForkedSite) -> None:
    site.log(MIX)
    done = run(site)
    files = done.stdout[done.stdout.index("\ndead letters ") :]
    assert re.search(r"^  in /.*\n\nOutput: /.*\nResult: /.*\nReport: /", files, re.MULTILINE)
    hint = r"Dead letters of earlier runs: 1 file, 3\.\d kB\. Fix their cause, then send them again: --retry-failed\.\n"
    assert re.search(re.escape(files) + hint + r"\Z", run(site, command="status").stdout)
    # And after a run that found nothing new.
    again = run(site).stdout
    assert again.startswith("Nothing new")
    assert re.search(f"^{hint}", again, re.MULTILINE)
    checked = run(site, command="check").stdout
    assert re.search(rf"^ok +nothing is left to do: .*\nnote +{hint}", checked, re.MULTILINE)
    files = files.removesuffix("Done. Every line and every statement is accounted for.\n")
    assert re.search(re.escape(files) + hint + r"\Z", run(site, command="status").stdout)
    next((site.folder / "ledger").glob("*/0001/result.json")).unlink()
    for dead_letters in (site.folder / "ledger").glob("*/0001/dead-letters.jsonl"):
        dead_letters.unlink()
    assert run(site, command="status").stdout == "Plan 0001, finished. The last run found nothing new.\n"


def test_status_changes_nothing_and_needs_the_ledger_alone(site: ForkedSite) -> None:
    """No source, no destination, no ledger yet; later, a ledger that can't be written."""
    elsewhere = {**local("source", site.folder / "gone"), **local("destination", site.folder / "gone, too")}
    done = site.run(elsewhere, command="status")
    assert (done.status, done.stderr) == (0, "")
    assert done.stdout.startswith("This job has not run yet ")
    assert sorted(path.name for path in site.folder.iterdir() if path.is_dir()) == ["jobs", "logs", "out"]

    site.log(MIX)
    assert run(site).status == 0
    site.logs.rename(site.folder / "moved away")
    site.out.rename(site.folder / "moved away, too")
    ledger = site.folder / "ledger"
    contents = {path: path.read_bytes() for path in ledger.rglob("*") if path.is_file()}
    done = run(site, command="status")
    assert done.status == 0, done.stderr
    assert "Plan 0001" in done.stdout
    assert "accounted for" in done.stdout
    assert {path: path.read_bytes() for path in ledger.rglob("*") if path.is_file()} == contents
    assert not site.logs.exists()
    assert not site.out.exists()


def test_the_owner_of_a_lock_in_an_object_store_is_known(nanio_bucket: Bucket) -> None:
    from tutor_transform_logs.lms_job.config.schema import load
    from tutor_transform_logs.lms_job.storage.factory import open_storage

    storage = open_storage(load({**nanio_bucket.settings("source"), "source_provider": "MINIO"}).source, 5.0)
    assert current_owner(storage, "job", local=False) is None
    with remote_lock(storage, "job/lock.json"):
        owner = current_owner(storage, "job", local=False)
        assert owner is not None
        assert re.fullmatch(r"pid \d+ on .+, for 0 s, last heartbeat 0 s ago", str(owner))
    assert current_owner(storage, "job", local=False) is None


@given(st.text() | st.builds(json.dumps, st.dictionaries(st.sampled_from(["pid", "host", "since", "beat"]), st.text())))
def test_half_a_lock_is_somebody_all_the_same(text: str) -> None:
    assert str(LeaseOwner.of(text))
