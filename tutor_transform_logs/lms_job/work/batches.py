"""From parsed lines to batches: cut where a batch is full, and account for every line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..model import dead_letters
from ..model.activity import Activity
from ..model.counts import Counts
from ..model.dead_letters import INCOMPLETE_LINE, NO_BEGINNING, PARSE, TRANSFORM, DeadLetter
from ..model.delivery import SourcedStatement
from ..model.records import START, Event, Position, SkippedLines
from ..read.decompress import BrokenObject
from ..read.events import Unparsable, context_text, is_rest, memory_of
from ..transform.transformer import Transformer, Untransformable
from ..util.errors import ObjectGone
from .parse import ParsedLine
from .statements import statements_of

# Many lines that make no statements are still a batch now and then, so that progress is kept.
LONGEST_BATCH_LINES = 100_000
NO_FIELDS: Mapping[str, Any] = {}
# What a dead letter keeps of a line that is too long to be an event.
OVERLONG_KEPT_BYTES = 4096
# What a dead letter takes beside its line, in memory and in the ledger.
LETTER_BYTES = 500


@dataclass(frozen=True)
class Limits:
    """When a batch is full. The cuts follow from these and the input alone, so a resumed run makes the same ones."""

    events: int
    bytes: int
    line_bytes: int


@dataclass(frozen=True)
class Section:
    """The part of an object that is made into batches: from ``start`` on."""

    object: str
    start: Position = START
    stops: frozenset[int] = frozenset()
    """Offsets at which some destination resumes: a batch ends at each of them."""
    known_to: int = 0
    """Lines that stay together and were whole before this offset were read by an earlier run."""
    keeps_fields: bool = True
    """Keep the fields of events, which only an LRS's routing asks for, and which are most of what a batch takes."""


@dataclass
class Batch:
    """The lines from ``start`` to before ``end``, and what was made of them."""

    start: int
    end: int
    next_line: int
    counts: Counts = field(default_factory=Counts)
    activity: Activity = field(default_factory=Activity)
    made: list[SourcedStatement] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    last: bool = False
    """No line of the segment follows."""
    group: Position = START
    """Where the last lines that stay together begin."""
    resume_at: int | None = None
    """Where lines begin of which one is incomplete; ``next_line`` is then the second of them."""
    unterminated: bool = False
    problem: str = ""
    """Why the object could not be read to the segment's end, if so."""
    gone: bool = False
    """The object no longer holds what was planned; its content may be in another object."""
    weight: int = 0
    """Bytes that the batch holds in memory."""
    tail: str = ""
    """The digest of :class:`~.plan.Tail` at ``end``, of a compressed object."""

    def is_full(self, limits: Limits) -> bool:
        return (
            self.counts.transformed + self.counts.untransformable >= limits.events
            or self.weight >= limits.bytes
            or self.counts.lines >= LONGEST_BATCH_LINES
        )

    def add_letter(self, letter: DeadLetter) -> None:
        self.counts.add_dead_letters(letter.reason)
        self.letters.append(letter)
        self.weight += LETTER_BYTES + len(letter.raw)


def batches(
    lines: Iterable[ParsedLine | SkippedLines], transformer: Transformer, section: Section, limits: Limits
) -> Iterator[Batch]:
    """The batches of ``lines``, which are those of ``section``; the last one has ``last`` set.

    Where the lines can't be read to their end, the last batch says why in its ``problem``.
    """
    stops = section.stops
    batch = Batch(section.start.offset, *section.start)
    try:
        for line in lines:
            if isinstance(line, ParsedLine):
                full = batch.is_full(limits) or line.line.offset in stops
                if full and batch.counts.lines and not line.line.follows:
                    yield batch
                    batch = Batch(line.line.offset, line.line.offset, line.line.number)
                _add(batch, transformer, section, line)
                continue
            rest: SkippedLines | None = line
            while rest is not None:
                if batch.counts.lines and (batch.is_full(limits) or rest.start in stops):
                    yield batch
                    batch = Batch(rest.start, rest.start, rest.number)
                skipped, rest = rest.cut(_until_cut(rest, LONGEST_BATCH_LINES - batch.counts.lines, stops))
                _skip(batch, skipped)
    except BrokenObject as error:
        batch.problem = str(error)
    except ObjectGone as error:
        batch.problem = str(error)
        batch.gone = True
    batch.last = True
    yield batch


