"""The statements that should be at the destinations: what was delivered, read and transformed once more."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from ..model.counts import Counts
from ..model.delivery import SourcedStatement
from ..model.plan import Segment
from ..model.progress_events import BatchDone, Emit, SegmentStarted
from ..model.records import Line, Position, SkippedLines
from ..read.decompress import BrokenObject
from ..read.filters import TAKE_ALL, Filters
from ..read.prefilter import Prefilter
from ..read.segment import segment_lines
from ..storage.base import Readable
from ..transform.transformer import Transformer, Untransformable
from ..util.errors import ObjectGone
from ..work.parse import parse_line
from ..work.statements import statements_of
from .delivered import DeliveredRange

# How many lines are transformed together, and how many bytes of them.
TOGETHER = 1000
TOGETHER_BYTES = 8 * 1024**2
# After how many lines the progress is reported.
REPORT_LINES = 10_000


class DeliveredLine(NamedTuple):
    """A line that may make statements, and where it is."""

    range: int
    """The index of its range."""
    line: Line
    number: int
    """Its number in the object; 0 where that is not known."""

    @property
    def key(self) -> int:
        """Range and offset as one number, in the order in which they are read."""
        return self.range << 44 | self.line.offset


@dataclass(frozen=True)
class ExpectedStatement:
    """A statement that a delivered line makes today."""

    made: SourcedStatement
    source: DeliveredLine


@dataclass(frozen=True)
class ExpectedStatements:
    """Reads ranges of the source once more. What can't be read of them is said in ``problems``."""

    source: Readable
    transformer: Transformer
    line_bytes: int
    """The longest line that can be an event."""
    ranges: Sequence[DeliveredRange]
    emit: Emit
    """Takes the progress."""
    filters: Filters = TAKE_ALL
    problems: dict[str, None] = field(default_factory=dict)
    """For people, in order, each once."""

    def everything(self, share: tuple[int, int] = (0, 1)) -> Iterator[list[ExpectedStatement]]:
        """All statements, some at a time; or one ``share`` (I of N) of these lists, which are the same for every N.

        All lines are read for a share, too, which takes little of the time: the others are not parsed.
        """
        return map(self._transformed, islice(_together(self._lines()), share[0], None, share[1]))

    def at(self, keys: Sequence[int]) -> Iterator[list[ExpectedStatement]]:
        """The statements of the lines with these ``keys``, which are in order."""
        return self.of_lines(self._lines_at(keys))

    def sample(self, count: int) -> list[DeliveredLine]:
        """A random sample of ``count`` lines whose events make statements, the same one every time.

        Every such line is as likely as any other: each has a number that follows from where it is and from what its
        log begins with, as good as random, and those with the lowest numbers are taken.
        """
        lowest: list[tuple[int, int, DeliveredLine]] = []
        for line in self._lines():
            lot = _lot(self.ranges[line.range], line.line.offset)
            if len(lowest) == count and -lot <= lowest[0][0]:
                continue
            if parse_line(line.line, None, self.transformer, self.filters).event is not None:
                entry = (-lot, line.key, line)
                (heapq.heappushpop if len(lowest) == count else heapq.heappush)(lowest, entry)
        return [line for _, _, line in sorted(lowest, key=lambda entry: entry[1])]

    def of_lines(self, lines: Iterable[DeliveredLine]) -> Iterator[list[ExpectedStatement]]:
        """The statements of ``lines``, transformed some at a time."""
        return map(self._transformed, _together(lines))

    def _transformed(self, lines: Sequence[DeliveredLine]) -> list[ExpectedStatement]:
        parsed = [parse_line(line.line, None, self.transformer, self.filters) for line in lines]
        self.transformer.look_up(line.event for line in parsed if line.event is not None)
        counts = Counts()
        expected = []
        for source, parsed_line in zip(lines, parsed, strict=True):
            if parsed_line.event is None:
                continue
            try:
                made = statements_of(parsed_line, self.transformer)
            except Untransformable:
                counts.untransformable += 1
                continue
            counts.transformed += 1
            expected += [ExpectedStatement(sourced, source) for sourced in made]
        self.emit(BatchDone(counts))
        return expected

    def _lines_at(self, keys: Sequence[int]) -> Iterator[DeliveredLine]:
        wanted = iter(keys)
        key = next(wanted, None)
        for line in self._lines():
            while key is not None and key < line.key:
                key = next(wanted, None)
            if key is None:
                return
            if key == line.key:
                yield line

    def _lines(self) -> Iterator[DeliveredLine]:
        """All lines that may make statements."""
        prefilter = self._prefilter()
        read = 0
        for index, delivered in enumerate(self.ranges):
            segment = delivered.segment
            start = Position(segment.start, 1)
            self.emit(SegmentStarted(segment.object))
            try:
                for line in segment_lines(self.source, segment, start, self.line_bytes, prefilter):
                    read += line.lines if isinstance(line, SkippedLines) else 1
                    if read >= REPORT_LINES:
                        self.emit(BatchDone(Counts(lines=read)))
                        read = 0
                    if not isinstance(line, SkippedLines) and not line.overlong:
                        yield DeliveredLine(index, line, _number_in_object(segment, line))
            except (BrokenObject, ObjectGone) as error:
                self.problems[f"{segment.object}: {error}"] = None

    def _prefilter(self) -> Prefilter | None:
        """Skips what the filters leave out by name, too: here, it need not be counted."""
        if self.transformer.prefilter is None or self.filters is TAKE_ALL:
            return self.transformer.prefilter
        return Prefilter([name for name in self.transformer.known_names if self.filters.takes_name(name)])


def _together(lines: Iterable[DeliveredLine]) -> Iterator[list[DeliveredLine]]:
    """``lines`` in lists that are transformed together. Which ones are follows from the lines alone."""
    together: list[DeliveredLine] = []
    weight = 0
    for line in lines:
        together.append(line)
        weight += len(line.line.raw)
        if len(together) >= TOGETHER or weight >= TOGETHER_BYTES:
            yield together
            together, weight = [], 0
    if together:
        yield together


def _number_in_object(segment: Segment, line: Line) -> int:
    return line.number if segment.start == 0 else 0


def _lot(delivered: DeliveredRange, offset: int) -> int:
    """Stays the same when the log is rotated or compressed."""
    text = f"{delivered.digest} {offset}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
