"""Paths as they are on the host, for people who read the end of a run there."""

from __future__ import annotations

import os

from ..config.schema import LOCAL_KEY

HOST_DATA = "TRANSFORM_LOGS_HOST_DATA"
"""The variable with the host's folder that is mounted at ``/openedx/data``; unset where nothing is, or not known."""


def host_path(place: str) -> str:
    """Where ``place`` is on the host, if it is a path below the mounted folder; any other text as it is."""
    folder = os.environ.get(HOST_DATA, "")
    return folder.rstrip("/") + place.removeprefix(LOCAL_KEY) if folder and place.startswith(f"{LOCAL_KEY}/") else place
