"""Servers that no package registry has as programs: built from their Go modules."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.harness.process import ServiceError

# Debian's own Go is too old for some modules, so there may be another one here.
_PLACES = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/go/bin"])


def go(folder: Path, module: str, *arguments: str) -> str:
    """Run ``go ARGUMENTS`` in ``folder``; gives what it printed. ``module``: what it needs, for the message.

    :raises ServiceError: there is no Go, or it failed, such as without a registry of Go modules.
    """
    program = shutil.which("go", path=_PLACES)
    if program is None:
        raise ServiceError(f"go is missing: {module} is built with it. Install Go 1.26 or later")
    environ = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod", "GO111MODULE": "on"}
    done = subprocess.run([program, *arguments], cwd=folder, env=environ, capture_output=True, text=True)
    if done.returncode:
        raise ServiceError(
            f"go {' '.join(arguments)[:200]} failed. It needs a registry of Go modules (go env GOPROXY) that has "
            f"{module}:\n{(done.stderr or done.stdout)[-2000:]}"
        )
    return done.stdout
