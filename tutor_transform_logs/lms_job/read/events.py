"""From a line of a tracking log to an event as ERB takes it, by the rules of ERB's ``parse_json_event``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..model.dead_letters import INCOMPLETE_LINE
from ..model.records import Event


class Unparsable(Exception):
    """The line is not an event. ``reason`` is one of :data:`PARSE_REASONS`, ``detail`` says more."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


PARSE_REASONS = ("not_utf8", "no_json", "bad_json", "no_event_field", "line_too_long", INCOMPLETE_LINE)
_DECODER = json.JSONDecoder()


def parse(raw: bytes) -> Event:
    """Parse one line: bare JSON, or JSON behind a logger's prefix (from the first ``{`` to the end).

    What the log calls ``event`` is ``data`` in the live pipeline, parsed if it is JSON in a string; what the log
    calls ``time`` is ``timestamp``. A tracker writes no ``timestamp`` into a log: one beside the ``time`` is that of a
    collector. A collector that parses a line down to some depth leaves the context as JSON in a string.
    Raises :class:`Unparsable`.
    """
    begin = raw.find(b"{")
    text = raw[begin:].rstrip() if begin >= 0 else b""
    # ERB's regular expression takes more characters for white space than ``bytes.rstrip`` does.
    if not (text.endswith(b"}") or text.decode("utf-8", "replace").rstrip().endswith("}")):
        raise Unparsable("no_json", "no JSON object in the line")
    try:
        fields = _decoded(text.decode("utf-8").rstrip())
    except UnicodeDecodeError as error:
        raise Unparsable("not_utf8", str(error)) from None
    except (ValueError, RecursionError) as error:
        # ValueError: also a number with more digits than Python reads.
        raise Unparsable("bad_json", str(error)) from None
    if "event" in fields:
        fields["data"] = _data(fields["event"])
        if "time" in fields:
            fields["timestamp"] = fields["time"]
    elif "data" not in fields:
        raise Unparsable("no_event_field", "the JSON object has neither an event nor a data field")
    elif "timestamp" not in fields and "time" in fields:
        fields["timestamp"] = fields["time"]
    if isinstance(fields.get("context"), str) and isinstance(context := _data(fields["context"]), dict):
        fields["context"] = context
    name = fields.get("name")
    return Event(name if isinstance(name, str) else "", fields)


def _decoded(text: str) -> Any:
    """As ``json.loads`` of a text without white space at its ends, which it would look for."""
    value, end = _DECODER.raw_decode(text)
    return value if end == len(text) else json.loads(text)


def _data(event: Any) -> Any:
    """The event's own data: an object, or JSON in a string, or a string that is just a string."""
    if not isinstance(event, str):
        return event
    try:
        return json.loads(event)
    except (ValueError, RecursionError):
        return event


def find_nested(source: Mapping[str, Any], key: str) -> Any:
    """ERB's ``BaseTransformerMixin.find_nested``: the first value of ``key`` at any level of nested objects."""
    if key in source:
        return source[key]
    for value in source.values():
        if isinstance(value, dict):
            found = find_nested(value, key)
            if found is not None:
                return found
    return None
