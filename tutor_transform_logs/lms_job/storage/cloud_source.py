"""A source in an object store: an object is asked for once, however many parts of the job look at its first bytes."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ..util.errors import ObjectGone
from .cloud import CloudStorage, Version

# Most rotated and compressed logs of a small site are smaller. Over a slow line it does not take long.
FIRST_BYTES_KEPT = 128 * 1024
# What identifies an object and what reads it follow each other. Later, another object may have its name.
SECS_KEPT = 2.0


class CloudSource(CloudStorage):
    """Keeps the first bytes of the object that was read last, for a moment.

    What follows them is read from the same version, or :class:`~.errors.ObjectGone` is raised.
    """

    _name = ""
    _head = b""
    _is_whole = False
    _until = 0.0

    def read(self, name: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        if start >= FIRST_BYTES_KEPT:
            yield from super().read(name, start, end)
            return
        if name != self._name or time.monotonic() > self._until:
            self._keep(name)
        head, version = self._head, self._version
        if piece := head[start:end]:
            yield piece
        begin = max(start, len(head))
        if self._is_whole or (end is not None and end <= begin):
            return
        try:
            yield from self.read_version(name, version, begin, end)
        except ObjectGone:
            self._name = ""
            raise

    def _keep(self, name: str) -> None:
        self._name, self._head = "", b""
        self._version = Version(self.where(name))
        # Not by a range: its end would have to be known, since not every store cuts one that ends behind the object.
        pieces = self.read_version(name, self._version, 0, None)
        self._is_whole = True
        for piece in pieces:
            self._head += piece
            if len(self._head) > FIRST_BYTES_KEPT:
                self._is_whole = False
                break
        self._name, self._until = name, time.monotonic() + SECS_KEPT
