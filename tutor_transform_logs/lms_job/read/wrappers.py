"""What collectors put around a line of a log: JSON objects, CRI's columns, several lines in one. Pure functions.

A collector that keeps the output of a container does not keep its lines as they are. Docker writes each as the ``log``
of a JSON object, containerd (CRI) behind a time, a stream and a tag, and what reads those files puts them into objects
of its own. A long line comes in parts. Here one line of such a file becomes the pieces of the log's lines in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from .events import MAX_EVENT_BYTES, Unparsable, memory_of, parse

# In an object that has no event itself, the first of these is the line.
LINE_KEYS = ("log", "message", "line", "@message", "short_message", "body")
# A subscription of CloudWatch: each element's message is a line.
LIST_KEY, LIST_MESSAGE = "logEvents", "message"
# Written by CloudWatch itself, when a subscription is set up.
CONTROL_MESSAGE = "CONTROL_MESSAGE"
# What takes more than this with its values is not parsed, so that a worker's memory is bounded.
MAX_WRAPPER_BYTES = 4 * MAX_EVENT_BYTES
# One collector may have read what another one wrote. No more of them are removed.
MOST_WRAPPERS = 5
# What tells apart the streams of a file, of which each has its own parts.
_STREAM_KEYS = ("stream", "attrs", "docker", "kubernetes", "container_id", "file", "filename")
# containerd's and CRI-O's: time, stream, tags.
_CRI = re.compile(rb"\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|[+-]\d\d:\d\d) (stdout|stderr) ([FP])(?::\S*)?(?: |$)")
_SPACE = " \t\r\n"
_SEPARATORS = re.compile(r"[ \t\r\n,\[\]]*")
# A tracker writes these first.
_TRACKED = re.compile(rb'\{"name": "[^"\\]*", "context": \{')
_EVENT_KEY = b'"event":'
_WRAPPING_KEYS = re.compile(rb'"(?:log|message|line|@message|short_message|body|logEvents)"\s*:')
# What may be before an event: a logger's prefix.
_BEGINNING = re.compile(rb'[^"{}]*\{"')
_DECODER = json.JSONDecoder()


class LinePart(NamedTuple):
    """A line of a log, or a part of one."""

    at: int
    """Where its wrapping begins in the wrapped line, in bytes."""
    text: bytes
    stream: str = ""
    """Its other parts have the same."""
    ends: bool | None = True
    """``False``: another part follows. ``None``: perhaps; it does not if this is a whole event."""


def unwrap(raw: bytes) -> list[LinePart] | None:
    """The lines of a log that are in ``raw``, a line without its line end; ``None`` if it is such a line itself.

    The same goes for a line that is not an event, and for what only resembles a wrapper.
    """
    if raw[10:11] == b"T" and (found := _CRI.match(raw)):
        text = raw[found.end() :]
        # The parts of one line have the columns only.
        return _nested(LinePart(0, text, f"cri {found[1].decode()}", found[2] == b"F"), MOST_WRAPPERS)
    begin = raw.find(b"{")
    if begin < 0 or _is_plain(raw, begin) or memory_of(raw) > MAX_WRAPPER_BYTES:
        return None
    return _pieces(raw, begin, MOST_WRAPPERS)


def is_event(raw: bytes) -> bool:
    """Is ``raw`` a whole event, of whatever type?"""
    if not raw.rstrip().endswith(b"}"):
        return False
    try:
        parse(raw)
    except Unparsable:
        return False
    return True


def is_event_of_its_own(raw: bytes) -> bool:
    """Is ``raw``, which may be the last part of a line, an event with a time, as only a whole line has it?"""
    return _BEGINNING.match(raw) is not None and is_event(raw) and "time" in parse(raw).fields


def _is_plain(raw: bytes, begin: int) -> bool:
    """Is this certainly one event, as far as a few looks at its bytes tell? Most lines of a log are."""
    return raw.count(_EVENT_KEY) == 1 and (
        _TRACKED.match(raw, begin) is not None or _WRAPPING_KEYS.search(raw, begin) is None
    )


def _pieces(raw: bytes, begin: int, depth: int) -> list[LinePart] | None:
    """The lines in ``raw``, whose first brace is at ``begin``; ``None`` where it holds nothing but itself."""
    # Of Latin-1, each byte is a character: places in the text are those in the bytes. The braces and quotation marks of
    # JSON are the same in UTF-8.
    text = raw.decode("latin-1")
    only_values = not text[:begin].strip(_SPACE + "[\xef\xbb\xbf")
    at, spans = begin, []
    while at < len(text):
        try:
            value, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            return None
        spans.append((at, end))
        at = _end(_SEPARATORS, text, end)
        if at < len(text) and not (only_values and text[at] == "{"):
            return None
    if len(spans) == 1 and end == len(text.rstrip(_SPACE)):
        # With what a logger or syslog writes before it.
        return _of_object(raw, 0, value if raw.isascii() else _decoded(raw[begin:]), depth)
    if not only_values:
        return None
    pieces: list[LinePart] = []
    for start, end in spans:
        piece = LinePart(start, raw[start:end])
        nested = None if _is_plain(piece.text, 0) else _pieces(piece.text, 0, depth)
        pieces += [piece] if nested is None else [each._replace(at=start + each.at) for each in nested]
    return pieces


def _of_object(raw: bytes, at: int, fields: Any, depth: int) -> list[LinePart] | None:
    """The lines in one JSON object, which is all of ``raw`` but for a prefix; ``None`` if it is not a wrapper."""
    if not isinstance(fields, dict) or "event" in fields or "data" in fields or depth == 0:
        return None
    if isinstance(listed := fields.get(LIST_KEY), list):
        if not listed or fields.get("messageType") == CONTROL_MESSAGE:
            return [LinePart(at, b"")]
        pieces: list[LinePart] = []
        for place, element in zip(_places(raw, len(listed)), listed, strict=True):
            line = element.get(LIST_MESSAGE) if isinstance(element, dict) else None
            if isinstance(line, dict):
                parsed = _of_parsed(at + place, line, depth - 1)
                pieces += [LinePart(at + place, json.dumps(line).encode("ascii"))] if parsed is None else parsed
            elif isinstance(line, str):
                stream = f"{fields.get('logGroup')} {fields.get('logStream')}"
                pieces += _lines(at + place, line, stream, True, depth)
            else:
                return None
        return pieces
    for key in LINE_KEYS:
        line = fields.get(key)
        if isinstance(line, str):
            return _lines(at, line, _stream(fields), _ends(fields, key, line), depth)
        # In an object of Elastic's schema, for example, "log" says in which file the "message" was.
        if isinstance(line, dict) and (parsed := _of_parsed(at, line, depth - 1)) is not None:
            return parsed
    return None


def _of_parsed(at: int, fields: dict[str, Any], depth: int) -> list[LinePart] | None:
    """The lines in an object that a collector has made of a line; ``None`` if it has no event in it."""
    # Written as a tracker writes it, which is what it was unless the collector has sorted its keys.
    raw = json.dumps(fields).encode("ascii")
    if "event" in fields or "data" in fields:
        return [LinePart(at, raw)]
    pieces = _of_object(raw, at, fields, depth)
    return None if pieces is None else [piece._replace(at=at) for piece in pieces]


def _lines(at: int, line: str, stream: str, ends: bool | None, depth: int) -> list[LinePart]:
    """The lines in a wrapper's text."""
    *whole, last = line.encode("utf-8", "surrogatepass").split(b"\n")
    pieces = [LinePart(at, text.removesuffix(b"\r"), stream) for text in whole]
    if last or not pieces:
        pieces.append(LinePart(at, last, stream, ends))
    return [nested for piece in pieces for nested in _nested(piece, depth - 1)]


