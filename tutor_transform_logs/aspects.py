"""Where Aspects has its statements, as far as Tutor's settings say: in ClickHouse by Vector, or in Ralph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tutor.exceptions import TutorError
from tutor.types import Config

from tutor_transform_logs.lms_job.config import schema
from tutor_transform_logs.lms_job.config.setting import PREFIX
from tutor_transform_logs.lms_job.config.settings import CLICKHOUSE, LRS, RAW_XAPI_TABLE

BUNDLED_HOST = "clickhouse"
"""The name of Aspects' own ClickHouse, as a service of compose and of Kubernetes."""


def is_enabled(site: Config) -> bool:
    """Is Aspects enabled, in a version that has these settings?"""
    plugins = site.get("PLUGINS")
    return isinstance(plugins, list) and "aspects" in plugins and bool(site.get("ASPECTS_XAPI_DATABASE"))


def destination(values: Mapping[str, Any], site: Config) -> dict[str, Any]:
    """What ``values`` lack for the destination CLICKHOUSE, or nothing if statements go elsewhere.

    It is the destination where nothing else is set and Aspects' source is Vector. Whoever sets an LRS means it.
    """
    if not is_enabled(site):
        return {}
    provider = str(values.get("destination_provider") or "").strip().upper()
    to_lrs = bool(values.get("lrs_endpoints") or values.get("lrs_urls"))
    by_vector = site.get("ASPECTS_XAPI_SOURCE") == "vector"
    if provider != CLICKHOUSE and (provider or to_lrs or not by_vector):
        return {}
    offers = {"destination_provider": CLICKHOUSE}
    if not values.get("clickhouse_url"):
        offers |= _table(values, site)
    return {key: value for key, value in offers.items() if value and not values.get(key)}


def _table(values: Mapping[str, Any], site: Config) -> dict[str, str]:
    """Aspects' ClickHouse. User and password go together, and each of Aspects' users may write to one database."""

    def setting(name: str) -> str:
        return str(site.get(name) or "")

    scheme = "https" if site.get("CLICKHOUSE_SECURE_CONNECTION") else "http"
    database = str(values.get("clickhouse_database") or site.get("ASPECTS_XAPI_DATABASE"))
    user = "VECTOR" if database == site.get("ASPECTS_VECTOR_DATABASE") else "LRS"
    offers = {
        "url": f"{scheme}://{setting('CLICKHOUSE_HOST')}:{setting('CLICKHOUSE_INTERNAL_HTTP_PORT')}",
        "database": database,
        "table": setting("ASPECTS_RAW_XAPI_TABLE"),
    }
    if not values.get("clickhouse_username"):
        offers["username"] = setting(f"ASPECTS_CLICKHOUSE_{user}_USER")
        offers["password"] = setting(f"ASPECTS_CLICKHOUSE_{user}_PASSWORD")
    return {f"clickhouse_{name}": value for name, value in offers.items()}


def check_server(given: Mapping[str, Any], config: schema.JobConfig, site: Config) -> None:
    """Raise ``TutorError`` if the table is in Aspects' own ClickHouse, and Aspects wants TLS, which that does not have.

    Aspects 6.1 renders it with plain HTTP on the TLS port, and its Service on Kubernetes without that port. ``given``
    and ``config`` as for :func:`describe_destination`.
    """
    is_aspects_url = config.clickhouse is not None and not given.get("clickhouse_url") and is_enabled(site)
    is_bundled = bool(site.get("RUN_CLICKHOUSE")) and site.get("CLICKHOUSE_HOST") == BUNDLED_HOST
    if is_aspects_url and is_bundled and site.get("CLICKHOUSE_SECURE_CONNECTION"):
        raise TutorError(
            "CLICKHOUSE_SECURE_CONNECTION is true, but Aspects' own ClickHouse (RUN_CLICKHOUSE) has no TLS: "
            f"{_table({}, site)['clickhouse_url']} can't work. Set CLICKHOUSE_SECURE_CONNECTION to false; for a "
            f"ClickHouse elsewhere set RUN_CLICKHOUSE to false and its CLICKHOUSE_HOST, or {PREFIX}CLICKHOUSE_URL."
        )


def describe_destination(given: Mapping[str, Any], config: schema.JobConfig, site: Config) -> str:
    """Where statements go, and why, in one line. ``given`` is what the user set, ``config`` all that the job gets."""
    return f"Destination: {_place(config)} ({_reason(given, site)})"


def _place(config: schema.JobConfig) -> str:
    if config.destination is not None:
        return f"files in {config.destination}"
    if config.clickhouse is None:
        return "the LRSs in the settings" if config.lrs_endpoints else "the LRSs of the LMS's routers"
    table = config.clickhouse
    if not table.url:
        return "the table in ClickHouse that the LMS settings name"
    return f"table {table.database}.{table.table or RAW_XAPI_TABLE} in ClickHouse at {table.url}"


def _reason(given: Mapping[str, Any], site: Config) -> str:
    if given.get("destination_provider"):
        return f"{PREFIX}DESTINATION_PROVIDER is {str(given['destination_provider']).strip().upper()}"
    for key in ("lrs_endpoints", "lrs_urls"):
        if given.get(key):
            return f"{PREFIX}{key.upper()} is set"
    if is_enabled(site):
        return f"ASPECTS_XAPI_SOURCE is {site.get('ASPECTS_XAPI_SOURCE')}"
    return f"{LRS} is the default without Aspects"
