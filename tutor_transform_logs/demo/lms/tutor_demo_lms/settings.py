"""Django settings of the embedded LMS: what edx-platform sets, as far as event-routing-backends looks.

The environment decides where it runs:

``DEMO_LMS_DB``
    path of the SQLite file (default: ``demo-lms.sqlite3`` in the working directory)
``DEMO_LMS_DATABASES``
    a whole ``DATABASES`` value as JSON, instead of SQLite
``DEMO_LMS_LOG``
    a file that gets all logging, instead of the console
``DEMO_LMS_SETTINGS``
    a JSON object of further settings, laid over the rest as a site's own YAML would be
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from event_routing_backends.settings.common import plugin_settings
from tutor_demo_lms import roster  # type: ignore[import-not-found, unused-ignore]

SECRET_KEY = "demo: these settings guard nothing"
# ERB's fernet fields derive their key from these; a real LMS has its own.
FERNET_KEYS = ["demo key of the embedded LMS"]
DEBUG = False
USE_TZ = True
TIME_ZONE = "UTC"
LMS_ROOT_URL = "http://localhost:18000"
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "celery_utils",
    "eventtracking.django.apps.EventTrackingConfig",
    "event_routing_backends.apps.EventRoutingBackendsConfig",
    "openedx.core.djangoapps.content.course_overviews",
    "openedx.core.djangoapps.external_user_ids",
]

DATABASES: dict[str, Any] = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("DEMO_LMS_DB", "demo-lms.sqlite3"),
        "OPTIONS": {"timeout": 30},
    }
}
if os.environ.get("DEMO_LMS_DATABASES"):
    DATABASES = json.loads(os.environ["DEMO_LMS_DATABASES"])
    if any("mysql" in database["ENGINE"] for database in DATABASES.values()):
        try:
            import MySQLdb  # type: ignore[import-untyped, unused-ignore]  # noqa: F401
        except ImportError:
            # mysqlclient, which edx-platform uses, has to be compiled; the pure Python driver does here.
            import pymysql

            pymysql.install_as_MySQLdb()

CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

EVENT_TRACKING_ENABLED = True
RETIRED_USER_SALTS = list(roster.RETIRED_USER_SALTS)
RETIRED_USERNAME_FMT = roster.RETIRED_USERNAME_FMT

# Logging as in an LMS container: ERB's two loggers give every statement, other loggers what is from INFO up.
_LOG = os.environ.get("DEMO_LMS_LOG")
_HANDLER: dict[str, Any] = {"class": "logging.FileHandler", "filename": _LOG} if _LOG else {}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "standard": {
            "format": "%(asctime)s %(levelname)s %(process)d [%(name)s] %(filename)s:%(lineno)d - %(message)s"
        },
        "raw": {"format": "%(message)s"},
    },
    "handlers": {
        "console": {"class": "logging.StreamHandler", "level": "INFO", "formatter": "standard"} | _HANDLER,
        "tracking": {"class": "logging.StreamHandler", "level": "DEBUG", "formatter": "raw"} | _HANDLER,
    },
    "loggers": {
        "xapi_tracking": {"handlers": ["tracking"], "level": "INFO", "propagate": False},
        "caliper_tracking": {"handlers": ["tracking"], "level": "INFO", "propagate": False},
    },
    "root": {"handlers": ["console"], "level": "INFO"},
}

plugin_settings(sys.modules[__name__])

globals().update(json.loads(os.environ.get("DEMO_LMS_SETTINGS") or "{}"))