def _nested(piece: LinePart, depth: int) -> list[LinePart]:
    """``piece``, or what is in it if it is a wrapper itself."""
    begin = piece.text.find(b"{")
    if piece.ends is not True or begin < 0 or depth == 0 or _is_plain(piece.text, begin):
        return [piece]
    pieces = _pieces(piece.text, begin, depth)
    return [piece] if pieces is None else [each._replace(at=piece.at) for each in pieces]


def _stream(fields: Mapping[str, Any]) -> str:
    return json.dumps([fields.get(key) for key in _STREAM_KEYS])


def _ends(fields: Mapping[str, Any], key: str, line: str) -> bool | None:
    """Is this a whole line, or the last part of one? ``None`` if it may be either."""
    tag = fields.get("logtag", fields.get("_p"))
    if isinstance(tag, str):
        return not tag.startswith("P")
    if "partial_message" in fields:
        # Docker's driver for Fluentd.
        return str(fields.get("partial_last")).lower() == "true"
    # In Docker's own files, the last part has the line end. What reads them may leave that out.
    in_docker_file = key == "log" and "stream" in fields and "time" in fields
    return None if in_docker_file and not line.endswith("\n") else True


def _places(raw: bytes, count: int) -> Iterator[int]:
    """Where the elements of the list of lines begin."""
    text = raw.decode("latin-1")
    found = re.search(rf'"{LIST_KEY}"\s*:', text)
    at = found.end() if found else 0
    for _ in range(count):
        at = _end(_SEPARATORS, text, at)
        try:
            _, end = _DECODER.raw_decode(text, at)
        except ValueError:
            # The key was written with an escape, or is there twice.
            end = at
        yield at
        at = end


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at


def _decoded(raw: bytes) -> Any:
    """``None`` if it is not UTF-8."""
    try:
        return json.loads(raw.rstrip())
    except (ValueError, RecursionError):
        return None
