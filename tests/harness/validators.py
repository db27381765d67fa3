"""Validators by others: Learning Locker's for xAPI, the IMS's own library of Caliper 1.1 for Caliper.

Both are on npm, and run by ``validate.js`` beside this one. PyPI has none; Ralph takes any text for an activity's id.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.harness.process import ServiceError
from tests.harness.registry import register
from tests.harness.venvs import filled_once, install
from tutor_transform_logs.demo.outcomes import Kind

PACKAGES = {"xapi": "@learninglocker/xapi-validation@3.0.0", "caliper": "ims-caliper@1.1.0"}
_SCRIPT = Path(__file__).with_name("validate.js")


class Complaint(NamedTuple):
    """What a validator finds wrong: ``where`` is a path such as ``object.id``."""

    where: str
    what: str


def _modules() -> Path:
    """The folder of the installed packages."""
    if shutil.which("npm") is None:
        raise ServiceError("There is no npm: run tests/harness/install-debian-packages as root")
    quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    packages = list(PACKAGES.values())
    folder = filled_once(
        "validators", packages, lambda folder: install(["npm", "install", f"--prefix={folder}", *quiet], packages)
    )
    return folder / "node_modules"


def complaints(kind: Kind, statements: Sequence[Any]) -> list[list[Complaint]]:
    """For each statement or envelope, what is wrong with it; nothing if it is valid."""
    environment = {**os.environ, "NODE_PATH": str(_modules())}
    command = ["node", str(_SCRIPT), kind]
    done = subprocess.run(command, input=json.dumps(statements), capture_output=True, text=True, env=environment)
    if done.returncode:
        raise ServiceError(f"{PACKAGES[kind]} failed:\n{done.stderr[-2000:]}")
    name, _, version = PACKAGES[kind].rpartition("@")
    register(f"{name} {version}")
    return [[Complaint(*found) for found in of_one] for of_one in json.loads(done.stdout)]
