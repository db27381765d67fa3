"""Which table of ClickHouse statements go to: that of the settings, or the one that Aspects configures in the LMS."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from ..config import validators
from ..config.schema import ClickHouseConfig, JobConfig
from ..config.validators import ConfigError
from ..util.errors import PermanentError
from .clickhouse import ClickHouse, Table

LMS_SETTING = "EVENT_SINK_CLICKHOUSE_BACKEND_CONFIG"
"""A Django setting of Aspects: the ClickHouse that it sends courses and profiles to, and its xAPI database."""


def open_table(
    config: JobConfig, settings: ClickHouseConfig, was_reached: Callable[[str], bool] = lambda _id: False
) -> ClickHouse:
    """The table that the job delivers to. Raises :class:`~.errors.PermanentError` if nothing says which.

    ``was_reached``: has an earlier run delivered something to the destination with this id?
    """
    table = _of_settings(settings) if settings.url else _of_lms(settings.table)
    limits = (config.lrs_timeout_secs, config.lrs_max_wait_secs, config.batch_max_bytes)
    return ClickHouse(table, *limits, was_reached)


def _of_settings(settings: ClickHouseConfig) -> Table:
    return Table(settings.url, settings.database, settings.table, settings.username, settings.password)


def lms_backend() -> Mapping[str, Any] | None:
    """Aspects' ClickHouse as the LMS settings have it, with ``url`` and ``xapi_database``; ``None`` without Aspects."""
    backend: Any = getattr(importlib.import_module("django.conf").settings, LMS_SETTING, None)
    if not isinstance(backend, Mapping) or not backend.get("url") or not backend.get("xapi_database"):
        return None
    return backend


def _of_lms(table: str) -> Table:
    backend = lms_backend()
    if backend is None:
        raise PermanentError(
            "TRANSFORM_LOGS_CLICKHOUSE_URL is not set, and the LMS settings have no "
            "EVENT_SINK_CLICKHOUSE_BACKEND_CONFIG with a url and an xapi_database. "
            "Set TRANSFORM_LOGS_CLICKHOUSE_URL, _USERNAME, _PASSWORD and _DATABASE."
        )
    try:
        url = validators.server_url("url", backend["url"])
        names = ("username", "password", "xapi_database")
        texts = {name: validators.text(name, str(backend.get(name) or "")) for name in names}
    except ConfigError as error:
        raise PermanentError(
            f"EVENT_SINK_CLICKHOUSE_BACKEND_CONFIG in the LMS settings can't be used: {error}. "
            "Set TRANSFORM_LOGS_CLICKHOUSE_URL, _USERNAME, _PASSWORD and _DATABASE."
        ) from None
    return Table(url, texts["xapi_database"], table, texts["username"], texts["password"])
