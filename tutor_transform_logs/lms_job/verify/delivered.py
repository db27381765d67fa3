"""What the ledger says is delivered: which bytes of which contents, to which destination. Pure values and functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..ledger.entries import Entries
from ..model.plan import Plan, Segment
from ..plan.discovery import IdentifiedObject, find_object_of

ByteRange = tuple[int, int]
# Content id -> destination id -> what it has got of the content.
ByteRanges = dict[int, dict[str, list[ByteRange]]]


@dataclass(frozen=True)
class DeliveredRange:
    """Bytes of a content, all of them delivered to at least one destination: what VERIFY reads in one go."""

    segment: Segment
    """The bytes and the object that holds them now."""
    spans: Mapping[str, Sequence[ByteRange]]
    """Destination id -> what of the content it has got."""
    digest: str = ""
    """The content's fingerprint."""

    def concerns(self, destination: str, offset: int) -> bool:
        """Was the line that begins at ``offset`` delivered there?"""
        return any(start <= offset < end for start, end in self.spans.get(destination, ()))


def merged(spans: Iterable[ByteRange]) -> list[ByteRange]:
    """The same bytes in as few spans as can be, in order; empty ones are left out."""
    result: list[ByteRange] = []
    for start, end in sorted(spans):
        if start >= end:
            continue
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(result[-1][1], end))
        else:
            result.append((start, end))
    return result


def delivered(plan: Plan, entries: Entries, destinations: Iterable[str]) -> ByteRanges:
    """What was delivered by the finished plans and by the one in hand.

    ``entries``: segment id -> destination id -> entry, of a plan that is not finished.
    """
    wanted = set(destinations)
    spans: ByteRanges = {}
    for content in plan.contents:
        for name in wanted & content.done.keys():
            spans.setdefault(content.id, {}).setdefault(name, []).append((0, content.done[name]))
    if not plan.finished and not plan.redelivers:
        for segment in plan.segments:
            for name in wanted & entries[segment.id].keys():
                # What it is to skip at the segment's start it has from earlier.
                span = (segment.start, entries[segment.id][name].position)
                spans.setdefault(segment.content, {}).setdefault(name, []).append(span)
    return {number: {name: merged(each) for name, each in of.items()} for number, of in spans.items()}


def ranges(
    plan: Plan, spans: Mapping[int, Mapping[str, Sequence[ByteRange]]], seen: Sequence[IdentifiedObject]
) -> tuple[list[DeliveredRange], list[str]]:
    """What to read of the objects that were ``seen`` in the source, and the names of those that are there no more."""
    found: list[DeliveredRange] = []
    gone: list[str] = []
    contents = {content.id: content for content in plan.contents}
    sizes = {one.name: one.size for one in seen}
    for number, of_content in sorted(spans.items()):
        for start, end in merged(span for each in of_content.values() for span in each):
            content = contents[number]
            piece = Segment(0, number, min(content.names, default=""), start, end, end - start)
            holder = find_object_of(piece, seen)
            if holder is None:
                gone.append(piece.object)
                continue
            if holder.compression:
                # Read from its start, whatever is wanted of it.
                holder = replace(holder, stored_bytes=sizes[holder.object])
            found.append(DeliveredRange(holder, of_content, content.fingerprint.digest))
    return found, sorted(set(gone))
