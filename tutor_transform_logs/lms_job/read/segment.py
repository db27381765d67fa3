"""The lines of one segment: read, decompress, split, unwrap."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..model.plan import Segment
from ..model.records import Line, Position, SkippedLines
from ..storage.base import Readable
from ..util.errors import ObjectGone
from .decompress import decompressed, drop_bytes
from .log_lines import log_lines
from .prefilter import Prefilter
from .stream_tails import StreamTails
from .unpack_ahead import unpack_ahead


def segment_lines(
    source: Readable, segment: Segment, start: Position, limit: int, prefilter: Prefilter | None = None
) -> Iterator[Line | SkippedLines]:
    """The lines of ``segment`` from ``start`` on; of one longer than ``limit`` bytes, its beginning.

    The lines that ``prefilter`` rules out come as :class:`SkippedLines`. Raises :class:`~.errors.ObjectGone` or
    :class:`~.decompress.BrokenObject` after the last line that can be read.
    """
    return split_segment(segment_chunks(source, segment, start.offset), segment, start, limit, prefilter)


def split_segment(
    chunks: Iterable[bytes], segment: Segment, start: Position, limit: int, prefilter: Prefilter | None = None
) -> Iterator[Line | SkippedLines]:
    """:func:`segment_lines` of what :func:`segment_chunks` gives."""
    after_unterminated_line = segment.after_unterminated_line and start.offset == segment.start
    return log_lines(chunks, start, limit, prefilter, after_unterminated_line)


def segment_chunks(
    source: Readable, segment: Segment, offset: int, tails: StreamTails | None = None
) -> Iterator[bytes]:
    """The decompressed bytes of ``segment`` from ``offset`` on. Nothing is opened before the first is asked for.

    ``tails`` watches a compressed one.
    """
    if segment.compression:
        chunks = unpack_ahead(decompressed(source.read(segment.object), segment.compression))
        chunks = drop_bytes(tails.watch(chunks) if tails else chunks, offset)
        yield from chunks if segment.end is None else _until(chunks, segment.end - offset)
    else:
        yield from _whole(source.read(segment.object, offset, segment.end), segment, offset)


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
