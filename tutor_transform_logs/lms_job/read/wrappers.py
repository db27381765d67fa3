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

from .events import MAX_EVENT_BYTES, TRACKER_FIELDS, Unparsable, is_tracked, is_whole, memory_of, parse
from .wrapped_lists import ListedLine, lines_of_list

# In an object that is not an event itself, the first of these is the line.
LINE_KEYS = ("log", "message", "line", "@message", "short_message", "body")
# OpenTelemetry's form of a text.
TEXT_KEY = "stringValue"
# Where Elastic's schema has a line, under "event", from before the collector has changed it.
ORIGINAL_KEY = "original"
# Splunk's collector has the line under "event", beside one of these.
SPLUNK_KEYS = ("host", "index", "source", "sourcetype")
# What takes more than this with its values is not parsed, so that a worker's memory is bounded.
MAX_WRAPPER_BYTES = 4 * MAX_EVENT_BYTES
# One collector may have read what another one wrote. No more of them are removed.
MOST_WRAPPERS = 5
# What tells apart the streams of a file, of which each has its own parts.
_STREAM_KEYS = (
    "stream",
    "source",
    "attrs",
    "docker",
    "kubernetes",
    "container_id",
    "container_name",
    "file",
    "filename",
    # Docker's drivers: of one line.
    "partial_id",
)
# containerd's and CRI-O's: time, stream, tags.
_CRI = re.compile(rb"\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|[+-]\d\d:\d\d) (stdout|stderr) ([FP])(?::\S*)?(?: |$)")
_SPACE = " \t\r\n"
_SEPARATORS = re.compile(r"[ \t\r\n,\[\]]*")
# A tracker writes these first.
_TRACKED = re.compile(rb'\{"name": "[^"\\]*", "context": \{')
_EVENT_KEY = b'"event":'
_NAME_KEY = b'"name":'
# That of a tracker's event is an object, or JSON in a text.
_CONTEXT = re.compile(rb'"context": ?"?\{')
_WRAPPING_KEYS = re.compile(rb'"(?:log|message|line|@message|short_message|body|logEvents)"\s*:')
# What may be before an event: a logger's prefix.
_BEGINNING = re.compile(rb'[^"{}]*\{"')
_DECODER = json.JSONDecoder()
# Docker's parts but for a line's last one are of 16 kB. At their ends, halves of characters were replaced.
PART_BYTES = range(16_000, 17_000)
# The beginning of a value, or the end of a number's, at which JSON was cut off.
_UNFINISHED = re.compile(r"\s*(?:-|\.|\.?[eE][+-]?|tr?u?|fa?l?s?|nu?l?)?")
_LONGEST_ESCAPE = len(r"\uD83D\uDE00")


class LinePart(NamedTuple):
    """A line of a log, or a part of one."""

    at: int
    """Where its wrapping begins in the wrapped line, in bytes."""
    text: bytes
    stream: str = ""
    """Its other parts have the same."""
    ends: bool | None = True
    """``False``: another part follows. ``None``: perhaps; it does not if this is a whole event."""
    end: int = 0
    """Where the value with it ends in the wrapped line, in bytes, if that has several values."""


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


def is_cri_part(raw: bytes) -> bool:
    """Is ``raw`` a part of a line, in columns, behind which another one comes?"""
    found = _CRI.match(raw) if raw[10:11] == b"T" else None
    return found is not None and found[2] == b"P"


def ends_by_itself(raw: bytes) -> bool:
    """Is the wrapper ``raw``, behind which the object ends, certainly whole? CRI's has no mark at its end."""
    return _CRI.match(raw) is None


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


def may_be_first_part(raw: bytes) -> bool:
    """May ``raw`` be the first part of a line? Either it is as long as one of Docker's, or an event was cut off."""
    if is_event(raw):
        return False
    return len(raw) in PART_BYTES or (_BEGINNING.match(raw) is not None and is_cut_off(raw))


def is_cut_off(raw: bytes) -> bool:
    """Is this JSON, behind what a logger writes before it, that ends too early, and is right up to there?"""
    text = raw[raw.find(b"{") :].decode("latin-1")
    try:
        _DECODER.raw_decode(text)
    except json.JSONDecodeError as error:
        if error.msg.startswith("Unterminated string"):
            return True
        if error.msg.startswith("Invalid \\u"):
            return len(text) - error.pos < _LONGEST_ESCAPE
        return _UNFINISHED.fullmatch(text, error.pos) is not None
    except (ValueError, RecursionError):
        return False
    return False


