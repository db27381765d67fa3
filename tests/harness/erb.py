"""ERB's own way from an event to statements, to compare with; and the job's transformer in this process."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.test import override_settings
from edx_django_utils.cache import TieredCache
from event_routing_backends.backends.sync_events_router import SyncEventsRouter
from event_routing_backends.models import RouterConfiguration
from eventtracking.tracker import get_tracker

from tutor_transform_logs.demo.outcomes import Kind
from tutor_transform_logs.lms_job.fast_path import patches
from tutor_transform_logs.lms_job.model.records import Statement
from tutor_transform_logs.lms_job.transform.transformer import Transformer


def statements_of_erb(kind: Kind, event: dict[str, Any]) -> list[dict[str, Any]]:
    """What the processors of the LMS's own router make of an event. Raises what ERB raises.

    ERB takes fields out of the event's data as it goes, before ``match_params`` are looked up in it.
    """
    router = get_tracker().backends["event_transformer"].backends[kind]
    with patches.removed():
        made: list[dict[str, Any]] = router.process_event(event)
    return made


@contextmanager
def live_router(kind: Kind, url: str, **fields: Any) -> Iterator[SyncEventsRouter]:
    """ERB's router that sends at once, with the processors of the LMS's own, and one configuration: to ``url``.

    ``fields`` are those of the configuration: ``auth_scheme``, ``username``, ``configurations`` ...
    """
    processors = get_tracker().backends["event_transformer"].backends[kind].processors
    name = RouterConfiguration.XAPI_BACKEND if kind == "xapi" else RouterConfiguration.CALIPER_BACKEND
    values = {"enabled": True, "backend_name": name, "configurations": {}, **fields}
    # ERB keeps the rows that it has read, for minutes.
    TieredCache.dangerous_clear_all_tiers()
    row = RouterConfiguration.objects.create(route_url=url, **values)
    try:
        with patches.removed():
            yield SyncEventsRouter(processors=processors, backend_name=name)
    finally:
        row.delete()
        TieredCache.dangerous_clear_all_tiers()


@contextmanager
def transformer(kind: Kind, **options: Any) -> Iterator[Transformer]:
    """The job's transformer; what it does to Django's settings and to loggers is undone at the end."""
    erb_log = logging.getLogger("event_routing_backends")
    level = erb_log.level
    with override_settings():
        try:
            yield Transformer(kind, **{"stable_ids": True, "max_wait_secs": 1.0, **options})
        finally:
            patches.remove()
            erb_log.setLevel(level)


def comparable(kind: Kind, fields: Any) -> dict[str, Any]:
    """A statement without what may differ by design: a Caliper event's id, and when its envelope was sent."""
    plain: dict[str, Any] = copy.deepcopy(dict(fields))
    if kind == "caliper":
        assert plain.pop("sendTime")
        for event in plain["data"]:
            assert event.pop("id")
    return plain


def fields_of(statements: list[Statement]) -> list[dict[str, Any]]:
    """The statements as data."""
    return [dict(statement.fields) for statement in statements]
