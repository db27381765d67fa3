"""The times of an object's first and last events, without reading all of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from ..storage.base import Readable
from ..util.errors import ObjectGone
from .archives import Archives
from .decompress import BrokenObject, compression, decompressed
from .events import Unparsable, parse
from .filters import event_time
from .head import head_of
from .wrappers import LinePart, unwrap

# How much of both ends of a plain object is read; a compressed one is read whole up to WHOLE_BYTES of stored size.
END_BYTES = 256 * 1024
WHOLE_BYTES = 1024**2


@dataclass(frozen=True)
class Times:
    """The times of the first and the last event whose time can be read; ``None`` where none was found."""

    compression: str
    first: datetime | None
    last: datetime | None
    problem: str = ""
    """Why the object can't be read, if so."""


def times_of(source: Readable, name: str, size: int) -> Times:
    """Read both ends of an object. The last event of a large compressed one stays unknown: ``None``.

    Raises :class:`~.errors.JobError` if the source is unavailable.
    """
    outside = source.layers_outside(name) if isinstance(source, Archives) else None
    try:
        head = b"".join(source.read(name, 0, min(size, END_BYTES)))
        if not compression(head) and not outside:
            problem = head_of(head, outside).problem
            if problem:
                return Times("", None, None, problem)
            tail = b"".join(source.read(name, max(0, size - END_BYTES), size)) if size > END_BYTES else head
            return Times("", _first(head.split(b"\n")), _first(reversed(tail.split(b"\n"))))
        if size > END_BYTES:
            head = b"".join(source.read(name, 0, min(size, WHOLE_BYTES)))
        kind, _, problem, archive = head_of(head, outside)
        if problem or archive:
            return Times(archive or kind, None, None, problem)
        return _of_compressed(head, kind, size <= WHOLE_BYTES)
    except (ObjectGone, BrokenObject) as error:
        return Times("", None, None, str(error))


def _of_compressed(stored: bytes, kind: str, whole: bool) -> Times:
    """``stored``: the object, or its beginning."""
    first = last = None
    begun, rest = b"", b""
    problem = ""
    try:
        for piece in decompressed(iter((stored,)), kind):
            if first is None and len(begun) < END_BYTES:
                begun += piece
                first = _first(begun.split(b"\n"))
            rest = (rest + piece)[-END_BYTES:]
            if not whole and first is not None:
                break
    except BrokenObject as error:
        # A beginning ends early, of course.
        problem = str(error) if whole or not rest else ""
    if whole:
        last = _first(reversed(rest.split(b"\n")))
    return Times(kind, first, last, problem)


def _first(lines: Iterable[bytes]) -> datetime | None:
    """The time of the first of ``lines`` that has one."""
    for line in lines:
        for piece in unwrap(line) or [LinePart(0, line)]:
            try:
                when = event_time(parse(piece.text).fields)
            except Unparsable:
                continue
            if when is not None:
                return when
    return None
