"""Identifies an object by its first decompressed bytes, whatever its name."""

from __future__ import annotations

from collections.abc import Iterator

from ..model.plan import HEAD_BYTES, Content, Segment
from ..storage.base import Readable
from ..util.errors import ObjectGone
from .lines import BrokenObject, compression, decompressed

# Enough stored bytes to decompress HEAD_BYTES from, in any format (bzip2 works in blocks of up to 900 kB).
HEAD_STORED_BYTES = 1024**2


def read_head(source: Readable, name: str, size: int) -> tuple[str, bytes]:
    """How an object is compressed, and its first decompressed bytes; ``b""`` if they can't be read."""
    try:
        raw = b"".join(source.read(name, 0, min(size, HEAD_BYTES)))
        kind = compression(raw)
        if kind:
            raw = b"".join(source.read(name, 0, min(size, HEAD_STORED_BYTES)))
        return kind, _first_bytes(decompressed(iter((raw,)), kind), HEAD_BYTES)
    except ObjectGone:
        # Unreadable, or deleted since it was listed: WORK finds that too, and reports it.
        return "", b""


def _first_bytes(pieces: Iterator[bytes], count: int) -> bytes:
    head = b""
    try:
        for piece in pieces:
            head += piece[: count - len(head)]
            if len(head) >= count:
                break
    except BrokenObject:
        pass  # cut off on purpose, or broken, which WORK reports
    return head


def still_holds(source: Readable, segment: Segment, content: Content) -> bool:
    """Does the segment's object still begin with the bytes that were planned?"""
    # No more is read than the fingerprint needs: this runs for every segment.
    length = content.fingerprint.length
    kind, head = read_head(source, segment.object, HEAD_STORED_BYTES if segment.compression else length)
    return kind == segment.compression and content.fingerprint.matches(head)
