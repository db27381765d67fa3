"""From a segment to batches: read, unpack, split, parse, transform, and cut where a batch is full."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from . import dead_letters
from .counts import Counts
from .dead_letters import PARSE, TRANSFORM, DeadLetter
from .delivery import Made
from .errors import ObjectGone
from .events import Unparsable, parse
from .plan_model import Segment
from .reader import BrokenObject, Line, decompressed, skipped, split_lines
from .storage import Readable
from .transform import Transformer, Untransformable

# A stretch of lines that make no statements is still a batch now and then, so that progress is kept.
LONGEST_BATCH_LINES = 100_000
# What a dead letter keeps of a line that is too long to be an event.
OVERLONG_KEPT_BYTES = 4096


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
    made: list[Made] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    last: bool = False
    """No line of the segment follows."""
    resume_at: int | None = None
    ends_open: bool = False
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


def segment_lines(source: Readable, segment: Segment, offset: int, number: int, line_bytes: int) -> Iterator[Line]:
    """The lines of ``segment`` from ``offset``, which is the start of its line ``number``.

    Raises :class:`~.errors.ObjectGone` or :class:`~.reader.BrokenObject` after the last line that can be read.
    """
    chunks: Iterable[bytes]
    if segment.compression:
        chunks = skipped(decompressed(source.read(segment.object), segment.compression), offset)
        if segment.end is not None:
            chunks = _until(chunks, segment.end - offset)
    else:
        chunks = _whole(source.read(segment.object, offset, segment.end), segment, offset)
    lines = split_lines(chunks, offset, number, line_bytes)
    if segment.after_open_line and offset == segment.start:
        lines = _without_line_end(lines)
    return lines


def _until(chunks: Iterable[bytes], count: int) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk[:count]
        count -= len(chunk)
        if count <= 0:
            return


def _whole(chunks: Iterable[bytes], segment: Segment, offset: int) -> Iterator[bytes]:
    """``chunks``, and an error if they end before the segment does."""
    position = offset
    for chunk in chunks:
        position += len(chunk)
        yield chunk
    if segment.end is not None and position < segment.end:
        raise ObjectGone(f"it ends at byte {position}, and had {segment.end} bytes when it was planned")


def _without_line_end(lines: Iterator[Line]) -> Iterator[Line]:
    """Leave out the line end of a line that was done when it had none yet."""
    first = next(lines, None)
    if first is None:
        return
    if first.raw or first.open:
        yield first
        yield from lines
        return
    for line in lines:
        yield replace(line, number=line.number - 1)


def batches(
    source: Readable,
    transformer: Transformer,
    segment: Segment,
    start: tuple[int, int],
    cuts: Iterable[int],
    limits: Limits,
    retries: bool = False,
) -> Iterator[Batch]:
    """The batches of ``segment`` from ``start`` (an offset and its line number); the last one has ``last`` set.

    A batch ends at each of ``cuts``: offsets at which some destination is to go on. With ``retries``, the lines are
    dead letters, and what they hold is tried again.
    """
    stops = set(cuts)
    batch = Batch(start[0], *start)
    try:
        for line in segment_lines(source, segment, *start, limits.line_bytes):
            if batch.counts.lines and (batch.is_full(limits) or line.offset in stops):
                yield batch
                batch = Batch(line.offset, line.offset, line.number)
            _add(batch, transformer, segment, line, _letter(line) if retries else None)
    except BrokenObject as error:
        batch.problem = str(error)
    except ObjectGone as error:
        batch.problem = str(error)
        batch.gone = True
    batch.last = True
    yield batch


def _letter(line: Line) -> DeadLetter | None:
    """The dead letter in a line of a dead-letters file."""
    letters = dead_letters.parse(line.raw)
    return letters[0] if letters else None


def _add(batch: Batch, transformer: Transformer, segment: Segment, line: Line, letter: DeadLetter | None) -> None:
    """Account for one line."""
    counts = batch.counts
    counts.lines += 1
    batch.end = line.end
    batch.next_line = line.number + 1
    batch.ends_open = line.open
    raw = letter.raw if letter else line.raw
    if not raw.strip():
        counts.blank += 1
        return
    name = ""
    try:
        if line.overlong:
            raise Unparsable("line_too_long", f"longer than {len(raw)} bytes (max_line_bytes)")
        event = parse(raw)
        name = event.name
        if not transformer.known(name):
            counts.unknown_event += 1
            return
        statements = transformer.statements(event, raw)
    except Unparsable as error:
        counts.unparsable += 1
        reason = error.reason
        if line.open:
            # Perhaps still being written: told apart, and read again when the object has grown.
            batch.resume_at = line.offset
            reason = "incomplete_line"
        _lose(batch, segment, line, letter, PARSE, reason, error.words, name)
    except Untransformable as error:
        counts.untransformable += 1
        _lose(batch, segment, line, letter, TRANSFORM, error.reason, error.words, name)
    else:
        counts.transformed += 1
        if letter and letter.statement:
            statements = [statement for statement in statements if statement.id == letter.statement]
        batch.made += [Made(statement, event, line, letter) for statement in statements]
        batch.weight += sum(len(statement.body) for statement in statements) + len(line.raw)


def _lose(
    batch: Batch,
    segment: Segment,
    line: Line,
    letter: DeadLetter | None,
    stage: str,
    reason: str,
    words: str,
    name: str,
) -> None:
    """Make a dead letter of a line, or of the line that an older dead letter holds."""
    batch.counts.refuse(reason)
    if letter:
        new = replace(letter, stage=stage, reason=reason, words=words, event=name, statement="", destination="")
    else:
        raw = line.raw[:OVERLONG_KEPT_BYTES] if line.overlong else line.raw
        new = DeadLetter(segment.object, line.offset, line.number, stage, reason, words, name, raw)
    batch.letters.append(new)
    batch.weight += len(new.raw)
