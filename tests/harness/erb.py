"""ERB's own way from an event to statements, to compare with; and the job's transformer in this process."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.test import override_settings
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
