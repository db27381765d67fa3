"""From an object's decompressed bytes to lines: split at newlines, keep count of where each line is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import overload

from ..model.records import START, Line, Position, SkippedLines
from .prefilter import Prefilter

# Of a line, where nothing else is said.
LIMIT = 16 * 1024**2


@overload
def split_lines(chunks: Iterable[bytes], start: Position = START, limit: int = LIMIT) -> Iterator[Line]: ...


@overload
def split_lines(
    chunks: Iterable[bytes], start: Position = START, limit: int = LIMIT, prefilter: Prefilter | None = None
) -> Iterator[Line | SkippedLines]: ...


def split_lines(
    chunks: Iterable[bytes], start: Position = START, limit: int = LIMIT, prefilter: Prefilter | None = None
) -> Iterator[Line | SkippedLines]:
    """Split ``chunks`` into lines at ``\\n``; a ``\\r`` before it goes too.

    ``start``: of the first line. Of a line longer than ``limit`` bytes only the first ``limit`` are kept, so memory
    stays bounded whatever the input is. The lines that ``prefilter`` rules out come as :class:`SkippedLines`.
    """
    offset, number = start
    begun: list[bytes] = []  # the parts of a line that has not ended yet, as far as they are kept
    kept = length = 0  # their bytes, and how many bytes of the line were read
    for chunk in chunks:
        at = 0
        if begun:
            # The line that spans chunks is completed by itself: the rest need not be copied for its sake.
            newline = chunk.find(b"\n")
            at = newline + 1 or len(chunk)
            if kept <= limit:
                begun.append(chunk[: min(at, limit + 1 - kept)])
                kept += len(begun[-1])
            length += at
            if newline < 0:
                continue
            text, begun = b"".join(begun), []
            if length - 1 > limit:
                yield Line(offset, offset + length, number, text[:limit], overlong=True)
            else:
                yield from _ended(text, 0, Position(offset, number), limit, prefilter)
            offset, number = offset + length, number + 1
        last: Line | SkippedLines | None = None
        for last in _ended(chunk, at, Position(offset, number), limit, prefilter):
            yield last
        if last is not None:
            offset, number = last.end, last.number + (last.lines if isinstance(last, SkippedLines) else 1)
        at = chunk.rfind(b"\n", at) + 1 or at
        if at < len(chunk):
            begun = [chunk[at : at + limit + 1]]
            kept, length = len(begun[0]), len(chunk) - at
    if begun:
        overlong = length > limit
        raw = b"".join(begun)[:limit] if overlong else b"".join(begun).removesuffix(b"\r")
        yield Line(offset, offset + length, number, raw, overlong, unterminated=True)


def _ended(
    text: bytes, at: int, start: Position, limit: int, prefilter: Prefilter | None
) -> Iterator[Line | SkippedLines]:
    """The lines that end in ``text``. The first of them begins at ``at``, which is ``start`` in the object."""
    offset, number = start
    ascii_only = prefilter is not None and text.isascii()
    while (newline := text.find(b"\n", at)) >= 0:
        if prefilter is not None:
            count, stop = prefilter.skip_from(text, at, limit, ascii_only)
            if count:
                names = prefilter.take_names()
                skipped = SkippedLines(offset, number, count, text, at, stop, names, prefilter.count_names)
                yield skipped
                # The line after them is known not to be skipped.
                offset, number, at, newline = skipped.end, number + count, stop, text.find(b"\n", stop)
                if newline < 0:
                    return
        raw = text[at:newline]
        end = offset + len(raw) + 1
        if len(raw) > limit:
            yield Line(offset, end, number, raw[:limit], overlong=True)
        else:
            yield Line(offset, end, number, raw[:-1] if raw.endswith(b"\r") else raw)
        offset, number, at = end, number + 1, newline + 1
