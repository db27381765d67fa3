"""The lines in objects that have lists of them: of CloudWatch, of OpenTelemetry, and an answer of Loki's API."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

# A subscription of CloudWatch: each element's message is a line.
CLOUDWATCH_KEY = "logEvents"
# OpenTelemetry's JSON: lists of resources, of their scopes, and of their records. The second had another name.
OTLP_KEY = "resourceLogs"
OTLP_SCOPES = ("scopeLogs", "instrumentationLibraryLogs")
# Loki's API: lists of streams, and of their values, which are a time and a line.
LOKI_KEY, LOKI_STREAMS, LOKI_VALUES = "data", "result", "values"
# Written by CloudWatch itself, when a subscription is set up.
CONTROL_MESSAGE = "CONTROL_MESSAGE"
_SEPARATORS = re.compile(r"[ \t\r\n,\[\]]*")
_OTLP_BODY = re.compile(r'"body"\s*:')
_LOKI_VALUE = re.compile(r'\[\s*"\d+"\s*,\s*"')
# As each of these lists is in the bytes of an object.
_MARKS = (b'"logEvents"', b'"resourceLogs"', b'"values"')
_DECODER = json.JSONDecoder()


class ListedLine(NamedTuple):
    """A line in a list."""

    line: str | dict[str, Any]
    """An object: what the collector has made of the line."""
    stream: str = ""
    """As in :class:`~.wrappers.LinePart`."""
    at: int = 0
    """Where its element begins in the object with the list, in bytes; 0 if that can't be told."""


def may_have_list(raw: bytes) -> bool:
    """May this object have more than one line in a list?"""
    return any(mark in raw for mark in _MARKS)


def lines_of_list(raw: bytes, fields: Mapping[str, Any]) -> list[ListedLine] | None:
    """The lines in the list of an object with these ``fields``, which is ``raw``; ``None`` if it has none.

    An empty line stands for a list without elements.
    """
    if isinstance(fields.get(CLOUDWATCH_KEY), list):
        lines = _of_cloudwatch(raw, fields)
    elif isinstance(fields.get(OTLP_KEY), list):
        lines = _placed(raw, _OTLP_BODY, list(_of_otlp(fields[OTLP_KEY])))
    elif isinstance(answer := fields.get(LOKI_KEY), dict) and isinstance(answer.get(LOKI_STREAMS), list):
        lines = _placed(raw, _LOKI_VALUE, list(_of_loki(answer[LOKI_STREAMS])))
    else:
        return None
    return [ListedLine("")] if lines == [] else lines


def _of_cloudwatch(raw: bytes, fields: Mapping[str, Any]) -> list[ListedLine] | None:
    """``None`` if an element is not one of CloudWatch's."""
    elements = fields[CLOUDWATCH_KEY]
    if fields.get("messageType") == CONTROL_MESSAGE:
        return []
    messages = [element.get("message") if isinstance(element, dict) else None for element in elements]
    lines = [message for message in messages if isinstance(message, str | dict)]
    if len(lines) < len(messages):
        return None
    stream = f"{fields.get('logGroup')} {fields.get('logStream')}"
    places = _places(raw, len(elements))
    return [ListedLine(line, stream, place) for place, line in zip(places, lines, strict=True)]


def _of_otlp(resources: list[Any]) -> Iterator[str | dict[str, Any]]:
    for resource in resources:
        for scope in (scope for key in OTLP_SCOPES for scope in _elements(resource, key)):
            for record in _elements(scope, "logRecords"):
                body = record.get("body") if isinstance(record, dict) else None
                text = body.get("stringValue", body) if isinstance(body, dict) else body
                yield text if isinstance(text, str | dict) else json.dumps(text)


def _of_loki(streams: list[Any]) -> Iterator[str | dict[str, Any]]:
    for stream in streams:
        for value in _elements(stream, LOKI_VALUES):
            line = value[1] if isinstance(value, list) and len(value) > 1 else value
            yield line if isinstance(line, str | dict) else json.dumps(line)


def _elements(fields: Any, key: str) -> list[Any]:
    found = fields.get(key) if isinstance(fields, dict) else None
    return found if isinstance(found, list) else []


def _placed(raw: bytes, mark: re.Pattern[str], lines: list[str | dict[str, Any]]) -> list[ListedLine]:
    """``lines`` with the places of their marks, if there is one for each."""
    places = [found.start() for found in mark.finditer(raw.decode("latin-1"))]
    if len(places) != len(lines):
        places = [0] * len(lines)
    return [ListedLine(line, at=place) for place, line in zip(places, lines, strict=True)]


def _places(raw: bytes, count: int) -> Iterator[int]:
    """Where the elements of CloudWatch's list begin."""
    text = raw.decode("latin-1")
    found = re.search(rf'"{CLOUDWATCH_KEY}"\s*:', text)
    at = found.end() if found else 0
    for _ in range(count):
        at = _end(text, at)
        try:
            _, end = _DECODER.raw_decode(text, at)
        except ValueError:
            # The key was written with an escape, or is there twice.
            end = at
        yield at
        at = end


def _end(text: str, at: int) -> int:
    found = _SEPARATORS.match(text, at)
    return found.end() if found else at
