"""From lines to events: parse each line, and leave out what no transformer or filter wants."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..model import dead_letters
from ..model.dead_letters import DeadLetter
from ..model.records import Event, Line
from ..read.events import Unparsable, parse
from ..read.filters import TAKE_ALL, Filters
from ..read.prefilter import SkippedLines
from ..transform.transformer import Transformer
from ..util.errors import JobError


class Parsed(NamedTuple):
    """A line, and what the parser says of it."""

    line: Line
    raw: bytes
    """The bytes that were parsed: the line's, or those of the dead letter in it."""
    letter: DeadLetter | None
    event: Event | None
    """Of a type that is transformed, and let through by the filters."""
    filtered: str = ""
    """The name of an event that the filters leave out."""
    unparsable: Unparsable | None = None
    blank: bool = False


def _parsed(
    lines: Iterable[Line | SkippedLines], transformer: Transformer, retries: bool, filters: Filters
) -> Iterator[Parsed | SkippedLines]:
    for line in lines:
        if isinstance(line, SkippedLines):
            yield line
            continue
        letter = _letter(line) if retries else None
        raw = letter.raw if letter else line.raw
        if not raw.strip():
            yield Parsed(line, raw, letter, None, blank=True)
            continue
        try:
            if line.overlong:
                raise Unparsable("line_too_long", f"longer than {len(raw)} bytes (max_line_bytes)")
            event = parse(raw)
        except Unparsable as error:
            yield Parsed(line, raw, letter, None, unparsable=error)
        else:
            known = transformer.known(event.name)
            filtered = known and filters is not TAKE_ALL and not filters.takes(event)
            yield Parsed(line, raw, letter, event if known and not filtered else None, event.name if filtered else "")


def _letter(line: Line) -> DeadLetter | None:
    """The dead letter in a line of a dead-letters file."""
    try:
        letters = dead_letters.parse(line.raw)
    except (ValueError, KeyError) as error:
        raise JobError(
            f"A dead-letters file is damaged at byte {line.offset} ({error}): "
            "remove that line and run the command again."
        ) from None
    return letters[0] if letters else None
