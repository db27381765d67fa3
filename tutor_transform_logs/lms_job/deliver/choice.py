"""Where statements go, and why, in one line, for a job that no command on the host has started."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ..config.schema import JobConfig
from ..model.delivery import NamedDestination
from ..util.formatting import printable
from .tables import LMS_SETTING

FROM_HOST = "TRANSFORM_LOGS_FROM_HOST"
"""An environment variable that is set where ``tutor ... do transform-tracking-logs`` has started the job."""


def describe_choice(config: JobConfig, destinations: Sequence[NamedDestination]) -> str:
    """The line; ``""`` where the command on the host has said it, and for a dry run, which sends nothing."""
    if config.dry_run or os.environ.get(FROM_HOST):
        return ""
    names = ", ".join(destination.name for destination in destinations)
    return printable(f"Destination: {names} ({_reason(config)})")


def _reason(config: JobConfig) -> str:
    if config.destination is not None:
        return f"destination_provider is {config.destination.provider}"
    if config.clickhouse is not None:
        return "clickhouse_url is set" if config.clickhouse.url else f"from the LMS's {LMS_SETTING}"
    if config.lrs_endpoints:
        return "lrs_endpoints is set"
    routers = "the LMS's enabled routers"
    return f"{routers} that lrs_urls names" if config.lrs_urls else routers
