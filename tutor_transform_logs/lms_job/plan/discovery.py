"""Identifies the objects of the source by their first bytes: the first step of PLAN.

A log keeps its first bytes when it is renamed, compressed or appended to. So its content is found again under any name,
and another log that has taken its name is not mistaken for it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ..model.plan import Content, ContentIndex, Segment
from ..read.identify import read_head
from ..storage.base import Readable, Storage, StoredObject

log = logging.getLogger(__name__)

# In an object store, many objects take a while.
LOG_EVERY_SECS = 10.0


@dataclass(frozen=True)
class IdentifiedObject:
    """An object of the source: its name, stored size and compression, and the number of its content."""

    name: str
    size: int
    compression: str
    content: int


def identify_objects(source: Readable, found: Iterable[StoredObject], index: ContentIndex) -> list[IdentifiedObject]:
    """Read the first bytes of every object. Contents that ``index`` does not know are added to it."""
    identified: list[IdentifiedObject] = []
    logged_at = time.monotonic()
    for entry in found:
        if time.monotonic() - logged_at >= LOG_EVERY_SECS:
            logged_at = time.monotonic()
            log.info("Reading the first bytes of each object: %s so far.", f"{len(identified):,}")
        kind, head = read_head(source, entry.name, entry.size) if entry.size else ("", b"")
        number = index.find_or_add(entry.name, head).id if entry.size else 0
        identified.append(IdentifiedObject(entry.name, entry.size, kind, number))
    return identified


def find_object_of(segment: Segment, identified: Sequence[IdentifiedObject]) -> Segment | None:
    """``segment`` with the object that holds its content now; ``None`` if none does, or none that is long enough."""
    # The length of a compressed object is not known before it has been read.
    candidates = [
        obj
        for obj in identified
        if obj.content == segment.content and (obj.compression or segment.end is None or obj.size >= segment.end)
    ]
    if any((obj.name, obj.compression) == (segment.object, segment.compression) for obj in candidates):
        return segment
    if not candidates:
        return None
    best = min(candidates, key=lambda obj: (bool(obj.compression), obj.name))
    return replace(segment, object=best.name, compression=best.compression)


def find_again(source: Storage, prefix: str, segment: Segment, contents: Iterable[Content]) -> Segment | None:
    """Search the whole source for the content of ``segment``, for example after a log was rotated during the run."""
    index = ContentIndex(contents)
    return find_object_of(segment, identify_objects(source, source.listing(prefix), index))
