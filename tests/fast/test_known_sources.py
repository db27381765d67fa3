"""``python -m tutor_transform_logs.lms_job.fast_path``: which replaced code is of a known version."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from tests.harness.demo_lms import LMS_FOLDER, SETTINGS_MODULE
from tests.harness.erb import transformer
from tests.harness.parity import KINDS
from tutor_transform_logs.demo.outcomes import Kind
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
    assert "2 of 10 sources are not known" in out
    assert all(len(line) <= 80 for line in out.splitlines())


@pytest.mark.usefixtures("lms")
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_says_what_it_does_not_know_and_what_that_means(
    kind: Kind, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In one line, once. Caliper does without tincan."""
    with transformer(kind) as made:
        assert made.notices == [notice for notice in made.notices if "fast path" not in notice]
    monkeypatch.setitem(sources.KNOWN_SOURCES, "tincan", frozenset())
    installed = tmp_path / "edx_tincan_py35-2.0.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: edx-tincan-py35\nVersion: 2.0.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with transformer(kind) as made:
        said = [notice for notice in made.notices if "fast path" in notice]
    erb = metadata.version("edx-event-routing-backends")
    tracking = metadata.version("event-tracking")
    assert said == ([] if kind == "caliper" else [
        "The fast path does not know the installed version of tincan (makes and serialises objects), and uses it as it "
        "is: the statements are the same, made more slowly. Installed: "
        f"edx-event-routing-backends {erb}, event-tracking {tracking}, tincan 1.0.0, edx-tincan-py35 2.0.0. "
        "Both tincan packages write the folder tincan/: the one installed last is used."
    ])  # fmt: skip
