"""The lines of one segment: read, decompress, split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..model.plan import Segment
from ..model.records import Line
from ..storage.base import Readable
from ..util.errors import ObjectGone
from .lines import decompressed, skipped, split_lines
from .prefilter import Skip, SkippedLines, split


def segment_lines(
    source: Readable, segment: Segment, offset: int, number: int, line_bytes: int, skip: Skip | None = None
) -> Iterator[Line | SkippedLines]:
    """The lines of ``segment`` from ``offset``, which is the start of its line ``number``; gaps only with ``skip``.

    Raises :class:`~.errors.ObjectGone` or :class:`~.reader.BrokenObject` after the last line that can be read.
    """
    chunks: Iterable[bytes]
    if segment.compression:
        chunks = skipped(decompressed(source.read(segment.object), segment.compression), offset)
        if segment.end is not None:
            chunks = _until(chunks, segment.end - offset)
    else:
        chunks = _whole(source.read(segment.object, offset, segment.end), segment, offset)
    lines: Iterator[Line | SkippedLines]
    if skip is None:
        lines = split_lines(chunks, offset, number, line_bytes)
    else:
        lines = split(chunks, offset, number, line_bytes, skip)
    if segment.after_unterminated_line and offset == segment.start:
        lines = _without_line_end(lines)
    return lines


def _until(chunks: Iterable[bytes], count: int) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk[:count]
        count -= len(chunk)
        if count <= 0:
            return


def _whole(chunks: Iterable[bytes], segment: Segment, offset: int) -> Iterator[bytes]:
    """``chunks``, and an error if they end before the segment does."""
    position = offset
    for chunk in chunks:
        position += len(chunk)
        yield chunk
    if segment.end is not None and position < segment.end:
        raise ObjectGone(f"it ends at byte {position}, and had {segment.end} bytes when it was planned")


def _without_line_end(lines: Iterator[Line | SkippedLines]) -> Iterator[Line | SkippedLines]:
    """Leave out the line end of a line that was done when it had none yet."""
    first = next(lines, None)
    if first is None:
        return
    if isinstance(first, SkippedLines) or first.raw or first.open:
        yield first
        yield from lines
        return
    for line in lines:
        yield line._replace(number=line.number - 1)
