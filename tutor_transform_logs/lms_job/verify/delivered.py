"""What was delivered, according to the ledger: which bytes of which logs, to which destination. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..ledger.entries import Entries
from ..model.plan import Plan, Segment
from ..plan.discovery import IdentifiedObject, find_object_of

ByteRange = tuple[int, int]
# Content id -> destination id -> which bytes of the content were delivered there.
ByteRanges = dict[int, dict[str, list[ByteRange]]]


@dataclass(frozen=True)
class DeliveredRange:
    """Bytes of a log, all delivered to at least one destination: what VERIFY reads in one pass."""

    segment: Segment
    """The bytes and the object that holds them now."""
    spans: Mapping[str, Sequence[ByteRange]]
    """Destination id -> which bytes of the log were delivered there."""
    digest: str = ""
    """The log's fingerprint."""

    def concerns(self, destination: str, offset: int) -> bool:
        """Was the line that starts at ``offset`` delivered to ``destination``?"""
        return any(start <= offset < end for start, end in self.spans.get(destination, ()))


def merged(spans: Iterable[ByteRange]) -> list[ByteRange]:
    """The same bytes in as few ranges as possible, in order; empty ranges are left out."""
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
    """What the finished plans and the current one have delivered. ``entries`` are those of an unfinished plan."""
    wanted = set(destinations)
    spans: ByteRanges = {}
    for content in plan.contents:
        for name in wanted & content.done.keys():
            spans.setdefault(content.id, {}).setdefault(name, []).append((0, content.done[name]))
    if not plan.finished and not plan.redelivers:
        for segment in plan.segments:
            for name in wanted & entries[segment.id].keys():
                # What it skips at the start of the segment was delivered earlier.
                span = (segment.start, entries[segment.id][name].position)
                spans.setdefault(segment.content, {}).setdefault(name, []).append(span)
    return {number: {name: merged(each) for name, each in of.items()} for number, of in spans.items()}


def ranges(
    plan: Plan, spans: Mapping[int, Mapping[str, Sequence[ByteRange]]], identified: Sequence[IdentifiedObject]
) -> tuple[list[DeliveredRange], list[str]]:
    """What to read of the ``identified`` objects of the source, and the names of those that are no longer there."""
    found: list[DeliveredRange] = []
    missing: list[str] = []
    contents = {content.id: content for content in plan.contents}
    sizes = {obj.name: obj.size for obj in identified}
    for number, of_content in sorted(spans.items()):
        for start, end in merged(span for each in of_content.values() for span in each):
            content = contents[number]
            piece = Segment(0, number, min(content.names, default=""), start, end, end - start)
            current = find_object_of(piece, identified)
            if current is None:
                missing.append(piece.object)
                continue
            if current.compression:
                # A compressed object is read from its start, even if only its end is needed.
                current = replace(current, stored_bytes=sizes[current.object])
            found.append(DeliveredRange(current, of_content, content.fingerprint.digest))
    return found, sorted(set(missing))
