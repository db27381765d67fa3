"""Turns an event into serialised xAPI statements without ERB's processors.

ERB's ``XApiProcessor`` serialises a statement, formats a debug message with it and parses it again; then the job would
have to serialise it once more. Here, ERB's transformers are called directly, and each statement is serialised once.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from ..model.records import Event, Statement
from . import patches
from .sources import ERB, ErbsOwn, is_known

_ID = '{"id": "'


class NotJson(Exception):
    """The statement has a number that JSON can't express (NaN, infinity)."""


class XapiFastPath:
    """Does the work of a router whose processors are ERB's own: allow lists of event names, and the xAPI processor."""

    def __init__(self, mapping: Mapping[str, Any], runs_filters: bool) -> None:
        self._mapping = mapping
        self._statement_class: Any = importlib.import_module("tincan").Statement
        self._to_json: Callable[[Any], tuple[str, str | None]] = _encode
        if patches.tincan_is_replaced():
            from .encoder import text_and_wire_text

            self._to_json = text_and_wire_text
        self._own = ErbsOwn()
        self._runs_filters = runs_filters

    def takes(self, name: str) -> bool:
        """Is the transformer of these events ERB's own? What another plugin's does is not known: it may run filters."""
        transformer = self._mapping.get(name)
        return transformer is None or (isinstance(transformer, type) and self._own[transformer])

    def statements(self, event: Event) -> list[Statement]:
        """Empty if ERB makes none. Raises what ERB's transformers raise."""
        transformer = self._mapping.get(event.name)
        if transformer is None:
            return []
        transformed = transformer(dict(event.fields)).transform()
        if not transformed:
            return []
        made = []
        # Code that is not ERB's could put anything into tincan's objects.
        erbs_own = not self._runs_filters and isinstance(transformer, type) and self._own[transformer]
        for statement in transformed if isinstance(transformed, list) else [transformed]:
            problem = ""
            try:
                made.append(self._serialised(statement, erbs_own))
            except ValueError as error:
                statement.to_json()  # raises the error that ERB would raise, unless JSON can't express a number
                problem = str(error)
            if not statement.object or not statement.object.id:
                return []
            if problem:
                raise NotJson(problem)
        return made

    def _serialised(self, statement: Any, erbs_own: bool) -> Statement:
        if type(statement) is self._statement_class:
            text, wire_text = self._to_json(statement)
            # Nearly every statement begins with its id, a UUID of 36 characters.
            has_id_first = text.startswith(_ID)
            statement_id = text[len(_ID) : len(_ID) + 36] if has_id_first else str(statement.id or "")
            body, wire_body = text.encode("ascii"), None
            if erbs_own and wire_text is not None:
                wire_body = body if wire_text is text else wire_text.encode("ascii")
            return Statement(statement_id, body, statement.timestamp, wire_body)
        fields = json.loads(statement.to_json())
        return Statement(str(fields.get("id", "")), json.dumps(fields, allow_nan=False).encode("ascii"))


def _encode(statement: Any) -> tuple[str, None]:
    return json.dumps(statement.as_version(), allow_nan=False), None


def xapi_fast_path(router: Any, runs_filters: bool) -> XapiFastPath | None:
    """The fast path for ``router``; ``None`` if its processors are not ERB's own or their source is not known.

    ``runs_filters``: steps of Open edX filters run.
    """
    if not is_known("xapi_processors"):
        return None
    whitelist = importlib.import_module("eventtracking.processors.whitelist").NameWhitelistProcessor
    xapi = importlib.import_module(f"{ERB}.processors.xapi.transformer_processor").XApiProcessor
    events_router = importlib.import_module(f"{ERB}.backends.events_router").EventsRouter
    *before, last = router.processors or [None]
    if type(last) is not xapi or any(type(processor) is not whitelist for processor in before):
        return None
    if type(router).process_event is not events_router.process_event:
        return None
    return XapiFastPath(last.registry.mapping, runs_filters)
