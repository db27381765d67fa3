"""``--notify``: the real ``tutor`` runs the command when the job has ended, however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.harness.tutor_cli import Tutor
from tutor_transform_logs.lms_job.util.phase_outcome import PhaseOutcome
from tutor_transform_logs.lms_job.util.run_summary import RunNumbers, summarise

NUMBERS = RunNumbers("Done.", {"transformed": 5, "blank": 2}, {"LRS": {"made": 5, "stored": 5}}, 1)


def outcome(status: int) -> str:
    """What the job writes at its end."""
    return PhaseOutcome(status, summary=summarise(status, 9.0, NUMBERS, "k1", "xapi")).to_line()


def command(folder: Path) -> str:
    said = "$TRANSFORM_LOGS_STATUS $TRANSFORM_LOGS_LINES $TRANSFORM_LOGS_TYPE"
    return f'cat > {folder}/stdin; echo "{said}" > {folder}/said'


def told(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "stdin").read_text())
    return found


@pytest.mark.parametrize("status", [0, 1, 3, 4])
def test_the_command_gets_what_the_job_said(each_tutor: Tutor, tmp_path: Path, status: int) -> None:
    each_tutor.save(TRANSFORM_LOGS_NOTIFY=command(tmp_path))
    done = each_tutor.replay(JOB_STATUS=str(status), JOB_OUTCOME=outcome(status))
    assert done.status == status, done.output
    assert (tmp_path / "said").read_text() == f"{status} 7 xapi\n"
    assert told(tmp_path) == json.loads(outcome(status))["summary"] | {"ended": told(tmp_path)["ended"]}
    # It may hold a secret, and is in the private config file alone.
    assert str(tmp_path / "stdin") not in done.output
    assert not [word for word in done.job["argv"] if str(tmp_path / "stdin") in word]


@pytest.mark.parametrize("said", ["", "Killed", outcome(0)], ids=["nothing", "garbage", "of another run"])
def test_a_job_that_was_killed_is_told_by_its_status_alone(tutor: Tutor, tmp_path: Path, said: str) -> None:
    variables = {"JOB_OUTCOME": said} if said else {}
    done = tutor.replay("--notify", command(tmp_path), JOB_STATUS="137", **variables)
    assert done.status == 1
    assert (tmp_path / "said").read_text() == "137 0 xapi\n"
    assert told(tmp_path)["ending"].startswith("Failed. ")


def test_an_outcome_of_an_earlier_run_is_not_this_ones(tutor: Tutor, tmp_path: Path) -> None:
    assert tutor.replay("--notify", command(tmp_path), JOB_OUTCOME=outcome(0)).status == 0
    assert tutor.replay("--notify", command(tmp_path)).status == 0
    assert (tmp_path / "said").read_text() == "0 0 xapi\n"


@pytest.mark.parametrize("more", [("--dry-run",), ("--status",), ("--check",), ("--verify",), ("--source-port", "x")])
def test_no_run_no_command(tutor: Tutor, tmp_path: Path, more: tuple[str, ...]) -> None:
    tutor.replay("--notify", command(tmp_path), *more)
    assert not list(tmp_path.glob("s*"))


def test_a_url_is_for_the_job(tutor: Tutor) -> None:
    done = tutor.replay("--notify", "https://hooks.example.org/s3cr3t")
    assert done.status == 0
    assert done.config["notify"] == "https://hooks.example.org/s3cr3t"
    assert "s3cr3t" not in done.output
    refused = tutor.replay("--notify", "ftp://hooks.example.org/s3cr3t")
    assert refused.error.startswith("Error: TRANSFORM_LOGS_NOTIFY (--notify): the value is a URL that can't be used")
    assert "s3cr3t" not in refused.output


def test_a_command_that_fails_is_a_warning(tutor: Tutor) -> None:
    done = tutor.replay("--notify", "echo to the terminal; exit 3")
    assert done.status == 0
    assert "to the terminal" in done.output
    assert "The command of TRANSFORM_LOGS_NOTIFY failed (exit status 3). Fix it." in done.output


def test_ctrl_c_is_told(tutor: Tutor, tmp_path: Path) -> None:
    environ = {**tutor.environ, "TUTOR_ROOT": str(tutor.root), "RECORDING": str(tmp_path / "calls"), "JOB_SECS": "60"}
    words = ["local", "do", "transform-tracking-logs", "--notify", command(tmp_path)]
    process = subprocess.Popen(
        [tutor.bin / "tutor", *words], env=environ, start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "calls").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    # docs/howto/run.rst says what the shell sees: Tutor has its own ending for this.
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors.split()[-1]) == (1, "Aborted!")
    assert (tmp_path / "said").read_text() == "4 0 xapi\n"
