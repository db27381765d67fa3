"""The objects of the source as they are now, each known by its first bytes: the first step of PLAN.

A log keeps its first bytes when it is renamed, compressed or appended to. So its content is found again under
whatever name it has now, and another log that has taken its name is not mistaken for it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from .errors import ObjectGone
from .plan_model import HEAD_BYTES, Content, ContentIndex, Segment
from .reader import BrokenObject, compression, decompressed
from .storage import Readable, Storage, StoredObject

log = logging.getLogger(__name__)

# Enough stored bytes to unpack HEAD_BYTES from, whatever packed them (bzip2 works in blocks of up to 900 kB).
HEAD_STORED_BYTES = 1024**2
# In an object store, many objects take a while.
SAY_SECS = 10.0


@dataclass(frozen=True)
class Seen:
    """An object as it was found: its name and stored size, how it is compressed, which content it holds."""

    name: str
    size: int
    compression: str
    content: int


def look_at_all(source: Readable, found: Iterable[StoredObject], index: ContentIndex) -> list[Seen]:
    """Read the first bytes of every object. Contents that ``index`` does not know are added to it."""
    seen: list[Seen] = []
    said = time.monotonic()
    for entry in found:
        if time.monotonic() - said >= SAY_SECS:
            said = time.monotonic()
            log.info("Looking at the first bytes of each object: %s so far.", f"{len(seen):,}")
        kind, head = read_head(source, entry.name, entry.size) if entry.size else ("", b"")
        number = index.find_or_add(entry.name, head).id if entry.size else 0
        seen.append(Seen(entry.name, entry.size, kind, number))
    return seen


def read_head(source: Readable, name: str, size: int) -> tuple[str, bytes]:
    """How an object is compressed, and its first decompressed bytes; ``b""`` if they can't be read."""
    try:
        raw = b"".join(source.read(name, 0, min(size, HEAD_BYTES)))
        kind = compression(raw)
        if kind:
            raw = b"".join(source.read(name, 0, min(size, HEAD_STORED_BYTES)))
        return kind, _first_bytes(decompressed(iter((raw,)), kind), HEAD_BYTES)
    except ObjectGone:
        # Unreadable, or deleted since it was listed: WORK will meet it again and say so.
        return "", b""


def _first_bytes(pieces: Iterator[bytes], count: int) -> bytes:
    head = b""
    try:
        for piece in pieces:
            head += piece[: count - len(head)]
            if len(head) >= count:
                break
    except BrokenObject:
        pass  # cut off on purpose, or broken: then WORK says so
    return head


def holder_of(segment: Segment, seen: Sequence[Seen]) -> Segment | None:
    """``segment`` with the object that holds its content now; ``None`` if none does, or none that is long enough."""
    # The length of a compressed object is not known before it has been read.
    holders = [
        one
        for one in seen
        if one.content == segment.content and (one.compression or segment.end is None or one.size >= segment.end)
    ]
    if any((one.name, one.compression) == (segment.object, segment.compression) for one in holders):
        return segment
    if not holders:
        return None
    holder = min(holders, key=lambda one: (bool(one.compression), one.name))
    return replace(segment, object=holder.name, compression=holder.compression)


def still_holds(source: Readable, segment: Segment, content: Content) -> bool:
    """Does the segment's object still begin with the bytes that were planned?"""
    # Once it is known how many bytes it takes, no more are read: this is asked for every segment.
    length = content.fingerprint.length
    kind, head = read_head(source, segment.object, HEAD_STORED_BYTES if segment.compression else length)
    return kind == segment.compression and content.fingerprint.matches(head)


def find_again(source: Storage, prefix: str, segment: Segment, contents: Iterable[Content]) -> Segment | None:
    """Look through the whole source for the content of ``segment``, as when a log is rotated during the run."""
    index = ContentIndex(contents)
    return holder_of(segment, look_at_all(source, source.listing(prefix), index))
