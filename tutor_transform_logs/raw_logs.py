"""Where Aspects or tutor-contrib-cairn keeps raw tracking logs in ClickHouse, as far as Tutor's settings say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tutor.types import Config

from tutor_transform_logs import aspects

CAIRN_TABLE = "_tracking"


def of_site(values: Mapping[str, Any], site: Config) -> dict[str, Any]:
    """What the site has for the source CLICKHOUSE, by the names of the source's settings; nothing without a table.

    ``values``: what the user set. Another host has other users, and another user has another password.
    """
    if values.get("source_host"):
        return {}
    plugins = site.get("PLUGINS")
    has_cairn = isinstance(plugins, list) and "cairn" in plugins
    if aspects.is_enabled(site) and (site.get("ASPECTS_VECTOR_STORE_TRACKING_LOGS") or not has_cairn):
        return {
            "host": site.get("CLICKHOUSE_HOST"),
            "port": site.get("CLICKHOUSE_INTERNAL_HTTP_PORT"),
            "secure": bool(site.get("CLICKHOUSE_SECURE_CONNECTION")),
            "key": site.get("ASPECTS_CLICKHOUSE_VECTOR_USER"),
            "secret": site.get("ASPECTS_CLICKHOUSE_VECTOR_PASSWORD"),
            "container": site.get("ASPECTS_VECTOR_DATABASE"),
            "prefix": site.get("ASPECTS_VECTOR_RAW_TRACKING_LOGS_TABLE"),
        }
    if not has_cairn:
        return {}
    return {
        "host": site.get("CAIRN_CLICKHOUSE_HOST"),
        "port": site.get("CAIRN_CLICKHOUSE_HTTP_PORT"),
        "secure": site.get("CAIRN_CLICKHOUSE_HTTP_SCHEME") == "https",
        "key": site.get("CAIRN_CLICKHOUSE_USERNAME"),
        "secret": site.get("CAIRN_CLICKHOUSE_PASSWORD"),
        "container": site.get("CAIRN_CLICKHOUSE_DATABASE"),
        "prefix": CAIRN_TABLE,
    }
