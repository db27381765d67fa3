"""The objects of the source as they are now, each known by its first bytes: the first step of PLAN.

A log keeps its first bytes when it is renamed, compressed or appended to. So its content is found again under
whatever name it has now, and another log that has taken its name is not mistaken for it.
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
SAY_SECS = 10.0


@dataclass(frozen=True)
class IdentifiedObject:
    """An object as it was found: its name and stored size, how it is compressed, which content it holds."""

    name: str
    size: int
    compression: str
    content: int


def identify_objects(source: Readable, found: Iterable[StoredObject], index: ContentIndex) -> list[IdentifiedObject]:
    """Read the first bytes of every object. Contents that ``index`` does not know are added to it."""
    seen: list[IdentifiedObject] = []
    said = time.monotonic()
    for entry in found:
        if time.monotonic() - said >= SAY_SECS:
            said = time.monotonic()
            log.info("Looking at the first bytes of each object: %s so far.", f"{len(seen):,}")
        kind, head = read_head(source, entry.name, entry.size) if entry.size else ("", b"")
        number = index.find_or_add(entry.name, head).id if entry.size else 0
        seen.append(IdentifiedObject(entry.name, entry.size, kind, number))
    return seen


def find_object_of(segment: Segment, seen: Sequence[IdentifiedObject]) -> Segment | None:
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


def find_again(source: Storage, prefix: str, segment: Segment, contents: Iterable[Content]) -> Segment | None:
    """Look through the whole source for the content of ``segment``, as when a log is rotated during the run."""
    index = ContentIndex(contents)
    return find_object_of(segment, identify_objects(source, source.listing(prefix), index))
