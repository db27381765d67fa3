"""Django settings with the names, and where the job looks the values, of edx-platform's ``lms.envs.production``.

Tutor's rendered settings import everything from here and change it in place, so what they touch has to be here.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pymysql
import yaml
from edx_django_utils.plugins import add_plugins, get_plugin_apps
from tutor_demo_lms import roster

# edx-platform uses mysqlclient, which has to be compiled.
pymysql.install_as_MySQLdb()

ENV_TOKENS: dict[str, Any] = yaml.safe_load(Path(os.environ["LMS_CFG"]).read_text(encoding="utf-8"))

DEBUG = False
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
FEATURES: dict[str, Any] = {}
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "celery_utils",
    "config_models",
    "eventtracking.django.apps.EventTrackingConfig",
    "openedx.core.djangoapps.content.course_overviews",
    "openedx.core.djangoapps.external_user_ids",
    "lms.djangoapps.coursewarehistoryextended",
]
DATABASE_ROUTERS = ["openedx.core.lib.django_courseware_routers.StudentModuleHistoryExtendedRouter"]
MODULESTORE: dict[str, Any] = {"default": {"OPTIONS": {"stores": [{"OPTIONS": {}}]}}}
VIDEO_IMAGE_SETTINGS: dict[str, Any] = {"STORAGE_KWARGS": {}}
VIDEO_TRANSCRIPTS_SETTINGS: dict[str, Any] = {"STORAGE_KWARGS": {}}
PROFILE_IMAGE_BACKEND: dict[str, Any] = {"options": {}}
REGISTRATION_EXTRA_FIELDS: dict[str, str] = {}
JWT_AUTH: dict[str, Any] = {}
CORS_ORIGIN_WHITELIST: list[str] = []
CSRF_TRUSTED_ORIGINS: list[str] = []
IDA_LOGOUT_URI_LIST: list[str] = []
LOGIN_REDIRECT_WHITELIST: list[str] = []
STATIC_ROOT = "/openedx/staticfiles"
EVENT_TRACKING_ENABLED = True
EVENT_TRACKING_BACKENDS: dict[str, Any] = {}
EVENT_TRACKING_PROCESSORS: list[Any] = []
RETIRED_USER_SALTS = list(roster.RETIRED_USER_SALTS)
RETIRED_USERNAME_FMT = roster.RETIRED_USERNAME_FMT

# openedx.core.lib.logsettings.get_logger_config
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "standard": {
            "format": (
                "%(asctime)s %(levelname)s %(process)d [%(name)s] [user %(userid)s] [ip %(remoteip)s] "
                "%(filename)s:%(lineno)d - %(message)s"
            )
        },
        "raw": {"format": "%(message)s"},
    },
    "filters": {
        "userid_context": {"()": "edx_django_utils.logging.UserIdFilter"},
        "remoteip_context": {"()": "edx_django_utils.logging.RemoteIpFilter"},
    },
    "handlers": {
        "console": {
            "level": "INFO",
            "class": "logging.StreamHandler",
            "formatter": "standard",
            "filters": ["userid_context", "remoteip_context"],
        },
        "local": {"class": "logging.NullHandler"},
        "tracking": {"class": "logging.NullHandler"},
    },
    "loggers": {"tracking": {"handlers": ["tracking"], "level": "DEBUG", "propagate": False}},
    "root": {"handlers": ["console", "local"], "level": "INFO"},
}

globals().update({key: value for key, value in ENV_TOKENS.items() if key not in ("FEATURES", "LOGGING")})
FERNET_KEYS = [ENV_TOKENS["SECRET_KEY"]]
LMS_ROOT_URL: str = ENV_TOKENS["LMS_ROOT_URL"]
LOG_DIR: str = ENV_TOKENS["LOG_DIR"]

# Whatever Open edX plugin is installed is an app of the LMS: so is ERB.
INSTALLED_APPS.extend(get_plugin_apps("lms.djangoapp"))
for settings_type in ("common", "production"):
    add_plugins(__name__, "lms.djangoapp", settings_type)
