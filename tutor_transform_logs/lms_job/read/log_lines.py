"""The lines of a log in the bytes of an object, in whatever form a collector has kept them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from ..model.records import START, Line, Position, SkippedLines
from ..util.errors import ObjectGone
from .decompress import BrokenObject
from .join_parts import join_parts
from .lines import LIMIT, split_lines
from .prefilter import Prefilter
from .values import ValueSplitter, holds_values

# A line that may go on is first looked for several values in this much of it.
MARK_BYTES = 4 * 1024**2


def log_lines(
    chunks: Iterable[bytes],
    start: Position = START,
    limit: int = LIMIT,
    prefilter: Prefilter | None = None,
    after_unterminated_line: bool = False,
) -> Iterator[Line | SkippedLines]:
    """The lines of the log in ``chunks``; see :func:`~.lines.split_lines`.

    ``after_unterminated_line``: a line end at the beginning belongs to a line that was read before.
    """
    return join_parts(_object_lines(iter(chunks), start, limit, prefilter, after_unterminated_line), limit)


def _object_lines(
    chunks: Iterator[bytes], start: Position, limit: int, prefilter: Prefilter | None, after_unterminated_line: bool
) -> Iterator[Line | SkippedLines]:
    values, chunks = _peeked(chunks, limit)
    if values:
        rest = yield from ValueSplitter(chunks, start, limit).lines()
        if rest is None:
            return
        text, start = rest
        chunks, after_unterminated_line = itertools.chain([text], chunks), False
    lines = _last_values(split_lines(chunks, start, limit, prefilter), limit)
    yield from _without_line_end(lines) if after_unterminated_line else lines


def _peeked(chunks: Iterator[bytes], limit: int) -> tuple[bool, Iterator[bytes]]:
    """Do these hold values, not lines? And the chunks, of which no more were read than that takes."""
    head: list[bytes] = []
    kept = 0
    while kept <= limit:
        try:
            chunk = next(chunks, None)
        except (BrokenObject, ObjectGone) as error:
            return False, itertools.chain(head, _raised(error))
        head += [] if chunk is None else [chunk]
        kept += len(chunk or b"")
        values = holds_values(b"".join(head), ended=chunk is None)
        if values is not None:
            return values, itertools.chain(head, chunks)
    return False, itertools.chain(head, chunks)


def _last_values(lines: Iterator[Line | SkippedLines], limit: int) -> Iterator[Line | SkippedLines]:
    """``lines``, but the values of a last one that may go on, if it begins with several: as they are read later.

    Reading is then resumed at one of them, and what was whole before the line's end counts as done.
    """
    for line in lines:
        if isinstance(line, SkippedLines) or not line.unterminated or not _is_of_values(line.raw):
            yield line
            continue
        if line.overlong:
            # Read again from its beginning, its values would count as done, and none of them is.
            yield line._replace(unterminated=False)
            continue
        # A carriage return at the end is none of the raw line.
        text = line.raw.ljust(line.end - line.offset, b"\r")
        yield from ValueSplitter(iter([text]), Position(line.offset, line.number), limit).lines()


def _is_of_values(raw: bytes) -> bool:
    # All of a large one is perhaps too much to be looked at.
    return b"{" in raw and any(holds_values(part, ended=True) for part in {raw[:MARK_BYTES], raw})


def _raised(error: Exception) -> Iterator[bytes]:
    yield from ()
    raise error


def _without_line_end(lines: Iterator[Line | SkippedLines]) -> Iterator[Line | SkippedLines]:
    """Leave out the line end of a line that was done when it had none yet."""
    first = next(lines, None)
    if first is None:
        return
    if isinstance(first, SkippedLines) or first.raw or first.unterminated:
        yield first
        yield from lines
        return
    for line in lines:
        yield line._replace(number=line.number - 1)
