"""The Pythons of this machine: LMS images have 3.11 with event-routing-backends 9.3, or 3.12 with 10."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path


def find(version: str) -> Path | None:
    """A Python of this version that can make virtual environments, or None."""
    for candidate in _candidates(version):
        # A version manager's name for a Python that it does not have is on PATH, too.
        command = [candidate, "-c", "import ensurepip, sys; print(sys.executable)"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == 0:
            return Path(done.stdout.strip()).resolve()
    return None


def _candidates(version: str) -> Iterator[str | Path]:
    name = f"python{version}"
    if shutil.which(name):
        yield name
    if shutil.which("pyenv"):
        root = subprocess.run(["pyenv", "root"], capture_output=True, text=True).stdout.strip()
        yield from sorted(Path(root).glob(f"versions/{version}.*/bin/{name}"))


def other() -> Path | None:
    """The Python for a second run of tests: 3.12, or 3.11 if this one is 3.12 or later; None if there is none."""
    return find("3.12" if sys.version_info < (3, 12) else "3.11")


if __name__ == "__main__":
    print(other() or "")
