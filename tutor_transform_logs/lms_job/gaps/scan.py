"""Counts by day the statements that the logs should have become, mostly without making them.

A line that is there twice counts once, as it does in the table. An event is one statement, except where its type may
make several, or where its transformer is not ERB's: those are transformed, and their statements counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timezone

from ..deliver.clickhouse_rows import AFTER_LAST, FIRST
from ..model.activity import NO_DAY, day_of
from ..model.counts import Counts
from ..model.dead_letters import DeadLetter
from ..model.plan import Segment
from ..model.records import Event, Line, Position, SkippedLines
from ..read.decompress import BrokenObject
from ..read.events import find_nested
from ..read.filters import Filters, event_time
from ..read.segment import segment_lines
from ..storage.base import Readable
from ..transform.transformer import Transformer, Untransformable
from ..util.errors import ObjectGone
from ..util.number_set import NumberSet
from ..work.parse import ParsedLine, parse_line
from ..work.statements import statements_of
from .distinct import DistinctByDay, number_of

# How many lines are transformed together.
LINES_TOGETHER = 500
LINES_A_REPORT = 10_000


class OutOfRange(Exception):
    """An event is of a time that no table of ClickHouse can hold, so a run makes a dead letter of it."""


@dataclass
class LogDays:
    """What a scan has found beside the statements."""

    undated: int = 0
    """Events whose time can't be read: they are of no day."""
    out_of_range: int = 0
    """Events of a time that no table can hold."""
    dead: int = 0
    """Events that are dead letters already."""
    problems: dict[str, None] = field(default_factory=dict)
    """What can't be read, for people, in order, each once."""


@dataclass(frozen=True)
class Scan:
    """Reads segments of the source. ``dead``: the numbers of events that are dead letters."""

    source: Readable
    transformer: Transformer
    filters: Filters
    line_bytes: int
    dead: NumberSet
    report: Callable[[Counts], None]
    """Takes the counts of what was read since the last call."""

    def count(self, segments: Sequence[Segment], statements: DistinctByDay) -> LogDays:
        """Add to ``statements``. Raises :class:`~.errors.JobError` if the source is unavailable."""
        found = LogDays()
        several: list[ParsedLine] = []
        for parsed in self._events(segments, found):
            event = parsed.event
            assert event is not None
            try:
                day = _day(event)
            except OutOfRange:
                found.out_of_range += 1
                continue
            if day is None:
                found.undated += 1
            elif event_number(event) in self.dead:
                found.dead += 1
            elif self.transformer.makes_one(event.name):
                statements.add(event_number(event), day)
            else:
                several.append(parsed)
                if len(several) >= LINES_TOGETHER:
                    self._count_made(several, statements)
                    several = []
        self._count_made(several, statements)
        return found

    def _count_made(self, several: Sequence[ParsedLine], statements: DistinctByDay) -> None:
        self.transformer.look_up(parsed.event for parsed in several if parsed.event is not None)
        for parsed in several:
            day = _day(parsed.event) if parsed.event else None
            try:
                made = statements_of(parsed, self.transformer)
            except Untransformable:
                continue
            for sourced in made:
                if day is not None:
                    statements.add(number_of(sourced.statement.id), day)

    def _events(self, segments: Iterable[Segment], found: LogDays) -> Iterator[ParsedLine]:
        """Lines with an event that is transformed."""
        read = Counts()
        for segment in segments:
            try:
                for line in self._lines(segment):
                    read.lines += line.lines if isinstance(line, SkippedLines) else 1
                    if read.lines >= LINES_A_REPORT:
                        self.report(read)
                        read = Counts()
                    if isinstance(line, SkippedLines) or line.overlong:
                        continue
                    parsed = parse_line(line, None, self.transformer, self.filters)
                    if parsed.event is not None:
                        read.transformed += 1
                        yield parsed
            except (BrokenObject, ObjectGone) as error:
                found.problems[f"{segment.object}: {error}"] = None
        self.report(read)

    def _lines(self, segment: Segment) -> Iterator[Line | SkippedLines]:
        start = Position(segment.start, 1)
        return segment_lines(self.source, segment, start, self.line_bytes, self.transformer.prefilter)


def dead_numbers(letters: Iterable[DeadLetter], transformer: Transformer, filters: Filters) -> NumberSet:
    """The :func:`event_number` of each event that is a dead letter: ERB makes nothing of it, or it was rejected."""

    def numbers() -> Iterator[int]:
        for letter in letters:
            line = Line(letter.offset, 1, letter.line, letter.raw)
            event = parse_line(line, None, transformer, filters).event
            if event is not None and (not letter.statement or transformer.makes_one(event.name)):
                yield event_number(event)

    return NumberSet(numbers())


def event_number(event: Event) -> int:
    """Stands for an event as its statement's id does, which ERB makes from verb, actor and time.

    Two types of events can have the same verb, but the same learner does not cause both in the same microsecond.
    """
    return number_of(event.name, _user(event), _time(event))


def _user(event: Event) -> object:
    """As ERB's ``BaseTransformerMixin.extract_username_or_userid`` takes it."""
    data = event.fields.get("data")
    acted_upon = (data.get("user_id") or data.get("username")) if isinstance(data, dict) else None
    return acted_upon or find_nested(event.fields, "user_id") or find_nested(event.fields, "username")


def _time(event: Event) -> object:
    """As ERB's ``XApiTransformer.get_timestamp`` takes it."""
    return find_nested(event.fields, "timestamp") or find_nested(event.fields, "time")


def _day(event: Event) -> date | None:
    """``None`` if its time can't be read. Raises :class:`OutOfRange`."""
    day = day_of(_time(event))
    if day != NO_DAY:
        return date.fromisoformat(day)
    # The charts' days are those of this century; the table has older and later ones, too.
    when = event_time(event.fields)
    if when is None:
        return None
    if not FIRST <= when < AFTER_LAST:
        raise OutOfRange
    return when.astimezone(timezone.utc).date()
