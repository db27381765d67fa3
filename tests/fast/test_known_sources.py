"""``python -m tutor_transform_logs.lms_job.fast_path``: which replaced code is of a known version."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.demo_lms import LMS_FOLDER, SETTINGS_MODULE
from tutor_transform_logs.lms_job.fast_path import __main__ as command
from tutor_transform_logs.lms_job.fast_path import sources

REPOSITORY = Path(__file__).resolve().parents[2]


def run(**environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(LMS_FOLDER), str(REPOSITORY)])
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tutor_transform_logs.lms_job.fast_path"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
    )


def test_every_source_is_printed_with_its_digest() -> None:
    done = run(DJANGO_SETTINGS_MODULE=SETTINGS_MODULE)
    assert (done.returncode, done.stderr) == (0, "")
    for name, known in sources.KNOWN_SOURCES.items():
        [row] = [line for line in done.stdout.splitlines() if line.startswith(f"{name} ") and len(line) > 40]
        assert row.split()[-2] in known
        assert row.endswith("yes")
    assert all(len(line) <= 80 for line in done.stdout.splitlines())


def test_missing_settings_are_said_in_one_line() -> None:
    done = run()
    assert done.returncode == 1
    assert done.stderr == "DJANGO_SETTINGS_MODULE is not set: run this where the LMS runs, or set it.\n"
    done = run(DJANGO_SETTINGS_MODULE="no.such")
    assert done.returncode == 1
    assert done.stderr == "The settings no.such can't be loaded: No module named 'no'.\n"


@pytest.mark.usefixtures("lms")
def test_unknown_and_missing_code_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", SETTINGS_MODULE)
    monkeypatch.setitem(sources.KNOWN_SOURCES, "tincan", frozenset())
    gone = sources.ReplacedCode("is gone in a later version", lambda: (importlib.import_module("tincan.gone"),))
    monkeypatch.setitem(sources.REPLACED_CODE, "get_data", gone)
    assert command.main() == 1
    out = capsys.readouterr().out
    assert sum(line.endswith("NO") for line in out.splitlines()) == 2
    assert "not found" in out
    assert "2 of 8 sources are not known" in out
    assert all(len(line) <= 80 for line in out.splitlines())
