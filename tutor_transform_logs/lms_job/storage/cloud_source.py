"""A source in an object store: an object is asked for once, however many parts of the job look at its first bytes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace

from ..util.errors import ObjectGone
from .cloud import CloudStorage
from .cloud_http import Version

# Most rotated and compressed logs of a small site are smaller. Over a slow line it does not take long.
FIRST_BYTES_KEPT = 128 * 1024
# What identifies an object and what reads it follow each other. Later, another object may have its name.
SECS_KEPT = 2.0


@dataclass(frozen=True)
class _Kept:
    """The first bytes of an object."""

    name: str
    head: bytes
    is_whole: bool
    version: Version
    until: float
    """When they are of no use any more, by the monotonic clock."""


class CloudSource(CloudStorage):
    """Keeps the first bytes of the object that was read last, for a moment.

    What follows them is read from the same version, or :class:`~.errors.ObjectGone` is raised.
    """

    _kept: _Kept | None = None

    def read(self, name: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        if start >= FIRST_BYTES_KEPT:
            yield from super().read(name, start, end)
            return
        kept = self._kept
        if kept is None or name != kept.name or time.monotonic() > kept.until:
            self._kept = None
            kept = self._kept = self._taken(name)
        if piece := kept.head[start:end]:
            yield piece
        begin = max(start, len(kept.head))
        if kept.is_whole or (end is not None and end <= begin):
            return
        try:
            yield from self.read_version(name, kept.version, begin, end)
        except ObjectGone:
            self._kept = None
            raise

    def _taken(self, name: str) -> _Kept:
        kept: _Kept | None = self._ahead.take(name) if self._ahead is not None else None
        return replace(kept, until=time.monotonic() + SECS_KEPT) if kept else self._read_early(name)

    def _read_early(self, name: str) -> _Kept:
        """Its first bytes."""
        version = Version(self.where(name))
        # Not by a range: its end would have to be known, since not every store cuts one that ends behind the object.
        head, is_whole = b"", True
        with closing(self.read_version(name, version, 0, None)) as pieces:
            for piece in pieces:
                head += piece
                if len(head) > FIRST_BYTES_KEPT:
                    is_whole = False
                    break
        return _Kept(name, head, is_whole, version, time.monotonic() + SECS_KEPT)
