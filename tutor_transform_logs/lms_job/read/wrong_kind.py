"""Tells what is not a tracking log from one with some bad lines, by its first lines, before it costs anything.

A terabyte of another program's log would become a terabyte of dead letters, with all that is in it.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from ..model.plan import Segment
from ..model.records import Line
from ..storage.base import Readable
from ..util.errors import ObjectGone
from ..util.formatting import count, printable
from .decompress import BrokenObject
from .events import NO_EVENT_FIELD, Unparsable, is_tracked, parse
from .log_lines import log_lines
from .segment import segment_chunks

FIRST_LINES = 1000
# Of more than that, it would take long to find the first ones.
WITH_BLANK_LINES = 20_000
FIRST_BYTES = 4 * 1024**2
# Of fewer lines, most may be bad by chance, unless one knows what they are. Whole JSON objects are not bad by chance.
LEAST_LINES = 10
# Of a statement that is recognised.
_LONGEST_KNOWN = 64 * 1024
# Of the line that is shown.
_SHOWN = 60

NOTHING_BUT_BLANK_LINES = "no tracking log: all of its first lines are empty. Nothing of it is read"
_BINARY = "binary data"
_OTHER_JSON = 'JSON of another form (see "Forms that are not read" in the documentation)'
_MAGIC = {
    b"PK\x03\x04": "a ZIP file",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"%PDF-": "a PDF document",
    b"\x7fELF": "a program",
}
_TEXTS = (
    (re.compile(rb'\S+ \S+ \S+ \[[^\]]+\] "[A-Z]+ '), "nginx's or Apache's access log"),
    (re.compile(rb"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[\w+\] \d+#\d+: "), "nginx's error log"),
    (re.compile(rb"\[pid: \d+\|"), "uWSGI's log"),
    (
        re.compile(rb'\{\s*"status"\s*:\s*"\w+"\s*,\s*"data"\s*:\s*\{\s*"result'),
        "an answer of Loki's API, of which `logcli query -o raw` gives the lines",
    ),
    (re.compile(rb"(?i)<(?:!doctype|html|\?xml)"), "a web page or XML"),
)


@dataclass(frozen=True)
class KindCheck:
    """``max_invalid_ratio``: the largest share of lines without an event that a tracking log may have; 1: any."""

    source: Readable
    line_bytes: int
    max_invalid_ratio: float
    _found: dict[str, str] = field(default_factory=dict)

    def problem(self, segment: Segment) -> str:
        """Why the object of ``segment`` is not a tracking log; ``""`` if it may be one, or can't be read."""
        if self.max_invalid_ratio >= 1:
            return ""
        if segment.object not in self._found:
            whole = replace(segment, start=0, end=None, after_unterminated_line=False)
            begun = _Begun()
            lines = log_lines(begun.watch(segment_chunks(self.source, whole, 0)), limit=self.line_bytes)
            kept = [line for line in _until_broken(lines) if isinstance(line, Line)]
            if begun.is_cut and kept and kept[-1].unterminated and _kind_of(begun.head) in ("", _BINARY):
                # Of a line that goes on, more is not known.
                kept.pop()
            if not kept and len(begun.head) >= FIRST_LINES and not begun.head.strip():
                self._found[segment.object] = NOTHING_BUT_BLANK_LINES
            else:
                self._found[segment.object] = describe_wrong_kind(begun.head, kept, self.max_invalid_ratio)
        return self._found[segment.object]


@dataclass
class _Begun:
    """The first bytes of an object."""

    head: bytes = b""
    is_cut: bool = False
    """There may be more of it than was read."""

    def watch(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """``chunks``, up to some size."""
        read = 0
        for chunk in chunks:
            self.head = self.head or chunk[:4096]
            yield chunk
            read += len(chunk)
            if read >= FIRST_BYTES:
                self.is_cut = True
                return


def _until_broken(lines: Iterable[object]) -> Iterator[object]:
    """The first ``lines`` that are not blank, and no error where they can't be read: WORK reports that."""
    number = 0
    try:
        for line in itertools.islice(lines, WITH_BLANK_LINES):
            if isinstance(line, Line) and _is_blank(line):
                continue
            yield line
            number += 1
            if number == FIRST_LINES:
                return
    except (BrokenObject, ObjectGone):
        return


def _is_blank(line: Line) -> bool:
    """It says nothing of what the other lines are."""
    return not line.overlong and not line.raw.strip()


def describe_wrong_kind(head: bytes, lines: Iterable[Line], max_invalid_ratio: float) -> str:
    """Why an object with these first bytes and first lines is not a tracking log; ``""`` if it may be one.

    A last line that may still be written counts only in what is known to be something else. Of few lines, all have to
    be without an event, unless it is known what they are.
    """
    total, invalid, first = 0, 0, b""
    known = _kind_of(head)
    counted = [line for line in lines if not _is_blank(line)]
    for left, line in zip(range(len(counted) - 1, -1, -1), counted, strict=True):
        bad = not _has_event(line)
        other = bad and _is_other_json(line)
        if bad and not other and line.unterminated and known in ("", _OTHER_JSON):
            continue
        total += 1
        invalid += bad
        first = first or (line.raw.strip() if bad else b"")
        if other and total == 1:
            known = known or _kind_of(first) or _OTHER_JSON
        if invalid + left <= max_invalid_ratio * (total + left):
            return ""  # whatever the others are: parsing all of them takes as long as transforming a small log
    known = known or _kind_of(first)
    few = total < LEAST_LINES and (not known or (known == _OTHER_JSON and invalid < total))
    if few or invalid <= max_invalid_ratio * total:
        return ""
    shown = printable(first[:_SHOWN].decode("utf-8", "replace")) + ("..." if len(first) > _SHOWN else "")
    what = f"; the first: {shown}" if first and known not in (_BINARY, *_MAGIC.values()) else ""
    looks = f"; it looks like {known}" if known else ""
    lines_of_all = f"{invalid:,} of {'the first ' if total == FIRST_LINES else ''}{count(total, 'line')}"
    return f"no tracking log: {lines_of_all} hold no event{what}{looks}. Nothing of it is read"


def _has_event(line: Line) -> bool:
    if line.overlong:
        return False
    try:
        return is_tracked(parse(line.raw).fields)
    except Unparsable:
        return False


def _is_other_json(line: Line) -> bool:
    """Is the line a whole JSON object that holds no event? Nothing that was cut off is one."""
    if line.overlong or not line.raw.lstrip().startswith(b"{") or line.raw.strip() == b"{}":
        return False
    try:
        return not is_tracked(parse(line.raw).fields)
    except Unparsable as error:
        return error.reason == NO_EVENT_FIELD


def _kind_of(text: bytes) -> str:
    """What begins like this; ``""`` if that is not known."""
    for magic, name in _MAGIC.items():
        if text.startswith(magic):
            return name
    if b"\0" in text:
        return _BINARY
    for pattern, name in _TEXTS:
        if pattern.match(text):
            return name
    try:
        fields = json.loads(text) if len(text) <= _LONGEST_KNOWN else None
    except (ValueError, RecursionError):
        return ""
    if isinstance(fields, dict) and {"actor", "verb", "object"} <= fields.keys():
        return "xAPI statements"
    return ""