def _is_plain(raw: bytes, begin: int) -> bool:
    """Is this certainly one event, as far as a few looks at its bytes tell? Most lines of a log are."""
    return raw.count(_EVENT_KEY) == 1 and (
        _TRACKED.match(raw, begin) is not None
        or (_NAME_KEY in raw and _CONTEXT.search(raw, begin) is not None and _WRAPPING_KEYS.search(raw, begin) is None)
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
        nested = [piece] if nested is None else [each._replace(at=start + each.at) for each in nested]
        pieces += [each._replace(end=end) for each in nested]
    return pieces


def _of_object(raw: bytes, at: int, fields: Any, depth: int) -> list[LinePart] | None:
    """The lines in one JSON object, which is all of ``raw`` but for a prefix; ``None`` if it is not a wrapper."""
    if not isinstance(fields, dict) or depth == 0 or is_whole(fields):
        return None
    if is_tracked(fields):
        return _of_half_tracked(at, fields, depth)
    if (listed := lines_of_list(raw, fields)) is not None:
        return [piece for element in listed for piece in _of_value(at + element.at, element, depth)]
    blank: list[LinePart] | None = None
    for key, line in _values(fields):
        if isinstance(line, str):
            if blank is not None and not _holds_event(line, depth):
                continue
            if _is_half_tracked(fields) and not _holds_event(line, depth):
                return blank
            line = _original(fields, line, depth)
            pieces = _lines(at, line, _stream(fields), _ends(fields, key, line), depth)
            if line.strip():
                return pieces
            # The line may be under another key.
            blank = blank or pieces
        # In an object of Elastic's schema, for example, "log" says in which file the "message" was.
        elif (parsed := _of_parsed(at, line, depth - 1)) is not None:
            return parsed
    return _of_event_field(at, fields, depth) or blank


def _values(fields: Mapping[str, Any]) -> Iterator[tuple[str, str | dict[str, Any]]]:
    """What is under each key that a line may be under, in their order."""
    for key in LINE_KEYS:
        line = fields.get(key)
        if isinstance(line, dict):
            line = line.get(TEXT_KEY, line)
        if isinstance(line, str | dict):
            yield key, line


def _of_half_tracked(at: int, fields: Mapping[str, Any], depth: int) -> list[LinePart] | None:
    """The lines in an object that has some fields of an event, if one of them is a whole event; else ``None``."""
    event = fields.get("event")
    original = event.get(ORIGINAL_KEY) if isinstance(event, dict) else None
    for key, line in (*_values(fields), ("event", original), ("event", event)):
        if isinstance(line, str) and "{" in line:
            pieces = _lines(at, line, _stream(fields), _ends(fields, key, line), depth)
        elif isinstance(line, dict):
            pieces = _of_parsed(at, line, depth - 1) or []
        else:
            continue
        if any(_is_whole(piece.text) for piece in pieces):
            return pieces
    return None


def _of_event_field(at: int, fields: Mapping[str, Any], depth: int) -> list[LinePart] | None:
    """The lines under a collector's own ``event``; ``None`` if there is none."""
    event = fields.get("event")
    if isinstance(event, dict):
        if isinstance(line := event.get(ORIGINAL_KEY), str):
            return _lines(at, line, _stream(fields), True, depth)
        return _of_parsed(at, event, depth - 1)
    if isinstance(event, str) and (any(key in fields for key in SPLUNK_KEYS) or _holds_event(event, depth)):
        return _lines(at, event, _stream(fields), True, depth)
    return None


def _original(fields: Mapping[str, Any], line: str, depth: int) -> str:
    """``line``, or what it was before the collector has changed it."""
    event = fields.get("event")
    original = event.get(ORIGINAL_KEY) if isinstance(event, dict) else None
    if not isinstance(original, str) or original == line or _holds_event(line, depth):
        return line
    return original if _holds_event(original, depth) else line


def _is_half_tracked(fields: Mapping[str, Any]) -> bool:
    """Is this rather an event that lacks its payload than a wrapper, which may have such a field, too?"""
    return sum(key in fields for key in TRACKER_FIELDS) > 1


def _holds_event(line: str, depth: int) -> bool:
    """Is there an event in this text, however it is wrapped?"""
    return any(_is_or_holds_event(raw, depth) for raw in line.encode("utf-8", "surrogatepass").split(b"\n"))


def _is_or_holds_event(raw: bytes, depth: int) -> bool:
    begin = raw.find(b"{")
    if begin < 0:
        return False
    try:
        return is_tracked(parse(raw).fields) or _pieces(raw, begin, depth - 1) is not None
    except Unparsable:
        return _pieces(raw, begin, depth - 1) is not None


def _is_whole(raw: bytes) -> bool:
    """Is this line an event that lacks nothing?"""
    try:
        return is_whole(parse(raw).fields)
    except Unparsable:
        return False


def _of_value(at: int, element: ListedLine, depth: int) -> list[LinePart]:
    """The lines in one element of a list."""
    line = element.line
    if not isinstance(line, dict):
        return _lines(at, line, element.stream, True, depth)
    parsed = _of_parsed(at, line, depth - 1)
    return [LinePart(at, json.dumps(line).encode("ascii"))] if parsed is None else parsed


def _of_parsed(at: int, fields: dict[str, Any], depth: int) -> list[LinePart] | None:
    """The lines in an object that a collector has made of a line; ``None`` if it has no event in it."""
    # Written as a tracker writes it, which is what it was unless the collector has sorted its keys.
    raw = json.dumps(fields).encode("ascii")
    if is_tracked(fields):
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
    return [piece] if pieces is None else [each._replace(at=piece.at, end=0) for each in pieces]


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
    # In Docker's own files, the last part has the line end. What reads them may leave that out, and the time.
    in_docker_file = key == "log" and "stream" in fields
    return None if in_docker_file and not line.endswith("\n") else True


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at


def _decoded(raw: bytes) -> Any:
    """``None`` if it is not UTF-8."""
    try:
        return json.loads(raw.rstrip())
    except (ValueError, RecursionError):
        return None
