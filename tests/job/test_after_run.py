"""The end of a run is told to a URL or a command, and in a file for Prometheus; however the run ends."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.forked_site import ForkedSite
from tests.harness.http_sinks import Answer, StandIn, start_stand_in
from tests.harness.process import free_port
from tutor_transform_logs.demo.log_writer import Mix
from tutor_transform_logs.lms_job.deliver.choice import FROM_HOST
from tutor_transform_logs.lms_job.util import run_summary
from tutor_transform_logs.lms_job.util.phase_outcome import VARIABLE

MIX = Mix(good=12, page_view=4, broken=1)
NOT_REACHED = "The URL of TRANSFORM_LOGS_NOTIFY was not reached"


@pytest.fixture
def webhook() -> Iterator[StandIn]:
    """Takes whatever is posted to it. What protects it is the secret in its URL."""
    with start_stand_in(lambda _: Answer(200, b"ok")) as server:
        server.url += "/services/T000/s3cr3t"
        yield server


def told(webhook: StandIn) -> dict[str, Any]:
    """The only summary that was sent."""
    [request] = webhook.requests
    assert (request.method, request.path) == ("POST", "/services/T000/s3cr3t")
    assert request.headers["content-type"] == "application/json"
    summary: dict[str, Any] = request.json()
    return summary


def metrics(path: Path) -> dict[str, float]:
    """Name and labels but those of the job -> value."""
    lines = [line.rpartition(" ") for line in path.read_text().splitlines() if not line.startswith("#")]
    return {name.partition("{")[0].removeprefix("transform_logs_"): float(value) for name, _, value in lines}


def test_a_run_is_told_in_numbers(site: ForkedSite, webhook: StandIn, tmp_path: Path) -> None:
    site.log(MIX)
    path = tmp_path / "metrics" / "replay.prom"
    done = site.run(site.source(), site.to_files(), notify=webhook.url, metrics_file=str(path))
    assert done.status == 0, done.detail
    assert done.result is not None
    summary = told(webhook)
    made = sum(to["stored"] for to in done.result["destinations"])
    assert (
        summary.items()
        >= {
            "status": 0,
            "ending": done.result["ending"],
            "job_key": done.result["job_key"],
            "type": "xapi",
            "lines": done.result["lines"]["lines"],
            "statements": made,
            "stored": made,
            "duplicates": 0,
            "rejected": 0,
            "dead_letters": 1,
        }.items()
    )
    assert summary["text"].startswith(f"Replay of tracking logs: {done.result['ending']} (17 lines, ")
    assert 0 < summary["duration_secs"] < 60
    # No learner, no course, no log, no path.
    assert not [word for word in ("learner", "@", "course-v1", "tracking.log", str(tmp_path)) if word in str(summary)]
    found = metrics(path)
    assert (found["last_run_exit_status"], found["last_run_dead_letters"]) == (0, 1)
    assert found["last_success_timestamp_seconds"] == pytest.approx(time.time(), abs=60)


def test_nothing_new_is_a_success_too(site: ForkedSite, webhook: StandIn, tmp_path: Path) -> None:
    site.log(MIX)
    path = tmp_path / "replay.prom"
    assert site.run(site.source(), site.to_files()).status == 0
    assert site.run(site.source(), site.to_files(), notify=webhook.url, metrics_file=str(path)).status == 0
    summary = told(webhook)
    assert (summary["ending"], summary["lines"], summary["status"]) == ("Nothing new.", 0, 0)
    assert "last_success_timestamp_seconds" in metrics(path)


def test_a_run_that_fails_before_its_plan_is_told(site: ForkedSite, webhook: StandIn, tmp_path: Path) -> None:
    path = tmp_path / "replay.prom"
    done = site.run(site.source(), site.to_files(), notify=webhook.url, metrics_file=str(path))
    assert done.status == 1, done.detail
    summary = told(webhook)
    assert (summary["status"], summary["lines"]) == (1, 0)
    assert summary["ending"] == "Failed. Fix what the message names and run the same command again."
    assert metrics(path)["last_run_exit_status"] == 1


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_run_is_told(site: ForkedSite, webhook: StandIn, tmp_path: Path, how: int) -> None:
    site.log(MIX)
    path = tmp_path / "replay.prom"
    more = {"batch_size": 1, "sleep_between_batches_secs": 30, "notify": webhook.url, "metrics_file": str(path)}
    run = site.start(site.source(), site.to_files(), more)
    while not list(site.ledger.glob("*/*/*.json")):
        assert not run.ended(0.05), run.err()
    run.send(how)
    assert run.wait().status == 4
    assert told(webhook)["status"] == 4
    assert metrics(path)["last_run_exit_status"] == 4
    assert "last_success_timestamp_seconds" not in metrics(path)


def test_a_dry_run_tells_nobody(site: ForkedSite, webhook: StandIn, tmp_path: Path) -> None:
    site.log(MIX)
    path = tmp_path / "replay.prom"
    hooks = {"notify": webhook.url, "metrics_file": str(path)}
    assert site.run(site.source(), site.to_files(), hooks, dry_run=True).status == 0
    assert site.run(site.source(), site.to_files()).status == 0
    for command in ("status", "verify", "check"):
        assert site.run(site.source(), site.to_files(), hooks, command=command).status == 0
    assert not path.exists()
    assert webhook.requests == []


def test_the_phases_of_kubernetes_tell_once(site: ForkedSite, webhook: StandIn, tmp_path: Path) -> None:
    site.log(MIX)
    for command in ("plan", "work", "report"):
        outcome = tmp_path / "outcome.json"
        done = site.run(
            site.source(), site.to_files(), command=command, notify=webhook.url, environment={VARIABLE: str(outcome)}
        )
        assert done.status == 0, done.detail
        assert len(webhook.requests) == (command == "report")
        # The command that has started the phases gets it, too.
        assert json.loads(outcome.read_text())["summary"] == (told(webhook) if command == "report" else {})
    # Nothing comes after a plan with nothing new.
    assert site.run(site.source(), site.to_files(), command="plan", notify=webhook.url).status == 0
    assert webhook.requests[-1].json()["ending"] == "Nothing new."


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (Answer(404, b"no s3cr3t"), "it answered 404"),
        (Answer(302, b"", {"Location": "http://127.0.0.1:1/elsewhere"}), "it answered 302"),
        (Answer(200, hang_secs=30), "no answer within 5 s"),
        (Answer(200, b"x" * 30, drip_secs=1), "no answer within 5 s"),
        (Answer(no_answer=True), "no answer within 5 s"),
    ],
    ids=["404", "redirect", "hangs", "drips", "cut off"],
)
def test_a_url_that_fails_is_a_warning(site: ForkedSite, answer: Answer, problem: str) -> None:
    site.log(MIX)
    with start_stand_in(lambda _: answer) as server:
        began = time.monotonic()
        done = site.run(site.source(), site.to_files(), notify=f"{server.url}/s3cr3t")
    assert done.status == 0, done.detail
    assert f"{NOT_REACHED} ({problem})" in done.stderr
    assert "s3cr3t" not in done.detail
    assert time.monotonic() - began < 25
    assert len(server.requests) == 1


def test_nobody_at_the_url_is_a_warning(site: ForkedSite) -> None:
    site.log(MIX)
    done = site.run(site.source(), site.to_files(), notify=f"http://127.0.0.1:{free_port()}/s3cr3t")
    assert done.status == 0, done.detail
    assert f"{NOT_REACHED} (connection refused)" in done.stderr
    assert "s3cr3t" not in done.detail


def test_a_metrics_file_that_can_not_be_written_is_a_warning(site: ForkedSite) -> None:
    site.log(MIX)
    done = site.run(site.source(), site.to_files(), metrics_file="/dev/null/a/x.prom")
    assert done.status == 0, done.detail
    assert "The metrics can't be written to /dev/null/a/x.prom (Not a directory). Check TRANSFORM_LOGS_" in done.stderr


def test_quiet_hides_no_warning(site: ForkedSite) -> None:
    site.log(MIX)
    hooks = {"notify": f"http://127.0.0.1:{free_port()}/s3cr3t", "metrics_file": "/dev/null/a/x.prom"}
    done = site.run(site.source(), site.to_files(), hooks, quiet=True)
    assert done.status == 0, done.detail
    metrics_file, url = done.stderr.splitlines()
    assert metrics_file.startswith("The metrics can't be written to /dev/null/a/x.prom (Not a directory).")
    assert url.startswith(f"{NOT_REACHED} (connection refused)")


def test_without_a_host_the_job_runs_the_command(site: ForkedSite, tmp_path: Path) -> None:
    """As in the pod of a CronJob. Where tutor has started the job, it runs the command itself."""
    site.log(MIX)
    command = f"cat > {tmp_path}/stdin; echo $TRANSFORM_LOGS_STATUS $TRANSFORM_LOGS_LINES > {tmp_path}/said; echo out"
    first = site.run(site.source(), site.to_files(), notify=command, environment={FROM_HOST: "1"})
    assert first.status == 0, first.detail
    assert not (tmp_path / "said").exists()
    site.log(MIX, name="tracking.log.1", seed=2)
    done = site.run(site.source(), site.to_files(), notify=command)
    assert done.status == 0, done.detail
    assert (tmp_path / "said").read_text() == "0 17\n"
    assert json.loads((tmp_path / "stdin").read_text())["dead_letters"] == 1
    # What it prints is not in the job's result.
    assert "out\n" not in done.stdout
    failed = site.run(site.source(), site.to_files(), notify="exit 7", log_format="json")
    assert failed.status == 0
    [warning] = [json.loads(line) for line in failed.stderr.splitlines() if '"warning"' in line]
    assert warning["message"] == (
        "The command of TRANSFORM_LOGS_NOTIFY failed (exit status 7). Fix it. The run is not affected."
    )


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_command_that_the_job_runs(site: ForkedSite, tmp_path: Path, how: int) -> None:
    """And all that the command has started: docker stop and Ctrl-C need not wait for a minute."""
    site.log(MIX)
    command = f"sleep 300 & echo $! > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/child; wait"
    run = site.start(site.source(), site.to_files(), {"notify": command})
    while not (tmp_path / "child").exists():
        assert not run.ended(0.05), run.err()
    run.send(how)
    began = time.monotonic()
    done = run.wait()
    assert time.monotonic() - began < 10
    assert done.status == 0, done.detail
    assert "The command of TRANSFORM_LOGS_NOTIFY failed (it was killed). Fix it." in done.stderr
    assert not _is_alive(int((tmp_path / "child").read_text()))


def test_what_takes_too_long_ends_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_summary, "COMMAND_SECS", 1.0)
    monkeypatch.setattr(sys, "stderr", (tmp_path / "stderr").open("w"))
    command = f"sleep 300 & echo $! > {tmp_path}/child; sleep 300; true"
    assert run_summary.run_command(command, {"status": 0}) == "it did not end within 1 s"
    assert not _is_alive(int((tmp_path / "child").read_text()))


def test_the_command_does_not_ignore_signals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job ignores them at its end, and a process that is started inherits that."""
    monkeypatch.setattr(sys, "stderr", (tmp_path / "stderr").open("w"))
    before = [signal.signal(number, signal.SIG_IGN) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        assert run_summary.run_command(f"grep SigIgn /proc/self/status > {tmp_path}/ignored", {"status": 0}) == ""
        assert signal.getsignal(signal.SIGTERM) == signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        for number, handler in zip((signal.SIGTERM, signal.SIGINT), before, strict=True):
            signal.signal(number, handler)
    ignored = int((tmp_path / "ignored").read_text().split()[1], 16)
    assert not [number for number in (signal.SIGTERM, signal.SIGINT) if ignored >> (number - 1) & 1]


def _is_alive(process: int) -> bool:
    """Within a moment: it is somebody else's child."""
    for _ in range(40):
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return False
        if state == "Z":
            return False
        time.sleep(0.05)
    return True
