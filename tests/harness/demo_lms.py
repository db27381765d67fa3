"""The embedded LMS inside the test process, and for jobs that tests start."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import tutor_transform_logs.demo

REPOSITORY = Path(__file__).resolve().parents[2]
LMS_FOLDER = Path(tutor_transform_logs.demo.__file__).parent / "lms"
SETTINGS_MODULE = "tutor_demo_lms.settings"


def activate(database: Path) -> None:
    """Make this process an LMS on a SQLite database that is still to be migrated and seeded.

    Has to run before anything imports a Django model.
    """
    sys.path.insert(0, str(LMS_FOLDER))
    os.environ["DJANGO_SETTINGS_MODULE"] = SETTINGS_MODULE
    os.environ["DEMO_LMS_DB"] = str(database)
    # A test may look into the database from its own event loop or thread.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"

    import django

    django.setup()


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
