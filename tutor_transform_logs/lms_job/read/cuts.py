"""Where an object can be cut into segments: between two lines of the log that can be read without each other."""

from __future__ import annotations

from ..model.records import Position
from ..storage.base import Readable
from .join_parts import WAIT_BYTES, PartsJoiner
from .lines import LIMIT, split_lines
from .values import holds_values

LOOK_BYTES = 64 * 1024
# No cut is looked for further from where it should be.
FAR_BYTES = 4 * 1024**2


def can_be_cut(source: Readable, name: str, start: int, end: int) -> bool:
    """Is a line here never a part of a value? It is in what is pretty-printed, and nothing tells which part."""
    head = b"".join(source.read(name, start, min(end, start + LOOK_BYTES)))
    return b"\n" not in head or holds_values(head, ended=start + len(head) >= end) is False


def next_cut(source: Readable, name: str, part: tuple[int, int], point: int) -> int | None:
    """The first offset after ``point`` at which ``part`` of a plain object can be cut in two; ``None`` if it can't.

    What comes before ``point`` says which lines were begun there and have parts after it.
    """
    start, end = part
    begin = max(start, point - WAIT_BYTES)
    joiner = PartsJoiner(LIMIT)
    chunks = source.read(name, begin, min(end, point + FAR_BYTES))
    lines = split_lines(chunks, Position(begin, 1))
    if begin > start:
        next(lines, None)
    for line in lines:
        joiner.add(line)
        if line.unterminated or line.end >= end:
            return None
        if line.end > point and not joiner.waiting:
            return line.end
    return None
