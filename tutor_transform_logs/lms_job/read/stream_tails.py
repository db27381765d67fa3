"""What comes before the end of each batch of a compressed log, so that a resumed run knows the log by it.

Of a plain log, PLAN and WORK can look at any place. A compressed one has to be read up to there, which a resumed run
does anyway.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

from ..model.plan import TAIL_BYTES, Tail
from ..util.errors import ObjectGone


class _Placed(Protocol):
    @property
    def start(self) -> int: ...


class _Ended(Protocol):
    tail: str

    @property
    def end(self) -> int: ...


# What is read ahead of the last line that was taken, and some more. Behind a line that is longer, no tail is known.
MOST_KEPT_BYTES = 12 * 1024**2

P = TypeVar("P", bound=_Placed)
B = TypeVar("B", bound=_Ended)


class StreamTails:
    """Keeps as much of a stream as tails may still be asked for, all in the thread that makes the batches."""

    def __init__(self, begin: int, digest: str) -> None:
        """``begin``: from where on the stream is used. ``digest``: of the tail there, ``""`` if that is not known."""
        self._begin = begin
        self._known = Tail(begin, digest) if begin and digest else None
        self._chunks: deque[tuple[int, bytes]] = deque()
        """What is kept, with the offset of each chunk."""
        self._kept = 0

    def watch(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """``chunks`` from the beginning of the log on, unchanged.

        Raises :class:`~.errors.ObjectGone` before the first byte behind ``begin`` if this is another log.
        """
        position = 0
        known = self._known
        for chunk in chunks:
            self._chunks.append((position, chunk))
            position += len(chunk)
            self._kept += len(chunk)
            while self._kept > MOST_KEPT_BYTES and len(self._chunks) > 1:
                self._drop()
            if known and position >= known.end:
                if self.tail(known.end) != known:
                    # Nothing of it belongs to this log.
                    self._chunks.clear()
                    self._kept = 0
                    break
                known = None
            if position <= self._begin:
                self._forget(position)
            yield chunk
        if known:
            raise ObjectGone("another log has taken its place before it was read to its end")

    def follow(self, lines: Iterable[P]) -> Iterator[P]:
        """``lines`` of the stream, unchanged. No tail is asked for before one that was taken."""
        for line in lines:
            self._forget(line.start)
            yield line

    def add_to(self, batches: Iterable[B]) -> Iterator[B]:
        """``batches`` of these lines, with their tails."""
        for batch in batches:
            found = self.tail(batch.end)
            batch.tail = found.digest if found else ""
            yield batch

    def tail(self, end: int) -> Tail | None:
        """The tail at ``end``; ``None`` if that is not in what is kept."""
        before = b"".join(
            chunk[max(0, end - TAIL_BYTES - start) : end - start] for start, chunk in self._chunks if start < end
        )
        if not self._chunks or end > self._chunks[-1][0] + len(self._chunks[-1][1]):
            return None
        return Tail.of(end, before)

    def _forget(self, offset: int) -> None:
        """All that no tail at ``offset`` or behind it needs."""
        first = offset - TAIL_BYTES
        while len(self._chunks) > 1 and self._chunks[1][0] <= first:
            self._drop()

    def _drop(self) -> None:
        _, chunk = self._chunks.popleft()
        self._kept -= len(chunk)
