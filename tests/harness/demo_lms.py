"""The embedded LMS inside the test process, and for jobs that tests start."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import tutor_transform_logs.demo

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
