"""The tincan of edx-platform, edx-tincan-py35: it writes the same folder as the one of event-routing-backends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import venvs
from tests.harness.demo_lms import LMS_FOLDER, REPOSITORY, SETTINGS_MODULE


@pytest.fixture(scope="module")
def edx_tincan() -> Path:
    """A folder that holds it."""
    package = "edx-tincan-py35==2.0.0"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target"]
    return venvs.filled_once("edx-tincan", [package], lambda folder: venvs.install([*pip, folder], [package]))


def test_it_is_known(edx_tincan: Path) -> None:
    path = os.pathsep.join([str(edx_tincan), str(LMS_FOLDER), str(REPOSITORY)])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tutor_transform_logs.lms_job.fast_path"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": path, "DJANGO_SETTINGS_MODULE": SETTINGS_MODULE},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert {"tincan 1.0.0", "edx-tincan-py35 2.0.0"} <= set(done.stdout.splitlines())


def test_with_it_statements_are_those_of_erb(edx_tincan: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "0",
        "-p",
        "no:cacheprovider",
        "tests/fast/test_variations.py",
    ]
    path = os.pathsep.join([str(edx_tincan), str(REPOSITORY)])
    environment = {**os.environ, "PYTHONPATH": path, "TRANSFORM_LOGS_VARIATIONS": "300"}
    done = subprocess.run([*command, "-k", "xapi"], cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
