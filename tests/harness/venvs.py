"""Programs for tests whose packages must not mix with those of the project: installed once, outside the repository."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
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


def filled_once(name: str, recipe: Sequence[str], fill: Callable[[Path], None]) -> Path:
    """A folder of the cache, filled if it is not yet; filled again when the recipe changes.

    Other test processes wait meanwhile. What ``fill`` raises leaves the folder to be filled by the next one who asks.
    """
    folder = cache_folder() / f"{name}-{hashlib.sha256(chr(10).join(recipe).encode()).hexdigest()[:12]}"
    complete = folder / "complete"
    with (cache_folder() / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            fill(folder)
            complete.touch()
    return folder


def install(command: Sequence[str | Path], packages: Sequence[str]) -> None:
    """Have a package client install packages.

    :raises ServiceError: it failed.
    """
    done = subprocess.run([*command, *packages], capture_output=True, text=True)
    if done.returncode:
        raise ServiceError(f"could not install {', '.join(packages)}:\n{done.stderr[-2000:]}")


def venv(name: str, requirements: Sequence[str]) -> Path:
    """The ``bin`` folder of a virtual environment with these packages, made if there is none yet.

    It is made again when the requirements or the Python change.

    :raises ServiceError: pip failed.
    """
    python = _python()

    def fill(folder: Path) -> None:
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
        pip: list[str | Path] = [
            folder / "bin/python",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        install(pip, requirements)

    return filled_once(name, [python, *requirements], fill) / "bin"