def _until_cut(skipped: SkippedLines, most: int, stops: frozenset[int]) -> int:
    """How many of the skipped lines, at least one, still belong to a batch that takes ``most`` of them."""
    if any(skipped.start < stop < skipped.end for stop in stops):
        for count, end in enumerate(skipped.ends(), 1):
            if count == most or end in stops:
                return count
    return most


def _skip(batch: Batch, skipped: SkippedLines) -> None:
    """Account for lines that need no parsing."""
    batch.counts.lines += skipped.lines
    batch.counts.unknown_event += skipped.lines
    for name, lines in Counter(skipped.names).items():
        batch.activity.skip(name.decode("utf-8", "replace"), lines)
    if skipped.lines > len(skipped.names):
        batch.activity.skip("/", skipped.lines - len(skipped.names))
    batch.end = skipped.end
    batch.next_line = skipped.number + skipped.lines
    batch.unterminated = False


def _add(batch: Batch, transformer: Transformer, section: Section, parsed: ParsedLine) -> None:
    """Account for one line of the section."""
    name, counts, line, event = section.object, batch.counts, parsed.line, parsed.event
    if not line.follows:
        batch.group = Position(line.offset, line.number)
    batch.end = line.end
    batch.unterminated = line.unterminated
    # Perhaps still being written: counted under a reason of its own, and read again when the object has grown.
    whole = parsed.unparsable is None and not parsed.blank
    incomplete = line.unterminated and not (line.unwrapped or parsed.letter or whole)
    if incomplete:
        batch.resume_at = batch.group.offset
    batch.next_line = (line.number if batch.resume_at is None else batch.group.number) + 1
    if 0 < line.whole_at <= section.known_to:
        return
    counts.lines += 1
    if parsed.blank:
        counts.blank += 1
    elif parsed.unparsable is not None:
        counts.unparsable += 1
        letter = _letter(name, parsed, PARSE, _reason(parsed, parsed.unparsable, incomplete), parsed.unparsable.detail)
        # It goes by the place that is read again.
        batch.add_letter(replace(letter, offset=batch.group.offset) if incomplete else letter)
    elif parsed.filtered:
        counts.filtered += 1
        batch.activity.filtered(parsed.filtered)
    elif event is None:
        counts.unknown_event += 1
        batch.activity.skip(parsed.skipped)
    else:
        try:
            made = statements_of(parsed, transformer)
        except Untransformable as error:
            counts.untransformable += 1
            batch.activity.failed(event.name, event.fields.get("timestamp"), context_text(event.fields, "course_id"))
            batch.add_letter(_letter(name, parsed, TRANSFORM, error.reason, error.detail))
            return
        counts.transformed += 1
        batch.activity.transformed(
            event.name, event.fields.get("timestamp"), len(made), context_text(event.fields, "course_id")
        )
        for sourced in made:
            batch.activity.made(sourced.statement.body)
        if not section.keeps_fields:
            bare = Event(event.name, NO_FIELDS)
            made = [sourced._replace(event=bare) for sourced in made]
        batch.made += made
        batch.weight += sum(len(sourced.statement.body) for sourced in made)
        batch.weight += memory_of(line.raw) if section.keeps_fields else len(line.raw)


def _reason(parsed: ParsedLine, error: Unparsable, incomplete: bool) -> str:
    if incomplete:
        return INCOMPLETE_LINE
    if parsed.letter:
        # Delivered again, it keeps a reason that follows from where the line was.
        return parsed.letter.reason if parsed.letter.reason in (INCOMPLETE_LINE, NO_BEGINNING) else error.reason
    return NO_BEGINNING if parsed.start == 0 and is_rest(parsed.raw) else error.reason


def _letter(name: str, parsed: ParsedLine, stage: str, reason: str, detail: str) -> DeadLetter:
    """The dead letter of a line of the object ``name``, or the new form of the one that the line holds."""
    line, letter = parsed.line, parsed.letter
    event = parsed.event.name if parsed.event else ""
    detail = detail[: dead_letters.KEPT_DETAIL]  # it may quote all of the line
    if letter:
        return replace(letter, stage=stage, reason=reason, detail=detail, event=event, statement="", destination="")
    # Whatever the reason: it may be incomplete, too.
    too_long = parsed.unparsable is not None and parsed.unparsable.reason == dead_letters.LINE_TOO_LONG
    raw = line.raw[:OVERLONG_KEPT_BYTES] if too_long else line.raw
    return DeadLetter(name, line.offset, line.number, stage, reason, detail, event, raw)
