"""Virtual environments for servers whose packages must not mix with those of the project."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.harness.process import ServiceError


def cache_folder() -> Path:
    """Where things that take long to make are kept between test runs, outside the repository."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(home) / "tutor-transform-logs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _python() -> str:
    """The Python of such environments: this one, unless the tests run a second time under another."""
    return str(Path(os.environ.get("TRANSFORM_LOGS_SERVERS_PYTHON") or sys.executable).resolve())


def venv(name: str, requirements: Sequence[str]) -> Path:
    """The ``bin`` folder of a virtual environment with these packages, made if there is none yet.

    It is made again when the requirements or the Python change.

    :raises ServiceError: pip failed.
    """
    python = _python()
    recipe = "\n".join([python, *requirements])
    folder = cache_folder() / f"{name}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    complete = folder / "complete"
    with (cache_folder() / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([python, "-m", "venv", str(folder)], check=True)
            pip: list[str | Path] = [
                folder / "bin/python",
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ]
            done = subprocess.run([*pip, *requirements], capture_output=True, text=True)
            if done.returncode:
                raise ServiceError(f"could not install {', '.join(requirements)}:\n{done.stderr[-2000:]}")
            complete.touch()
    return folder / "bin"
