"""Tell from a line's bytes that its event is none that the type transforms, without parsing its JSON.

Most lines of a log are page views and the like. :class:`Skip` says yes only where the full parse
(:func:`~.events.parse`) could give no other name than an unknown one, whatever the order of the keys, whatever is
nested; where it can't tell, it says no, and the line is parsed. On a line that a tracker wrote (a JSON object with an
``event``) the two agree. On others that are skipped the full parse might have said ``unparsable``: the JSON of a
skipped line is not checked beyond its last byte.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Sequence

from .reader import Line, split_lines

# An escaped ASCII character could hide a key or a known name. JSON writers escape these characters in other ways.
_HIDDEN_ASCII = re.compile(rb"\\u00[0-7]")
_NAME = re.compile(rb'"name"\s*(?::\s*(?:"([^"\\]*)(["\\])|[^"\s]))?')
# What needs no escape in JSON, so that it is written in one way only (save for the escapes above).
_PLAIN = re.compile(r"[ !#-.0-\[\]-~]+")
# How a tracker begins a line, behind a logger's prefix perhaps, and what it ends one with.
_START = b'{"name": "'
_START_LENGTH = len(_START)
_LONGEST_PREFIX = 300
_LAST_KEY = b'"event_source": "'
_LONGEST_END = 600


class Skip:
    """Decides for one set of known names. A name with characters that can be written in two ways turns it off."""

    def __init__(self, known: Collection[str]) -> None:
        self.usable = all(_PLAIN.fullmatch(name) for name in known)
        self._known = frozenset(name.encode() for name in known if self.usable)

    def skips(self, raw: bytes) -> bool:
        """Is the event of this line certainly none of the known?"""
        # A line that was cut off must stay unparsable, and so must one that has no event.
        if not raw.endswith(b"}") or b"{" not in raw or not raw.isascii():
            return False
        if not (b'"event":' in raw or b'"data":' in raw) or _HIDDEN_ASCII.search(raw):
            return False
        at = raw.find(b'"name"')
        while at >= 0:
            # Every name in the line, at whatever level it is: one of them is the event's. A name with an escape in
            # it is none of the known ones.
            found = _NAME.match(raw, at)
            if found is None or (found[2] == b'"' and found[1] in self._known):
                return False
            at = raw.find(b'"name"', found.end() - 1)
        return True

    def first_kept(self, lines: Sequence[bytes], start: int, plain: bool) -> int:
        """The index of the first line, from ``start`` on, that is not skipped; the number of lines if all are.

        ``plain``: all are of ASCII characters, and none of these is hidden. Then the usual form of a tracker's line,
        with one name in it, is told by a few looks at it.
        """
        known, skips = self._known, self.skips
        for index in range(start, len(lines)):
            raw = lines[index]
            if plain:
                begin = raw.find(_START, 0, _LONGEST_PREFIX) + _START_LENGTH
                if begin >= _START_LENGTH and raw[-1:] == b"}" and raw.rfind(_LAST_KEY, -_LONGEST_END) >= 0:
                    end = raw.find(b'"', begin)
                    if raw[begin:end] in known:
                        return index
                    if raw.find(b'"name"', end) < 0:
                        continue
            if not skips(raw):
                return index
        return len(lines)


class Gap:
    """Lines that are skipped, one after the other. Never empty."""

    __slots__ = ("end", "lines", "number", "start")

    def __init__(self, start: int, number: int, lines: list[bytes]) -> None:
        """``start`` is the offset of the first line, ``number`` its number."""
        self.start = start
        self.number = number
        self.lines = lines
        self.end = start + len(lines) + sum(map(len, lines))

    def cut(self, count: int) -> tuple[Gap, Gap | None]:
        """The first ``count`` lines, and the rest of them."""
        if count >= len(self.lines):
            return self, None
        first = Gap(self.start, self.number, self.lines[:count])
        return first, Gap(first.end, self.number + count, self.lines[count:])


def is_plain(text: bytes) -> bool:
    """Only ASCII characters, and none of them hidden behind an escape?"""
    return text.isascii() and not _HIDDEN_ASCII.search(text)


def split(chunks: Iterable[bytes], offset: int, number: int, limit: int, skip: Skip) -> Iterator[Line | Gap]:
    """As :func:`~.reader.split_lines`, but with the lines to skip as gaps."""
    chunks = iter(chunks)
    open_line = b""
    for chunk in chunks:
        lines = chunk.split(b"\n")
        lines[0] = open_line + lines[0]
        open_line = lines.pop()
        if not lines:
            continue
        if max(map(len, lines)) > limit:
            yield from split_lines([*(part for raw in lines for part in (raw, b"\n"))], offset, number, limit)
            offset, number = offset + sum(map(len, lines)) + len(lines), number + len(lines)
            lines = []
        # What is hidden across the edge of two chunks is in the first line.
        plain = is_plain(chunk) and (not lines or is_plain(lines[0]))
        at = 0
        while at < len(lines):
            kept = skip.first_kept(lines, at, plain)
            if kept > at:
                gap = Gap(offset, number, lines[at:kept])
                yield gap
                offset, number, at = gap.end, number + kept - at, kept
                continue
            raw = lines[at]
            end = offset + len(raw) + 1
            yield Line(offset, end, number, raw[:-1] if raw.endswith(b"\r") else raw)
            offset, number, at = end, number + 1, at + 1
        if len(open_line) > limit:
            # Hands on what is kept of it without ever holding it whole; what comes after it is just not skipped.
            yield from split_lines(itertools.chain([open_line], chunks), offset, number, limit)
            return
    if open_line:
        yield from split_lines([open_line], offset, number, limit)
