"""A real ``tutor`` with the plugin, of each supported version, and a ``docker`` that writes down its calls."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.tutor_cli import TUTORS, Tutor, fresh_tutor

REPOSITORY = Path(__file__).resolve().parents[2]

# Notes each call and, while it is there to be seen, the job's config file and who may read it. Its status is the job's.
RECORDER = r"""
import json, os, re, stat, sys, time
from pathlib import Path
call = {"argv": sys.argv[1:], "environ": dict(os.environ)}
if "ls" in sys.argv:
    print("[]")
    sys.exit(0)
found = re.search(r"/config/(\S+\.json)", sys.argv[-1])
if found:
    path = Path(os.environ["TUTOR_ROOT"], "env/plugins/transform_logs/private/config", found[1])
    modes = [stat.S_IMODE(each.stat().st_mode) for each in (path, path.parent, path.parent.parent)]
    call.update(config=json.loads(path.read_text()), modes=modes, path=str(path))
with open(os.environ["RECORDING"], "a") as file:
    file.write(json.dumps(call) + "\n")
time.sleep(float(os.environ.get("JOB_SECS", "0")))
if found and "JOB_OUTCOME" in os.environ:
    data = Path(os.environ["TUTOR_ROOT"], "data/lms")
    data.mkdir(parents=True, exist_ok=True)
    name = os.environ["TRANSFORM_LOGS_OUTCOME_FILE"].removeprefix("/openedx/data/")
    (data / name).write_text(os.environ["JOB_OUTCOME"])
sys.exit(int(os.environ.get("JOB_STATUS", "0")) if found else 0)
"""


@pytest.fixture(scope="session")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PATH with a ``docker`` that records."""
    folder = tmp_path_factory.mktemp("bin")
    docker = folder / "docker"
    docker.write_text(f"#!{sys.executable}\n{RECORDER}")
    docker.chmod(0o755)
    return folder


@pytest.fixture(scope="session")
def saved_roots() -> dict[int, Path]:
    """Roots with the plugin enabled, by Tutor's version: made once, copied for each test."""
    return {}


@pytest.fixture
def tutor(
    saved_roots: dict[int, Path], recorder: Path, installed: Path, tmp_path_factory: pytest.TempPathFactory
) -> Tutor:
    """The newest supported Tutor."""
    return fresh_tutor(TUTORS[-1], saved_roots, recorder, installed, tmp_path_factory)


@pytest.fixture(params=TUTORS)
def each_tutor(
    request: pytest.FixtureRequest,
    saved_roots: dict[int, Path],
    recorder: Path,
    installed: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Tutor]:
    """Every supported Tutor in turn."""
    yield fresh_tutor(request.param, saved_roots, recorder, installed, tmp_path_factory)
