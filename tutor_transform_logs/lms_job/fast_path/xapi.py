"""From an event to serialised xAPI statements without the detour of ERB's processors.

ERB's ``XApiProcessor`` dumps a statement, formats a debug message of it, and loads it again, for the job to dump it
once more. Its transformers are asked directly here; the statement is turned into bytes once.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from ..model.records import Event
from . import patches

_ID = '{"id": "'


class NotJson(Exception):
    """A number that JSON does not have."""


class XapiFastPath:
    """Stands for a router whose processors are ERB's own: white lists and the xAPI processor."""

    def __init__(self, mapping: Mapping[str, Any]) -> None:
        self._mapping = mapping
        self._statement: Any = importlib.import_module("tincan").Statement
        self._text_of: Callable[[Any], str] = _encoded
        if patches.tincan_is_replaced():
            self._text_of = importlib.import_module(f"{__package__}.encoder").text_of

    def bodies(self, event: Event) -> list[tuple[str, bytes]]:
        """The id and the bytes of each statement; empty where ERB makes none. Raises what ERB's transformers raise."""
        transformer = self._mapping.get(event.name)
        if transformer is None:
            return []
        transformed = transformer(dict(event.fields)).transform()
        if not transformed:
            return []
        made = []
        for one in transformed if isinstance(transformed, list) else [transformed]:
            problem = ""
            try:
                made.append(self._id_and_body(one))
            except ValueError as error:
                one.to_json()  # raises itself what is wrong, unless it is a number
                problem = str(error)
            if not one.object or not one.object.id:
                return []
            if problem:
                raise NotJson(problem)
        return made

    def _id_and_body(self, one: Any) -> tuple[str, bytes]:
        if type(one) is self._statement:
            text = self._text_of(one)
            # Most often it begins with its id, a UUID.
            identity = text[len(_ID) : len(_ID) + 36] if text.startswith(_ID) else str(one.id or "")
            return identity, text.encode("ascii")
        fields = json.loads(one.to_json())
        return str(fields.get("id", "")), json.dumps(fields, allow_nan=False).encode("ascii")


def _encoded(statement: Any) -> str:
    return json.dumps(statement.as_version(), allow_nan=False)


def xapi_fast_path(router: Any) -> XapiFastPath | None:
    """The short cut for ``router``, or ``None`` if it is not of the kind that is known."""
    whitelist = importlib.import_module("eventtracking.processors.whitelist").NameWhitelistProcessor
    xapi = importlib.import_module(f"{patches.ERB}.processors.xapi.transformer_processor").XApiProcessor
    base = importlib.import_module(f"{patches.ERB}.processors.mixins.base_transformer_processor")
    registry = importlib.import_module(f"{patches.ERB}.processors.transformer_utils.registry")
    *before, last = router.processors or [None]
    if type(last) is not xapi or any(type(one) is not whitelist for one in before):
        return None
    sources = (type(router).process_event, xapi, base, registry.TransformerRegistry.get_transformer, whitelist)
    if not patches.is_known("xapi_processors", sources):
        return None
    return XapiFastPath(last.registry.mapping)
