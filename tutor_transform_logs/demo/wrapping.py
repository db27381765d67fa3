"""Names what a collector has put around the lines of a log."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tutor_transform_logs.lms_job.read.events import is_tracked, is_whole
from tutor_transform_logs.lms_job.read.values import holds_values
from tutor_transform_logs.lms_job.read.wrapped_lists import CLOUDWATCH_KEY, LOKI_KEY, OTLP_KEY
from tutor_transform_logs.lms_job.read.wrappers import LINE_KEYS, TEXT_KEY, unwrap

# How much of a log, and how many of its lines, are looked at.
LOOKED_AT_BYTES = 256 * 1024
MOST_LINES = 100
# The first whose keys an object has, with the line under the first of them.
WRITERS = (
    ({"log", "container_id", "source"}, "Docker's driver for Fluentd writes them"),
    ({"log", "kubernetes"}, "Fluent Bit or Fluentd writes them"),
    ({"log", "logtag"}, "Fluent Bit or Fluentd writes them"),
    ({"log", "_p"}, "Fluent Bit or Fluentd writes them"),
    ({"log", "stream", "time"}, "Docker's json-file writes them"),
    ({"message"}, "Vector, Logstash or Filebeat writes them"),
    ({"line"}, "Loki's logcli writes them"),
    ({"short_message"}, "GELF has them"),
    ({"body"}, "OpenTelemetry has them"),
    ({"event"}, "Splunk or Logstash writes them"),
)
# By the keys of their lists.
LIST_WRITERS = {
    CLOUDWATCH_KEY: "CloudWatch passes them on",
    OTLP_KEY: "OpenTelemetry has them",
    LOKI_KEY: "Loki's API answers with them",
}


def describe_wrapping(head: bytes) -> str:
    """How a log that begins with ``head`` has its lines; ``""`` if it has them as the LMS writes them."""
    if holds_values(head, ended=True):
        is_array = head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
        how = "in a JSON array" if is_array else "in JSON objects that are not one a line"
        writer = _writer(_first_value(head))
        return f"lines are wrapped as {writer}, {how}" if writer else f"events are {how}"
    for raw in head.split(b"\n", MOST_LINES)[:MOST_LINES]:
        pieces = unwrap(raw)
        if pieces and pieces[0].stream.startswith("cri "):
            return "lines are wrapped as containerd or CRI-O writes them"
        if pieces:
            writer = _writer(_first_value(raw))
            return f"lines are wrapped as {writer}" if writer else "events are in JSON, several of them in a line"
    return ""


def _first_value(raw: bytes) -> Any:
    """The first JSON object; ``None`` if it is cut off."""
    text = raw[raw.find(b"{") :].decode("utf-8", "replace")
    try:
        return json.JSONDecoder().raw_decode(text)[0]
    except (ValueError, RecursionError):
        return None


def _writer(fields: Any) -> str:
    """Who wraps a line like this; ``""`` if nothing is in it."""
    if not isinstance(fields, Mapping) or is_whole(fields):
        return ""
    key = next(_line_keys(fields), "")
    if not key:
        return next((writer for key, writer in LIST_WRITERS.items() if key in fields), "")
    for keys, writer in WRITERS:
        if key in keys and keys <= fields.keys():
            return writer
    return f'a collector writes them, under "{key}"'


def _line_keys(fields: Mapping[str, Any]) -> Iterator[str]:
    for key in LINE_KEYS:
        value = fields.get(key)
        if isinstance(value, str) or (isinstance(value, Mapping) and (TEXT_KEY in value or is_tracked(value))):
            yield key
    if "event" in fields:
        yield "event"
