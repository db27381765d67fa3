"""Unpacks a log in a thread of its own, while the lines before are parsed: the libraries that unpack hold no lock."""

from __future__ import annotations

from collections.abc import Iterator

from ..util.prefetch import Prefetcher

# Of so much, unpacked, no thread is worth its start.
BEGINNING_BYTES = 4 * 1024**2
# Pieces have at most a megabyte.
DEPTH = 3


def unpack_ahead(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """``pieces``, read ahead of their reader from :data:`BEGINNING_BYTES` on. An error comes behind the last piece."""
    read = 0
    for piece in pieces:
        yield piece
        read += len(piece)
        if read >= BEGINNING_BYTES:
            break
    else:
        return
    ahead = Prefetcher(pieces, DEPTH)
    try:
        yield from ahead
    finally:
        ahead.close()
