"""From a segment to batches: read, unpack, split, parse, transform, and cut where a batch is full."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from ..model.activity import Activity
from ..model.counts import Counts
from ..model.dead_letters import PARSE, TRANSFORM, DeadLetter
from ..model.delivery import SourcedStatement
from ..model.plan import Segment
from ..model.records import Line
from ..read.filters import TAKE_ALL, Filters
from ..read.lines import BrokenObject
from ..read.prefilter import SkippedLines
from ..read.segment import segment_lines
from ..storage.base import Readable
from ..transform.transformer import Transformer, Untransformable
from ..util.errors import ObjectGone
from .lookahead import _looked_up
from .parse import Parsed, _parsed

# A stretch of lines that make no statements is still a batch now and then, so that progress is kept.
LONGEST_BATCH_LINES = 100_000
# What a dead letter keeps of a line that is too long to be an event.
OVERLONG_KEPT_BYTES = 4096
# How long a dead letter may be: JSON writes a byte as six ("\\u0001"), and the reason comes to it.
LETTER_TIMES = 6
LETTER_BYTES = 64 * 1024


@dataclass(frozen=True)
class Limits:
    """When a batch is full. The cuts follow from these and the input alone, so a resumed run makes the same ones."""

    events: int
    bytes: int
    line_bytes: int


@dataclass
class Batch:
    """The lines from ``start`` to before ``end``, and what became of them."""

    start: int
    end: int
    next_line: int
    counts: Counts = field(default_factory=Counts)
    activity: Activity = field(default_factory=Activity)
    made: list[SourcedStatement] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    last: bool = False
    """No line of the segment follows."""
    resume_at: int | None = None
    unterminated: bool = False
    problem: str = ""
    """Why the object could not be read to the segment's end, if so."""
    gone: bool = False
    """The object is not (any more) what was planned; its content may be found elsewhere."""
    weight: int = 0
    """Bytes that the batch holds in memory."""

    def is_full(self, limits: Limits) -> bool:
        return (
            self.counts.transformed + self.counts.untransformable >= limits.events
            or self.weight >= limits.bytes
            or self.counts.lines >= LONGEST_BATCH_LINES
        )


def batches(
    source: Readable,
    transformer: Transformer,
    segment: Segment,
    start: tuple[int, int],
    cuts: Iterable[int],
    limits: Limits,
    retries: bool = False,
    filters: Filters = TAKE_ALL,
) -> Iterator[Batch]:
    """The batches of ``segment`` from ``start`` (an offset and its line number); the last one has ``last`` set.

    A batch ends at each of ``cuts``: offsets at which some destination is to go on. With ``retries``, the lines are
    dead letters, and what they hold is tried again.
    """
    stops = set(cuts)
    batch = Batch(start[0], *start)
    skip = None if retries else transformer.skip
    line_bytes = LETTER_TIMES * limits.line_bytes + LETTER_BYTES if retries else limits.line_bytes
    lines = segment_lines(source, segment, *start, line_bytes, skip)
    try:
        for one in _looked_up(_parsed(lines, transformer, retries, filters), transformer):
            if isinstance(one, Parsed):
                if batch.counts.lines and (batch.is_full(limits) or one.line.offset in stops):
                    yield batch
                    batch = Batch(one.line.offset, one.line.offset, one.line.number)
                _add(batch, transformer, segment, one)
                continue
            rest: SkippedLines | None = one
            while rest is not None:
                if batch.counts.lines and (batch.is_full(limits) or rest.start in stops):
                    yield batch
                    batch = Batch(rest.start, rest.start, rest.number)
                gap, rest = rest.cut(_until_cut(rest, LONGEST_BATCH_LINES - batch.counts.lines, stops))
                _skip(batch, gap)
    except BrokenObject as error:
        batch.problem = str(error)
    except ObjectGone as error:
        batch.problem = str(error)
        batch.gone = True
    batch.last = True
    yield batch


def _until_cut(gap: SkippedLines, most: int, stops: set[int]) -> int:
    """How many of the gap's lines, at least one, still belong to a batch that takes ``most`` of them."""
    if any(gap.start < stop < gap.end for stop in stops):
        for count, end in enumerate(gap.ends(), 1):
            if count == most or end in stops:
                return count
    return most


def _skip(batch: Batch, gap: SkippedLines) -> None:
    """Account for lines that need no parsing."""
    count = gap.lines
    batch.counts.lines += count
    batch.counts.unknown_event += count
    batch.end = gap.end
    batch.next_line = gap.number + count
    batch.unterminated = False


def _add(batch: Batch, transformer: Transformer, segment: Segment, parsed: Parsed) -> None:
    """Account for one line."""
    counts, line, letter, event = batch.counts, parsed.line, parsed.letter, parsed.event
    counts.lines += 1
    batch.end = line.end
    batch.next_line = line.number + 1
    batch.unterminated = line.open
    if parsed.blank:
        counts.blank += 1
    elif parsed.unparsable is not None:
        counts.unparsable += 1
        reason = parsed.unparsable.reason
        if line.open:
            # Perhaps still being written: told apart, and read again when the object has grown.
            batch.resume_at = line.offset
            reason = "incomplete_line"
        _lose(batch, segment, line, letter, PARSE, reason, parsed.unparsable.detail, "")
    elif parsed.filtered:
        counts.filtered += 1
        batch.activity.filtered(parsed.filtered)
    elif event is None:
        counts.unknown_event += 1
    else:
        try:
            statements = transformer.statements(event, parsed.raw)
        except Untransformable as error:
            counts.untransformable += 1
            batch.activity.failed(event.name, event.fields.get("timestamp"))
            _lose(batch, segment, line, letter, TRANSFORM, error.reason, error.detail, event.name)
            return
        counts.transformed += 1
        if letter and letter.statement:
            statements = [statement for statement in statements if statement.id == letter.statement]
        batch.activity.transformed(event.name, event.fields.get("timestamp"), len(statements))
        batch.made += [SourcedStatement(statement, event, line, letter) for statement in statements]
        batch.weight += sum(len(statement.body) for statement in statements) + len(line.raw)


def _lose(
    batch: Batch,
    segment: Segment,
    line: Line,
    letter: DeadLetter | None,
    stage: str,
    reason: str,
    detail: str,
    name: str,
) -> None:
    """Make a dead letter of a line, or of the line that an older dead letter holds."""
    batch.counts.refuse(reason)
    if letter:
        new = replace(letter, stage=stage, reason=reason, detail=detail, event=name, statement="", destination="")
    else:
        raw = line.raw[:OVERLONG_KEPT_BYTES] if line.overlong else line.raw
        new = DeadLetter(segment.object, line.offset, line.number, stage, reason, detail, name, raw)
    batch.letters.append(new)
    batch.weight += len(new.raw)
