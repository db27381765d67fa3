"""The lines of a redelivery: those of a dead-letters file, with the dead letter in each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..model import dead_letters
from ..model.dead_letters import DeadLetter
from ..model.plan import Segment
from ..model.records import Line, Position
from ..storage.base import Readable
from ..util.errors import JobError
from ..util.formatting import printable
from .lines import split_lines
from .segment import segment_chunks
from .wrappers import unwrap


def segment_letters(
    source: Readable, segment: Segment, start: Position, limit: int
) -> Iterator[tuple[Line, DeadLetter | None]]:
    """The lines of ``segment`` from ``start`` on, and the dead letter in each; ``None`` in an empty line.

    ``limit``: the longest line of a dead-letters file, in bytes. Raises :class:`~.errors.ObjectGone` after the last
    line that can be read, and :class:`~.errors.JobError` at a line that holds no dead letter.
    """
    for line in split_lines(segment_chunks(source, segment, start.offset), start, limit):
        try:
            letters = dead_letters.parse(line.raw)
        except ValueError as error:
            raise JobError(
                f"The dead-letters file {printable(segment.object)} is damaged at byte {line.offset} ({error}): "
                "restore the file from a backup, or remove that line, and run the command again."
            ) from None
        yield line, _unwrapped(letters[0]) if letters else None


def _unwrapped(letter: DeadLetter) -> DeadLetter:
    """The letter of a line that a collector had wrapped, and of which an earlier version did not know that."""
    pieces = unwrap(letter.raw)
    if pieces is None or len(pieces) != 1 or not pieces[0].ends:
        return letter
    return replace(letter, raw=pieces[0].text)
