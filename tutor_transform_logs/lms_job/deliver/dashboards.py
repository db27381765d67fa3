"""Do Aspects' dashboards show what is delivered? Ralph and Vector each have their own database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from ..model.delivery import NamedDestination
from .clickhouse import ClickHouse
from .lrs import Lrs
from .tables import lms_backend

RALPH = "ralph"
"""The host name that Ralph has in Aspects, and the beginning of its public one."""
RALPH_DATABASE = "xapi"
"""Aspects' default; the LMS settings do not have another value of RALPH_DATABASE."""


def notices(destinations: Iterable[NamedDestination]) -> Iterator[str]:
    """What to say of destinations that the dashboards do not read. Nothing is said in an LMS without Aspects."""
    backend = lms_backend()
    if backend is None:
        return
    shown = str(backend["xapi_database"])
    for destination in destinations:
        if isinstance(destination, Lrs):
            host = urlsplit(destination.target.url).hostname or ""
            if host.partition(".")[0] == RALPH and shown != RALPH_DATABASE:
                yield (
                    f"Aspects' dashboards will not show what is sent to {destination.name}: they read the database "
                    f"{shown}, and Ralph stores in {RALPH_DATABASE}, unless RALPH_DATABASE says otherwise. "
                    "Set TRANSFORM_LOGS_DESTINATION_PROVIDER to CLICKHOUSE."
                )
        elif (
            isinstance(destination, ClickHouse)
            and _is_on_server(destination, backend)
            and destination.table.database != shown
        ):
            yield (
                f"Aspects' dashboards will not show what is stored in {destination.name}: they read the database "
                f"{shown}. Set TRANSFORM_LOGS_CLICKHOUSE_DATABASE to {shown}."
            )


def are_fed_by(destination: NamedDestination) -> bool:
    """Do the dashboards show what is stored there? No where Aspects is not installed in the LMS."""
    backend = lms_backend()
    return (
        backend is not None
        and isinstance(destination, ClickHouse)
        and _is_on_server(destination, backend)
        and destination.table.database == str(backend["xapi_database"])
    )


def _is_on_server(destination: ClickHouse, backend: Mapping[str, Any]) -> bool:
    """Is it on the server that the LMS settings name?"""
    return urlsplit(destination.table.url).netloc == urlsplit(str(backend["url"])).netloc.rpartition("@")[2]
