"""``tutor transform-logs report``: finds the newest page, says what is on it, and opens it."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from tests.harness.demo_lms import DemoLms
from tests.harness.forked_site import ForkedSite
from tests.harness.tutor_cli import Tutor
from tutor_transform_logs.demo.log_writer import Mix
from tutor_transform_logs.reports import newest_report


@pytest.fixture(scope="module")
def ledger(demo_lms_template: DemoLms, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger that the job itself has made, in two runs."""
    folder = tmp_path_factory.mktemp("job")
    site = ForkedSite(folder, demo_lms_template.copy_to(folder / "lms.sqlite3"))
    for number in (1, 2):
        site.log(Mix(good=3 * number, broken=1), name=f"tracking.log.{number}", seed=number)
        done = site.run(site.source(), site.to_files())
        assert done.status == 0, done.stderr
    return site.ledger


def place(ledger: Path, tutor: Tutor, *below: str) -> Path:
    folder = tutor.root.joinpath("data", "lms", *(below or ("transform-logs",)))
    shutil.copytree(ledger, folder)
    return folder


def test_the_newest_is_found_and_its_headline_printed(tutor: Tutor, ledger: Path) -> None:
    folder = place(ledger, tutor)
    done = tutor("transform-logs", "report")
    assert done.status == 0, done.output
    path, job, ending, way, numbers = done.output.splitlines()
    assert Path(path) == next(folder.iterdir()) / "0002" / "report.html"
    assert f"Job {Path(path).parts[-3]}, plan 0002, 20" in job
    assert ending == "Done. Every line and every statement is accounted for."
    assert way.startswith("From LOCAL ")
    assert way.endswith("(xapi)")
    assert numbers == "7 lines, 6 events made into statements, 1 dead letter"
    assert not done.calls


def test_open_gives_it_to_the_browser(tutor: Tutor, ledger: Path, tmp_path: Path) -> None:
    place(ledger, tutor)
    opener = tmp_path / "xdg-open"
    opener.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    opener.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{tutor.environ['PATH']}"
    headless = tutor("transform-logs", "report", "--open", PATH=path, DISPLAY="", WAYLAND_DISPLAY="", BROWSER="")
    assert headless.status == 1
    assert "Error: No browser can be opened here." in headless.output
    assert not (tmp_path / "opened").exists()
    done = tutor("transform-logs", "report", "--open", PATH=path, DISPLAY=":0")
    assert done.status == 0, done.output
    page = done.output.splitlines()[0]
    deadline = time.monotonic() + 30
    # The browser is not waited for.
    while not (tmp_path / "opened").exists() or not (tmp_path / "opened").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert (tmp_path / "opened").read_text() == f"{page}\n"

    nothing = tmp_path / "nothing"
    nothing.mkdir()
    failed = tutor("transform-logs", "report", "--open", PATH=str(nothing), DISPLAY=":0")
    assert failed.status == 1
    assert f"No browser can be opened here. Open this in one: file://{page}" in failed.output
    assert "Traceback" not in failed.output


def test_the_ledger_s_settings_are_obeyed(tutor: Tutor, ledger: Path) -> None:
    tutor.save(TRANSFORM_LOGS_LEDGER_CONTAINER="kept", TRANSFORM_LOGS_LEDGER_PREFIX="a/b")
    folder = place(ledger, tutor, "kept", "a", "b")
    assert tutor.must("transform-logs", "report").startswith(str(folder))
    tutor.save(TRANSFORM_LOGS_LEDGER_KEY="/openedx/data/deep/")
    folder = place(ledger, tutor, "deep", "kept", "a", "b")
    assert tutor.must("transform-logs", "report").startswith(str(folder))


def test_without_a_report_it_says_how_to_get_one(tutor: Tutor) -> None:
    assert "There is no report in " in tutor("transform-logs", "report").error


@pytest.mark.parametrize(
    ("settings", "detail"),
    [
        ({"KEY": "/mnt/elsewhere"}, ["/mnt/elsewhere/transform-logs", "not below /openedx/data", "report.html"]),
        ({"PROVIDER": "MINIO", "CONTAINER": "books", "PREFIX": "x/"}, ["s3://books/x/", "x/<job>/<plan>/report.html"]),
        ({"KEY": "/openedx/data/../../etc"}, [".."]),
    ],
)
def test_a_ledger_that_is_not_here_is_told(tutor: Tutor, settings: dict[str, str], detail: list[str]) -> None:
    tutor.save(**{f"TRANSFORM_LOGS_LEDGER_{name}": value for name, value in settings.items()})
    error = tutor("transform-logs", "report").error
    assert all(word in error for word in detail)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"reported": 5}', '{"lines": {}, "reasons": 3}'])
def test_what_is_not_a_result_is_skipped(ledger: Path, tmp_path: Path, content: str) -> None:
    folder = shutil.copytree(ledger, tmp_path / "ledger")
    other = folder / "ffffffffffff" / "0009"
    other.mkdir(parents=True)
    (other / "report.html").write_text("")
    (other / "result.json").write_text(content)
    (folder / "note.txt").write_text("not a job")
    assert newest_report(folder).page.parent.name == "0002"
    results = {path: json.loads(path.read_text()) for path in folder.glob("*/000[12]/result.json")}
    first: Any = min(results)
    first.write_text(json.dumps({**results[first], "reported": "2999-01-01T00:00:00Z"}))
    assert newest_report(folder).page.parent.name == "0001"
