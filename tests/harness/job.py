"""Run the real job as a real process in the embedded LMS, and look at what it left."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.harness.demo_lms import LMS_FOLDER, SETTINGS_MODULE

REPOSITORY = Path(__file__).parents[2]

_ADD_ROUTER = """
import json, sys, django
django.setup()
from event_routing_backends.models import RouterConfiguration
RouterConfiguration.objects.create(enabled=True, **json.load(sys.stdin))
"""


@dataclass(frozen=True)
class DemoLms:
    """An embedded LMS with a database of its own, for jobs that run in processes of their own.

    :param database: the SQLite file; not used where ``databases`` says otherwise.
    :param databases: Django's ``DATABASES``, for another server.
    :param settings: Django settings laid over the LMS's own.
    """

    database: Path | None = None
    databases: Mapping[str, Any] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def with_settings(self, **settings: Any) -> DemoLms:
        """The same LMS with further Django settings."""
        return replace(self, settings={**self.settings, **settings})

    def environment(self) -> dict[str, str]:
        """What a process needs to be in this LMS."""
        values = {
            "PYTHONPATH": os.pathsep.join([str(LMS_FOLDER), str(REPOSITORY)]),
            "DJANGO_SETTINGS_MODULE": SETTINGS_MODULE,
            "DEMO_LMS_SETTINGS": json.dumps(self.settings),
            "DEMO_LMS_DB": str(self.database or ""),
            "DEMO_LMS_DATABASES": json.dumps(self.databases) if self.databases else "",
        }
        return {**os.environ, **values}

    def run_python(self, *arguments: str, stdin: str = "") -> str:
        """Run ``python ARGUMENTS`` in this LMS; gives its output. :raises CalledProcessError: it failed."""
        done = subprocess.run(
            [sys.executable, *arguments], input=stdin, env=self.environment(), capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"python {' '.join(arguments)[:200]} failed:\n{done.stderr[-3000:]}")
        return done.stdout

    def set_up(self, users: int = 50, courses: int = 5) -> DemoLms:
        """Migrate and fill the database."""
        self.run_python("-m", "tutor_demo_lms", "--users", str(users), "--courses", str(courses))
        return self

    def add_router(self, url: str, *, backend_name: str = "xAPI", **fields: Any) -> None:
        """Add an enabled RouterConfiguration, as an admin does: ``auth_scheme``, ``username``, ``configurations``..."""
        values = {"route_url": url, "backend_name": backend_name, "configurations": {}, **fields}
        self.run_python("-c", _ADD_ROUTER, stdin=json.dumps(values))

    def copy_to(self, database: Path) -> DemoLms:
        """A copy of a SQLite LMS that nothing has open."""
        if self.database is None:
            raise ValueError("only a SQLite LMS can be copied")
        shutil.copyfile(self.database, database)
        return replace(self, database=database)


@dataclass(frozen=True)
class JobRun:
    """A finished run of the job. ``result`` is what REPORT saved, if it came so far."""

    status: int
    stdout: str
    stderr: str
    result: dict[str, Any] | None
    ledger: Path | None

    def dead_letters(self) -> list[dict[str, Any]]:
        """The dead letters of the latest plan, from the file that REPORT makes."""
        found = newest(self.ledger, "dead-letters.jsonl") if self.ledger else None
        return [json.loads(line) for line in found.read_text().splitlines()] if found else []


def newest(folder: Path, name: str) -> Path | None:
    """The file of this name in the last-numbered folder of the ledger below ``folder``."""
    found = sorted(folder.glob(f"**/{name}"), key=lambda path: (path.parent.name, path.stat().st_mtime))
    return found[-1] if found else None


def local(role: str, folder: Path, *, prefix: str = "") -> dict[str, Any]:
    """The settings that make this local folder the job's ``source``, ``destination`` or ``ledger``."""
    values = {"provider": "LOCAL", "key": str(folder.parent), "container": folder.name, "prefix": prefix}
    return {f"{role}_{key}": value for key, value in values.items()}


def start_job(
    config: Mapping[str, Any], lms: DemoLms, *, command: str = "run", arguments: Sequence[str] = (), folder: Path
) -> subprocess.Popen[str]:
    """Start the job in a process of its own, for tests that kill it; its config file lies in ``folder``."""
    file = folder / "job-config.json"
    file.write_text(json.dumps(dict(config)))
    return subprocess.Popen(
        [sys.executable, "-m", "tutor_transform_logs.lms_job", command, "--config", str(file), *arguments],
        env=lms.environment(),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run_job(
    config: Mapping[str, Any],
    lms: DemoLms,
    *,
    folder: Path,
    command: str = "run",
    arguments: Sequence[str] = (),
    timeout_secs: float = 180,
) -> JobRun:
    """Run the job to its end.

    A ledger that the config does not name is put into ``folder / "ledger"``.
    """
    if "ledger_provider" not in config and "ledger_key" not in config:
        config = {**config, **local("ledger", folder / "ledger")}
    process = start_job(config, lms, command=command, arguments=arguments, folder=folder)
    try:
        stdout, stderr = process.communicate(timeout=timeout_secs)
    finally:
        process.kill()
    ledger = None
    if config.get("ledger_provider", "LOCAL") == "LOCAL":
        ledger = Path(config["ledger_key"], config["ledger_container"], config.get("ledger_prefix") or "")
    found = newest(ledger, "result.json") if ledger else None
    return JobRun(process.returncode, stdout, stderr, json.loads(found.read_text()) if found else None, ledger)
