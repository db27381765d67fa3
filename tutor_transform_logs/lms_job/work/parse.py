"""From lines to events: parse each line, and leave out what no transformer or filter wants."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..model.dead_letters import LINE_TOO_LONG, DeadLetter
from ..model.records import Event, Line, SkippedLines
from ..read.events import Unparsable, parse
from ..read.filters import TAKE_ALL, Filters
from ..transform.transformer import Transformer


class ParsedLine(NamedTuple):
    """A line, and what the parser says of it."""

    line: Line
    event: Event | None = None
    """Of a type that is transformed, and let through by the filters."""
    letter: DeadLetter | None = None
    """The dead letter that the line holds, in a redelivery."""
    filtered: str = ""
    """The name of an event that the filters leave out."""
    unparsable: Unparsable | None = None
    blank: bool = False
    skipped: str = ""
    """The name of an event of a type that is not transformed; ``""`` also if it has none."""

    @property
    def start(self) -> int:
        """The offset of the line."""
        return self.line.offset

    @property
    def raw(self) -> bytes:
        """The bytes that were parsed: the line's, or those of the dead letter in it."""
        return self.letter.raw if self.letter else self.line.raw


def parse_lines(
    lines: Iterable[Line | SkippedLines], transformer: Transformer, filters: Filters = TAKE_ALL
) -> Iterator[ParsedLine | SkippedLines]:
    """Parse the lines of a log."""
    for line in lines:
        yield line if isinstance(line, SkippedLines) else parse_line(line, None, transformer, filters)


def parse_letters(
    lines: Iterable[tuple[Line, DeadLetter | None]], transformer: Transformer, filters: Filters = TAKE_ALL
) -> Iterator[ParsedLine]:
    """Parse what the dead letters of a dead-letters file hold."""
    for line, letter in lines:
        yield parse_line(line, letter, transformer, filters)


def parse_line(line: Line, letter: DeadLetter | None, transformer: Transformer, filters: Filters) -> ParsedLine:
    """Parse one line, or what the dead letter in it holds."""
    raw = letter.raw if letter else line.raw
    if not raw.strip():
        return ParsedLine(line, None, letter, blank=True)
    try:
        if line.overlong:
            raise Unparsable(LINE_TOO_LONG, f"longer than {len(raw)} bytes (max_line_bytes)")
        event = parse(raw)
    except Unparsable as error:
        # The fast path takes it for what it is by its ends, too.
        if not line.overlong and (name := transformer.name_by_its_ends(raw)) is not None:
            return ParsedLine(line, None, letter, skipped=name.decode("utf-8", "replace"))
        return ParsedLine(line, None, letter, unparsable=error)
    if not transformer.known(event.name):
        return ParsedLine(line, None, letter, skipped=event.name)
    if filters is not TAKE_ALL and not filters.takes(event):
        return ParsedLine(line, None, letter, filtered=event.name)
    return ParsedLine(line, event, letter)
