"""The demo from its command to the files it leaves."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.harness.demo_lms import REPOSITORY
from tests.harness.forked_demo import run_demo
from tests.harness.job import newest
from tests.harness.site import is_manifest
from tutor_transform_logs.demo import runner, samples
from tutor_transform_logs.demo.outcomes import Kind

XAPI_FIELDS = {"id", "actor", "verb", "object", "timestamp", "version"}


def demo_process(kind: Kind, folder: Path) -> subprocess.CompletedProcess[str]:
    """The demo as its users start it: from the command line, in new processes, which nothing is loaded in yet."""
    return subprocess.run(
        [sys.executable, "-m", "tutor_transform_logs.demo", "--type", kind, "--output", "out"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=120,
    )


def statements(output: Path) -> list[dict[str, Any]]:
    files = [path for path in sorted((output / "statements").iterdir()) if not is_manifest(path.name)]
    return [json.loads(line) for path in files for line in path.read_text().splitlines()]


def saved_result(output: Path) -> dict[str, Any]:
    file = newest(output / "ledger", "result.json")
    assert file is not None
    result: dict[str, Any] = json.loads(file.read_text())
    return result


@pytest.mark.parametrize("kind", ["xapi", "caliper"])
def test_the_demo_ends_with_statements_and_says_where(kind: Kind, tmp_path: Path) -> None:
    done = demo_process(kind, tmp_path)
    assert done.returncode == 0, done.stderr
    expected, output = samples.expected(kind), tmp_path / "out"
    made = statements(output)
    assert len(made) == expected.statements
    for statement in made:
        # A raw event has these two.
        assert "event_type" not in statement
        assert "event_source" not in statement
        if kind == "xapi":
            assert statement.keys() >= XAPI_FIELDS
            assert re.fullmatch(r"[0-9a-f-]{36}", statement["id"])
            assert statement["version"] == "1.0.3"
        else:
            assert statement.keys() == {"sensor", "sendTime", "data", "dataVersion"}
            assert all(event["id"].startswith("urn:uuid:") for event in statement["data"])

    lines = saved_result(output)["lines"]
    assert lines["lines"] == expected.lines
    assert lines["transformed"] == expected.count("transformed")
    assert lines["blank"] == expected.count("blank")
    assert lines["unparsable"] == expected.count("unparsable")
    assert lines["unknown_event"] == expected.count("unknown_event")
    # An event type without a transformer is one that can't be transformed.
    assert lines["untransformable"] == expected.untransformable + expected.count("no_transformer")

    shown = done.stdout
    assert f"{expected.statements:,} lines in out/statements/" in " ".join(shown.split())
    assert str(tmp_path) not in shown.split("Where to look")[1]
    first = shown.split("The first ")[1].split("Where to look")[0]
    assert ('"verb"' if kind == "xapi" else '"sensor"') in first
    # The terminal is for reading: statements and tracebacks go into the LMS's log.
    assert "Traceback" not in done.stdout + done.stderr
    assert (output / "lms.log").stat().st_size > 100_000
    assert "broken on purpose" in shown
    # What a user opens next is said last, and is easy to find.
    assert shown.splitlines()[-1].endswith(" out/report.html")
    page = newest(output / "ledger", "report.html")
    assert page is not None
    assert (output / "report.html").read_bytes() == page.read_bytes()
    for line in shown.splitlines():
        if str(tmp_path) not in line:
            assert len(line) <= 79, line


def test_a_second_demo_finds_nothing_new_and_a_new_line_is_taken_up(tmp_path: Path) -> None:
    first = run_demo("xapi", tmp_path)
    assert first.status == 0, first.stderr
    before = {path: path.read_bytes() for path in (tmp_path / "out/statements").iterdir()}
    second = run_demo("xapi", tmp_path)
    assert second.status == 0, second.stderr
    assert {path: path.read_bytes() for path in (tmp_path / "out/statements").iterdir()} == before

    with (tmp_path / "out/logs/tracking.log").open("ab") as log:
        log.write(b"\n" + samples.content("tracking.log").splitlines()[0].replace(b"2026-01-03", b"2026-01-04") + b"\n")
    third = run_demo("xapi", tmp_path)
    assert third.status == 0, third.stderr
    old = b"".join(content for path, content in before.items() if not is_manifest(path.name))
    assert len(statements(tmp_path / "out")) == len(old.splitlines()) + 1


@pytest.mark.parametrize("at", [1, 2])
def test_an_interrupted_demo_run_again_ends_in_the_same_files(tmp_path: Path, at: int) -> None:
    """Byte for byte; it says what it skips and what it resumes.

    Both in an LMS with one database: it gives some of its users a random id when they are met first.
    """
    undisturbed, interrupted = (tmp_path / name for name in ("undisturbed", "interrupted"))
    for folder in (undisturbed, interrupted):
        folder.mkdir()
    assert run_demo("xapi", undisturbed).status == 0
    (interrupted / "out").mkdir()
    for path in (*(undisturbed / "out").glob("lms.sqlite3*"), undisturbed / "out/job-xapi.json"):
        shutil.copy(path, interrupted / "out")
    first = run_demo("xapi", interrupted, {"label": "entry write: after", "number": at, "signal": "SIGINT"})
    assert first.status == 4, first.stdout + first.stderr
    assert "Interrupted (SIGINT)." in first.stdout
    assert "run the same command again to resume" in first.stdout
    assert not list((interrupted / "out/statements").glob("*_xapi_*.log"))
    second = run_demo("xapi", interrupted)
    assert second.status == 0, second.stdout + second.stderr
    assert "Resuming plan 0001" in second.stderr
    assert f"of 3 ({at} done, 0 started)" in second.stderr
    found = [sorted((folder / "out/statements").iterdir()) for folder in (undisturbed, interrupted)]
    assert [path.read_bytes() for path in found[1]] == [path.read_bytes() for path in found[0]]
    assert len(found[0]) == 2
    letters = [list((folder / "out/ledger").rglob("dead-letters.jsonl")) for folder in (undisturbed, interrupted)]
    assert [path.read_bytes() for path in letters[1]] == [path.read_bytes() for path in letters[0]]


def test_a_folder_that_is_not_the_demos_is_left_alone(tmp_path: Path) -> None:
    output = tmp_path / "out"
    (output / "logs").mkdir(parents=True)
    log = output / "logs/tracking.log"
    log.write_text("mine\n")
    done = demo_process("xapi", tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == f"{output} has files that are not the demo's: choose another folder with --output.\n"
    assert [path for path in output.rglob("*") if path.is_file()] == [log]
    assert log.read_text() == "mine\n"


def test_both_types_go_to_one_output(tmp_path: Path) -> None:
    assert run_demo("xapi", tmp_path).status == 0
    assert run_demo("caliper", tmp_path).status == 0
    names = [path.name for path in (tmp_path / "out/statements").iterdir() if not is_manifest(path.name)]
    assert sorted(name.split("_")[2] for name in names) == ["caliper", "xapi"]


def test_a_folder_that_can_not_be_written_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert runner.run_demo("xapi", file) == 1
    assert (
        capsys.readouterr().err == f"{file} can't be written (Not a directory): choose another folder with --output.\n"
    )


def test_without_the_extra_the_demo_says_what_to_install(tmp_path: Path) -> None:
    done = subprocess.run(
        # -S: no site-packages, and so none of the extra's.
        [sys.executable, "-S", "-m", "tutor_transform_logs.demo"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "pip install 'tutor-contrib-transform-logs[demo]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
