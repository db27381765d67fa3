"""Which site a report is of, and which versions have made the statements."""

from __future__ import annotations

import importlib
import os
import platform
from importlib import metadata

import django
from django.conf import settings

# The command that starts the job knows the plugin's version; where it is installed, its package does, too.
PLUGIN_VERSION = "TRANSFORM_LOGS_PLUGIN_VERSION"


def site_facts() -> dict[str, str]:
    """Names and values for people; what can't be found out is left out."""
    site = str(getattr(settings, "LMS_ROOT_URL", "") or getattr(settings, "LMS_BASE", "") or "")
    versions = (
        ("plugin", os.environ.get(PLUGIN_VERSION) or _version("tutor-contrib-transform-logs")),
        ("event-routing-backends", _version("edx-event-routing-backends")),
        ("LMS", _release()),
        ("Django", django.__version__),
        ("Python", platform.python_version()),
    )
    found = {"Site": site, "Versions": ", ".join(f"{name} {version}" for name, version in versions if version)}
    return {name: text for name, text in found.items() if text}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _release() -> str:
    """The release of edx-platform, such as verawood; it says "master" between two releases."""
    try:
        return str(importlib.import_module("openedx.core.release").RELEASE_LINE)
    except (ImportError, AttributeError):
        return ""
