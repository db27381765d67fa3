"""The statements that should be at the destinations: what was delivered, read and transformed once more."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..model import dead_letters
from ..model.counts import Counts
from ..model.dead_letters import DeadLetter
from ..model.delivery import SourcedStatement
from ..model.plan import Segment
from ..model.records import Line
from ..read.events import Unparsable, parse
from ..read.filters import TAKE_ALL, Filters
from ..read.lines import BrokenObject
from ..read.prefilter import SkippedLines
from ..read.segment import segment_lines
from ..storage.base import READ_CHUNK, Readable
from ..transform.transformer import Transformer
from ..util.errors import ObjectGone
from ..work.batches import Limits, batches
from .delivered import DeliveredRange

# How many chosen lines are transformed together, and how many bytes of them.
TOGETHER = 1000
TOGETHER_BYTES = 8 * 1024**2
TELL_LINES = 10_000


@dataclass(frozen=True)
class Place:
    """Where a line is: in which stretch, at which (decompressed) offset of its content."""

    stretch: int
    offset: int
    line: int
    """Its number in the object; 0 where that is not known."""

    @property
    def number(self) -> int:
        """Stretch and offset as one number, in the order in which they are read."""
        return self.stretch << 44 | self.offset


@dataclass(frozen=True)
class ExpectedStatement:
    """A statement that some line makes today."""

    made: SourcedStatement
    place: Place
    raw: bytes


@dataclass(frozen=True)
class Chosen:
    """A line to transform."""

    place: Place
    object: str
    raw: bytes


class ExpectedStatements:
    """Reads stretches of the source. What can't be read of them is said in ``problems``."""

    def __init__(
        self,
        source: Readable,
        transformer: Transformer,
        limits: Limits,
        ranges: Sequence[DeliveredRange],
        tell: Callable[[Counts], None],
        filters: Filters = TAKE_ALL,
    ) -> None:
        """``tell`` is told of the lines that were read."""
        self._tell = tell
        self._filters = filters
        self._source = source
        self._transformer = transformer
        self._limits = limits
        self.ranges = ranges
        self.problems: dict[str, None] = {}
        """In words, in order, each once."""

    def everything(self) -> Iterator[list[ExpectedStatement]]:
        """All statements, a batch at a time."""
        for number, stretch in enumerate(self.ranges):
            segment = stretch.segment
            start = (segment.start, 1)
            for batch in batches(
                self._source, self._transformer, segment, start, (), self._limits, filters=self._filters
            ):
                self._tell(batch.counts)
                if batch.problem:
                    self._note(segment, batch.problem)
                yield [
                    ExpectedStatement(
                        made, Place(number, made.line.offset, _line_number(segment, made.line)), made.line.raw
                    )
                    for made in batch.made
                ]

    def at(self, numbers: Sequence[int]) -> Iterator[list[ExpectedStatement]]:
        """The statements of the lines at the places with these ``numbers``, which are in order."""
        wanted = iter(numbers)

        def chosen() -> Iterator[Chosen]:
            number = next(wanted, None)
            for one in self._lines():
                while number is not None and number < one.place.number:
                    number = next(wanted, None)
                if number is None:
                    return
                if number == one.place.number:
                    yield one

        yield from self.of_lines(chosen())

    def sample(self, count: int) -> list[Chosen]:
        """A random sample of ``count`` lines whose events make statements, the same one every time.

        Every such line is as likely as any other: each has a number that follows from where it is and from what its
        log begins with, as good as random, and those with the lowest numbers are taken.
        """
        lowest: list[tuple[int, int, Chosen]] = []
        for one in self._lines():
            lot = _lot(self.ranges[one.place.stretch], one.place.offset)
            if len(lowest) == count and -lot <= lowest[0][0]:
                continue
            if self._makes_statements(one.raw):
                entry = (-lot, one.place.number, one)
                (heapq.heappushpop if len(lowest) == count else heapq.heappush)(lowest, entry)
        return [one for _, _, one in sorted(lowest, key=lambda entry: entry[1])]

    def _makes_statements(self, raw: bytes) -> bool:
        try:
            event = parse(raw)
        except Unparsable:
            return False
        return self._transformer.known(event.name) and self._filters.takes(event)

    def of_lines(self, lines: Iterable[Chosen]) -> Iterator[list[ExpectedStatement]]:
        """The statements of single lines, transformed some at a time."""
        together: list[Chosen] = []
        weight = 0
        for one in lines:
            together.append(one)
            weight += len(one.raw)
            if len(together) >= TOGETHER or weight >= TOGETHER_BYTES:
                yield self._transformed(together)
                together, weight = [], 0
        if together:
            yield self._transformed(together)

    def _transformed(self, lines: Sequence[Chosen]) -> list[ExpectedStatement]:
        """As WORK transforms dead letters: lines out of their place."""
        letters = [DeadLetter(one.object, one.place.offset, one.place.line, "", "", "", "", one.raw) for one in lines]
        content = dead_letters.dump(letters)
        segment = Segment(0, 0, "", 0, len(content), len(content))
        limits = Limits(len(lines) + 1, len(content) * 100, len(content))
        recalled = []
        source = _InMemory(content)
        for batch in batches(source, self._transformer, segment, (0, 1), (), limits, True, self._filters):
            for made in batch.made:
                one = lines[made.line.number - 1]
                recalled.append(ExpectedStatement(made, one.place, one.raw))
        return recalled

    def _lines(self) -> Iterator[Chosen]:
        """All lines that may make statements."""
        skip = self._transformer.skip
        read = 0
        for number, stretch in enumerate(self.ranges):
            segment = stretch.segment
            try:
                for line in segment_lines(self._source, segment, segment.start, 1, self._limits.line_bytes, skip):
                    read += line.lines if isinstance(line, SkippedLines) else 1
                    if read >= TELL_LINES:
                        self._tell(Counts(lines=read))
                        read = 0
                    if not isinstance(line, SkippedLines) and not line.overlong:
                        place = Place(number, line.offset, _line_number(segment, line))
                        yield Chosen(place, segment.object, line.raw)
            except (BrokenObject, ObjectGone) as error:
                self._note(segment, str(error))

    def _note(self, segment: Segment, problem: str) -> None:
        self.problems[f"{segment.object}: {problem}"] = None


@dataclass(frozen=True)
class _InMemory:
    content: bytes

    def read(self, name: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        end = len(self.content) if end is None else end
        for at in range(start, end, READ_CHUNK):
            yield self.content[at : min(at + READ_CHUNK, end)]


def _line_number(segment: Segment, line: Line) -> int:
    return line.number if segment.start == 0 else 0


def _lot(stretch: DeliveredRange, offset: int) -> int:
    """Stays the same when the log is rotated or compressed."""
    text = f"{stretch.digest} {offset}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
