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
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from .reader import Line, split_lines

# An escaped ASCII character could hide a key or a known name. JSON writers escape these characters in other ways.
_HIDDEN_ASCII = re.compile(rb"\\u00[0-7]")
_NAME = re.compile(rb'"name"\s*(?::\s*(?:"([^"\\]*)(["\\])|[^"\s]))?')
# What needs no escape in JSON, so that it is written in one way only (save for the escapes above).
_PLAIN = re.compile(r"[ !#-.0-\[\]-~]+")
_COMMON_START = b'{"name": "'


class Skip:
    """Decides for one set of known names. A name with characters that can be written in two ways turns it off."""

    def __init__(self, known: Collection[str]) -> None:
        self.usable = all(_PLAIN.fullmatch(name) for name in known)
        self._known = frozenset(name.encode() for name in known if self.usable)

    def skips(self, raw: bytes) -> bool:
        """Is the event of this line certainly none of the known?"""
        # A line that was cut off must stay unparsable, and so must one that has no event.
        if not raw.endswith(b"}") or not raw.isascii() or not (b'"event":' in raw or b'"data":' in raw):
            return False
        if b"\\u00" in raw and _HIDDEN_ASCII.search(raw):
            return False
        at = 0
        if raw.startswith(_COMMON_START):
            at = raw.find(b'"', len(_COMMON_START))
            name = raw[len(_COMMON_START) : at]
            # A name with an escape in it is none of the known ones.
            if name in self._known:
                return False
        elif b"{" not in raw:
            return False
        at = raw.find(b'"name"', at)
        while at >= 0:
            # Every name in the line, at whatever level it is: one of them is the event's.
            found = _NAME.match(raw, at)
            if found is None or (found[2] == b'"' and found[1] in self._known):
                return False
            at = raw.find(b'"name"', found.end() - 1)
        return True


class Gap(NamedTuple):
    """Lines that are skipped, one after the other. Never empty."""

    start: int
    number: int
    """Of the first line."""
    lines: list[bytes]

    @property
    def end(self) -> int:
        return self.start + len(self.lines) + sum(map(len, self.lines))

    def cut(self, count: int) -> tuple[Gap, Gap | None]:
        """The first ``count`` lines, and the rest of them."""
        first = Gap(self.start, self.number, self.lines[:count])
        rest = self.lines[count:]
        return first, Gap(first.end, self.number + count, rest) if rest else None


def split(chunks: Iterable[bytes], offset: int, number: int, limit: int, skip: Skip) -> Iterator[Line | Gap]:
    """As :func:`~.reader.split_lines`, but with the lines to skip as gaps."""
    chunks = iter(chunks)
    skips = skip.skips
    open_line = b""
    for chunk in chunks:
        lines = (open_line + chunk).split(b"\n")
        open_line = lines.pop()
        gap: list[bytes] = []
        for raw in lines:
            if len(raw) <= limit and skips(raw):
                gap.append(raw)
                continue
            if gap:
                skipped = Gap(offset, number, gap)
                yield skipped
                offset, number, gap = skipped.end, number + len(gap), []
            end = offset + len(raw) + 1
            if len(raw) > limit:
                yield from split_lines([raw, b"\n"], offset, number, limit)
            else:
                yield Line(offset, end, number, raw[:-1] if raw.endswith(b"\r") else raw)
            offset, number = end, number + 1
        if gap:
            skipped = Gap(offset, number, gap)
            yield skipped
            offset, number = skipped.end, number + len(gap)
        if len(open_line) > limit:
            # Hands on what is kept of it without ever holding it whole; what comes after it is just not skipped.
            yield from split_lines(itertools.chain([open_line], chunks), offset, number, limit)
            return
    if open_line:
        yield from split_lines([open_line], offset, number, limit)
