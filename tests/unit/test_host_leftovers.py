"""What ``--check`` says of a schedule that was unset and is still in the cluster. ``kubectl`` is a stand-in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tutor_transform_logs.kubernetes import Replay


@pytest.mark.parametrize("schedule", ["", "30 2 * * *"])
@pytest.mark.parametrize("is_there", [True, False])
def test_a_schedule_that_is_left_in_the_cluster_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], schedule: str, is_there: bool
) -> None:
    program = tmp_path / "kubectl"
    answer = "echo cronjob.batch/transform-logs" if is_there else "true"
    program.write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/calls\n{answer}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    site: Any = {"K8S_NAMESPACE": "lms", "TRANSFORM_LOGS_K8S_PODS": 1, "TRANSFORM_LOGS_K8S_CRON_SCHEDULE": schedule}
    runner: Any = None
    Replay(runner, site)._tell_leftovers()
    said = capsys.readouterr().err
    command = "Run: kubectl delete --namespace=lms cronjob/transform-logs secret/transform-logs-cron\n"
    assert said.endswith(command) == (is_there and not schedule)
    assert bool(said) == (is_there and not schedule)
    calls = (tmp_path / "calls").read_text() if (tmp_path / "calls").exists() else ""
    # Nothing is changed.
    assert set(calls.splitlines()) <= {"get --namespace=lms cronjob transform-logs --ignore-not-found --output=name"}
