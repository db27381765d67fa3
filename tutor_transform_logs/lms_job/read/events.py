"""From a line of a tracking log to an event as ERB takes it, by the rules of ERB's ``parse_json_event``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ..model.dead_letters import INCOMPLETE_LINE, LINE_TOO_LONG, NO_BEGINNING
from ..model.records import Event


class Unparsable(Exception):
    """The line is not an event. ``reason`` is one of :data:`PARSE_REASONS`, ``detail`` says more."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


NO_EVENT_FIELD = "no_event_field"
PARSE_REASONS = ("not_utf8", "no_json", "bad_json", NO_EVENT_FIELD, LINE_TOO_LONG, INCOMPLETE_LINE, NO_BEGINNING)
_DECODER = json.JSONDecoder()
# The payload of an event: in a log, and in the live pipeline.
PAYLOAD_FIELDS = ("event", "data")
# Of these, each event of a tracker has at least one. Collectors have an ``event`` of their own, without them.
TRACKER_FIELDS = ("name", "event_type", "context")

# An event that takes more than this with its values is not parsed, so that a worker's memory is bounded. Those of Open
# edX take a few kilobytes.
MAX_EVENT_BYTES = 8 * 1024**2
VALUE_BYTES = 72
"""What an empty object in a list takes, which is three bytes of JSON."""
SHORT_BYTES = 2048
"""Of a line whose content does not matter."""
# In UTF-8, or escaped: a character of which Python makes a text that takes four bytes a character, or two.
_FOUR_BYTES = re.compile(rb"[\xf0-\xf7]|\\u[dD][89abAB]")
_TWO_BYTES = re.compile(rb"[\xc4-\xef]|\\u")


def memory_of(raw: bytes) -> int:
    """About how many bytes the event of this line takes, at most."""
    if len(raw) <= SHORT_BYTES:
        return len(raw)
    width = 4 if _FOUR_BYTES.search(raw) else 2 if _TWO_BYTES.search(raw) else 1
    # Characters in texts count as if they were those between values.
    return width * len(raw) + VALUE_BYTES * (raw.count(b",") + raw.count(b"{") + raw.count(b"["))


def parse(raw: bytes) -> Event:
    """Parse one line: bare JSON, or JSON behind a logger's prefix (from the first ``{`` to the end).

    What the log calls ``event`` is ``data`` in the live pipeline, parsed if it is JSON in a string; what the log
    calls ``time`` is ``timestamp``. A tracker writes no ``timestamp`` into a log: one beside the ``time`` is that of a
    collector. Without a ``time``, it is all there is, and ERB takes it too. A collector that parses a line down to some
    depth leaves the context as JSON in a string.
    Raises :class:`Unparsable`.
    """
    if memory_of(raw) > MAX_EVENT_BYTES:
        raise Unparsable(LINE_TOO_LONG, f"an event that takes more than {MAX_EVENT_BYTES // 1024**2} MiB of memory")
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
        if fields.get("time") or ("time" in fields and not fields.get("timestamp")):
            fields["timestamp"] = fields["time"]
    elif "data" not in fields:
        raise Unparsable(NO_EVENT_FIELD, "the JSON object has neither an event nor a data field")
    elif "timestamp" not in fields and "time" in fields:
        fields["timestamp"] = fields["time"]
    if isinstance(fields.get("context"), str) and isinstance(context := _data(fields["context"]), dict):
        fields["context"] = context
    name = fields.get("name")
    return Event(name if isinstance(name, str) else "", fields)


def is_rest(raw: bytes) -> bool:
    """Does the line end as an event does, and begin in the middle of one?

    An object that is all there closes no more braces than it opens. (Those in texts mislead, which costs a reason.)
    """
    return raw.rstrip().endswith(b"}") and raw.count(b"}") > raw.count(b"{")


def is_tracked(fields: Mapping[str, Any]) -> bool:
    """Is this an event of a tracker, of whatever type, and no object of a collector's with an ``event`` of its own?"""
    return not fields.keys().isdisjoint(PAYLOAD_FIELDS) and not fields.keys().isdisjoint(TRACKER_FIELDS)


def is_whole(fields: Mapping[str, Any]) -> bool:
    """Is this certainly an event of a tracker, whatever is in its payload? It has what all of them have.

    That is a name or a type, and a context, or, before there were contexts, a source. Collectors have a ``name``, an
    ``event_type`` or a ``context`` of their own beside an ``event``.
    """
    if not is_tracked(fields) or not ("name" in fields or "event_type" in fields):
        return False
    context = fields.get("context")
    return isinstance(context, dict) or "event_source" in fields or (isinstance(context, str) and context[:1] == "{")


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


def context_text(event: Mapping[str, Any], name: str) -> str:
    """A text of the event's context, as ERB's ``get_data`` finds it; ``""`` if there is none."""
    context = event.get("context")
    value = context.get(name) if isinstance(context, Mapping) else None
    return value if isinstance(value, str) else ""


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


def person_of(event: Mapping[str, Any]) -> Any:
    """The id or the name of the event's user, as ERB's ``extract_username_or_userid`` finds it."""
    data = event.get("data")
    who = (data.get("user_id") or data.get("username")) if isinstance(data, dict) else None
    return who or find_nested(event, "user_id") or find_nested(event, "username")


def course_of(event: Mapping[str, Any]) -> Any:
    """The id of the course that ERB looks up; ``None`` if the event names none."""
    context = event.get("context")
    return context.get("course_id") if isinstance(context, dict) else None
