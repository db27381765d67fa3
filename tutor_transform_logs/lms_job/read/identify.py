"""Identifies an object by its decompressed bytes, whatever its name: the first ones, and those before an offset."""

from __future__ import annotations

from collections.abc import Collection

from ..model.plan import HEAD_BYTES, TAIL_BYTES, Content, Segment, Tail
from ..storage.base import Readable
from ..util.errors import ObjectGone
from .archives import Archives
from .decompress import TAR, BrokenObject, compression, decompressed
from .head import HEAD_STORED_BYTES, Head, begins_with_zeros, head_of

# Tails within this distance are read in one request.
NEAR_BYTES = 256 * 1024


def read_head(source: Readable, name: str, size: int) -> Head:
    """How an object begins; with nothing in it if it can't be read."""
    outside = source.layers_outside(name) if isinstance(source, Archives) else None
    try:
        raw = _readable_bytes(source, name, min(size, HEAD_BYTES))
        if compression(raw) or (begins_with_zeros(raw) and size > len(raw)):
            raw = _readable_bytes(source, name, min(size, HEAD_STORED_BYTES))
        return head_of(raw, outside)
    except (ObjectGone, BrokenObject):
        # Unreadable, or deleted since it was listed: WORK finds that too, and reports it.
        return Head(outside or "", b"")


def _readable_bytes(source: Readable, name: str, count: int) -> bytes:
    """The first ``count`` bytes; if the archive around them is cut off or damaged, those before that.

    Raises :class:`~.decompress.BrokenObject` if there are none.
    """
    pieces: list[bytes] = []
    try:
        pieces.extend(source.read(name, 0, count))
    except BrokenObject:
        # WORK reads what is there. The log has to be known by it once the archive is whole.
        if not pieces:
            raise
    return b"".join(pieces)


def known_length(size: int, kind: str) -> int | None:
    """How many decompressed bytes an object has; ``None`` if that is not known before it is read."""
    return size if not kind or kind.endswith(TAR) else None


class TailRecorder:
    """Remembers the last bytes of a log that is read from its beginning on."""

    def __init__(self) -> None:
        self.end = 0
        self._last = b""

    def add(self, chunk: bytes) -> None:
        self.end += len(chunk)
        self._last = (self._last + chunk[-TAIL_BYTES:])[-TAIL_BYTES:]

    def tail(self, end: int, following: bytes = b"") -> Tail | None:
        """The tail at ``end``, if that is where the stream is now: after the ``following`` bytes, not added yet."""
        if end != self.end + len(following):
            return None
        return Tail.of(end, self._last + following[-TAIL_BYTES:])


class StoredLog:
    """The decompressed bytes of an object, of which only tails are kept. A compressed one is read only if it must be.

    Reading raises :class:`~.errors.JobError` if the source is unavailable.
    """

    def __init__(self, source: Readable, name: str, size: int, kind: str) -> None:
        self._source = source
        self._name = name
        self.compression = kind
        self._readable = known_length(size, kind)
        self._tails: dict[int, Tail | None] = {}
        self.problem = ""
        """Why a compressed object can't be read to its end."""

    @property
    def length(self) -> int | None:
        """``None`` if that is not known: it is compressed and has not been read, or can't be."""
        return None if self.problem else self._readable

    @property
    def has_tails(self) -> bool:
        """Has any of it been read?"""
        return bool(self._tails)

    def assume_length(self, length: int) -> None:
        """It was read before and has not changed since."""
        self._readable = length

    @property
    def readable(self) -> int:
        """How many bytes can be read."""
        if self._readable is None:
            self._decompress(())
        assert self._readable is not None
        return self._readable

    def tail(self, end: int) -> Tail | None:
        """``None`` if it can't be read."""
        if end not in self._tails:
            self.load((end,))
        return self._tails.get(end)

    def load(self, ends: Collection[int]) -> None:
        """Read the tails at ``ends``, those beyond the end of the log excepted, and the one at its end."""
        if self.compression:
            self._decompress(ends)
            return
        wanted = sorted({end for end in (*ends, self.readable) if end <= self.readable} - self._tails.keys())
        near = bool(wanted) and wanted[-1] - wanted[0] <= NEAR_BYTES
        for group in [wanted] if near else [[end] for end in wanted]:
            begin = max(0, group[0] - TAIL_BYTES)
            try:
                block = b"".join(self._source.read(self._name, begin, group[-1]))
            except ObjectGone:
                block = b""
            for end in group:
                before = block[: end - begin] if begin + len(block) >= end else b""
                self._tails[end] = Tail.of(end, before)

    def _decompress(self, ends: Collection[int]) -> None:
        if self._readable is not None:
            ends = {end for end in (*ends, self._readable) if end <= self._readable} - self._tails.keys()
            if not ends:
                return
        wanted = sorted(ends)
        recorder = TailRecorder()
        try:
            for chunk in decompressed(self._source.read(self._name), self.compression):
                while wanted and wanted[0] <= recorder.end + len(chunk):
                    end = wanted.pop(0)
                    self._tails[end] = recorder.tail(end, chunk[: end - recorder.end])
                recorder.add(chunk)
        except (BrokenObject, ObjectGone) as error:
            self.problem = str(error)
        self._readable = recorder.end
        self._tails[recorder.end] = recorder.tail(recorder.end)


def still_holds(source: Readable, segment: Segment, content: Content) -> bool:
    """Does the segment's object still begin with the bytes that were planned, and end with them if it is plain?"""
    # No more is read than the fingerprint needs: this runs for every segment.
    length = content.fingerprint.length
    head = read_head(source, segment.object, HEAD_STORED_BYTES if segment.compression else length)
    if head.kind != segment.compression or not content.fingerprint.matches(head.first):
        return False
    # What is compressed is not rewritten under its name, and would have to be read up to the tail.
    return bool(head.kind) or has_tail(source, segment.object, content, "")


def is_replaced(source: Readable, segment: Segment, content: Content) -> bool:
    """Does the segment's object exist, and certainly not hold ``content``? One that was cut off may still hold some."""
    head = read_head(source, segment.object, HEAD_STORED_BYTES).first
    if not head or not content.fingerprint.length:
        return False
    if not content.fingerprint.matches(head):
        return len(head) >= content.fingerprint.length
    if segment.compression or content.tail is None:
        return False
    tail = StoredLog(source, segment.object, content.tail.end, "").tail(content.tail.end)
    return tail is not None and tail != content.tail


def has_tail(source: Readable, name: str, content: Content, kind: str) -> bool:
    """Does the object have the bytes of ``content`` before the place up to which that is known?"""
    if content.tail is None:
        return True
    log = StoredLog(source, name, content.tail.end, kind)
    return log.tail(content.tail.end) == content.tail
