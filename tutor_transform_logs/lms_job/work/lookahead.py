"""Reads events ahead of the transformer, so that what they need of the database is looked up in bulk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..model.records import Event
from ..read.lines import BrokenObject
from ..read.prefilter import SkippedLines
from ..transform.transformer import Transformer
from ..util.errors import ObjectGone
from .parse import Parsed


def _looked_up(lines: Iterable[Parsed | SkippedLines], transformer: Transformer) -> Iterator[Parsed | SkippedLines]:
    """``lines``, read ahead so that what their events need of the database is asked for together."""
    if not transformer.looks_ahead:
        yield from lines
        return
    window: list[Parsed | SkippedLines] = []
    events: list[Event] = []
    weight = 0
    problem: Exception | None = None
    source = iter(lines)
    while problem is None:
        try:
            one = next(source, None)
        except (BrokenObject, ObjectGone) as error:
            # What was read before it counts.
            one, problem = None, error
        if one is not None:
            if not window and isinstance(one, SkippedLines):
                # Nothing waits that it has to stay behind, so its bytes need not be kept.
                yield one
                continue
            window.append(one)
            weight += one.end - one.start if isinstance(one, SkippedLines) else len(one.raw)
            if isinstance(one, Parsed) and one.event is not None:
                events.append(one.event)
            if len(events) < WINDOW_EVENTS and weight < WINDOW_BYTES:
                continue
        transformer.look_up(events)
        yield from window
        if one is None and problem is None:
            return
        window, events, weight = [], [], 0
    raise problem


# What is read ahead of the batch in hand, to be looked up together. No batch is cut because of it.
WINDOW_EVENTS = 1000
WINDOW_BYTES = 8 * 1024**2
