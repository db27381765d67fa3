"""Reads events ahead of the transformer, so that what they need of the database is looked up in bulk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..model.records import Event, SkippedLines
from ..read.decompress import BrokenObject
from ..read.events import memory_of
from ..transform.transformer import Transformer
from ..util.errors import ObjectGone
from .parse import ParsedLine

# What is read ahead of the current batch, to be looked up together. No batch is cut because of it.
WINDOW_EVENTS = 1000
WINDOW_BYTES = 8 * 1024**2
# A line that waits takes half a kilobyte even if it is blank.
WINDOW_LINES = 10_000


def look_ahead(
    lines: Iterable[ParsedLine | SkippedLines], transformer: Transformer
) -> Iterator[ParsedLine | SkippedLines]:
    """``lines``, read ahead so that what their events need of the database is looked up in bulk."""
    if not transformer.looks_ahead:
        yield from lines
        return
    window: list[ParsedLine | SkippedLines] = []
    events: list[Event] = []
    weight = 0
    problem: Exception | None = None
    source = iter(lines)
    while problem is None:
        try:
            line = next(source, None)
        except (BrokenObject, ObjectGone) as error:
            # What was read before it counts.
            line, problem = None, error
        if line is not None:
            if not window and isinstance(line, SkippedLines):
                # Nothing waits that it has to stay behind, so its bytes need not be kept.
                yield line
                continue
            window.append(line)
            if isinstance(line, SkippedLines):
                weight += line.end - line.start
            elif line.event is None:
                weight += len(line.raw)
            else:
                weight += memory_of(line.raw)
                events.append(line.event)
            if len(events) < WINDOW_EVENTS and weight < WINDOW_BYTES and len(window) < WINDOW_LINES:
                continue
        transformer.look_up(events)
        yield from window
        if line is None and problem is None:
            return
        window, events, weight = [], [], 0
    raise problem
