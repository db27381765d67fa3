"""A sample of the lines that are left to do, taken in many places, and an estimate of the whole work from it."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from django.db import transaction

from ..deliver.lrs import Lrs
from ..model.counts import Counts, total
from ..model.delivery import Destination
from ..model.erb_faults import faults_of
from ..model.plan import Segment
from ..read.decompress import BrokenObject, decompressed
from ..read.filters import Filters
from ..read.log_lines import log_lines
from ..report.deleted_users import DeletedUserEvents
from ..storage.base import Readable
from ..transform.transformer import Transformer
from ..util.errors import ObjectGone
from ..work.batches import Limits, Section, batches
from ..work.lookahead import look_ahead
from ..work.parse import parse_lines

PLACES = 10
LINES = 2000
SECS = 5.0
# How much is read in a place at most: enough for its lines, and for one block of any kind of compression.
PLAIN_BYTES = 512 * 1024
STORED_BYTES = 1024**2
# With the first lines, ERB loads its modules: they do not count in the measured speed.
WARM_UP_LINES = 50


@dataclass(frozen=True)
class Place:
    """Where lines are taken: those that start in the ``length`` bytes from ``offset``, at most ``lines``.

    Of a compressed object, these are always its first lines.
    """

    segment: Segment
    offset: int
    length: int
    lines: int


@dataclass(frozen=True)
class Piece:
    """The whole lines read in a place; ``stored`` bytes were ``unpacked`` bytes after decompression."""

    place: Place
    content: bytes
    stored: int
    unpacked: int

    @property
    def lines(self) -> int:
        return self.content.count(b"\n")


def places(segments: Sequence[Segment], count: int = PLACES, lines: int = LINES) -> list[Place]:
    """``count`` places, spread evenly over the stored bytes of ``segments`` (fewer if there are fewer bytes).

    If a compression is not in any of them, its largest segment is added: small files may unpack to many lines.
    """
    whole = sum(segment.stored_bytes for segment in segments)
    step = max(1, -(-whole // count))
    found: dict[int, list[Place]] = {}
    before = 0
    for segment in segments:
        # The first multiple of ``step`` that lies in this segment.
        for point in range(-(-before // step) * step, before + segment.stored_bytes, step):
            offset = segment.start + point - before
            length = min(step, PLAIN_BYTES, segment.start + segment.stored_bytes - offset)
            found.setdefault(segment.id, []).append(Place(segment, offset, length, lines // count))
        before += segment.stored_bytes
    met = {here[0].segment.compression for here in found.values()}
    for segment in sorted(segments, key=lambda segment: (-segment.stored_bytes, segment.id)):
        if segment.stored_bytes and segment.compression not in met:
            met.add(segment.compression)
            length = min(PLAIN_BYTES, segment.stored_bytes)
            found[segment.id] = [Place(segment, segment.start, length, lines // count)]
    result: list[Place] = []
    for here in found.values():
        if here[0].segment.compression:
            result.append(Place(here[0].segment, 0, STORED_BYTES, sum(place.lines for place in here)))
        else:
            result += here
    return result


def read_place(source: Readable, place: Place, line_bytes: int) -> Piece:
    """The lines of a place. Raises :class:`~.errors.JobError` if the source is unavailable."""
    try:
        if place.segment.compression:
            return _read_compressed(source, place)
        return _read_plain(source, place, line_bytes)
    except (ObjectGone, BrokenObject):
        # Unreadable, or removed since it was listed: the table of objects says so.
        return Piece(place, b"", 0, 0)


def _read_compressed(source: Readable, place: Place) -> Piece:
    stored = b"".join(source.read(place.segment.object, 0, min(place.length, place.segment.stored_bytes)))
    content = b""
    unpacked = 0
    try:
        for piece in decompressed(iter((stored,)), place.segment.compression):
            unpacked += len(piece)
            if len(content) < PLAIN_BYTES * PLACES:
                content += piece
    except BrokenObject:
        pass  # cut off on purpose
    return Piece(place, b"".join(_lines(content)[: place.lines]), len(stored), unpacked)


def _read_plain(source: Readable, place: Place, line_bytes: int) -> Piece:
    """A line belongs to the place in which it starts; the byte before the place shows if its first line is whole."""
    segment = place.segment
    begin = max(segment.start, place.offset - 1)
    chunks = source.read(segment.object, begin, min(place.offset + place.length + line_bytes, segment.end or 0))
    content = b""
    for chunk in chunks:
        content += chunk
        if len(content) >= place.length + 1 and b"\n" in content[place.length :]:
            break
    first = 0
    if place.offset > segment.start:
        first = content.find(b"\n") + 1
        if not first:
            return Piece(place, b"", 0, 0)
    last = place.offset + place.length - begin
    taken = list(itertools.islice(_lines_before(content, first, last), place.lines))
    text = b"".join(taken)
    return Piece(place, text, len(text), len(text))


def _lines(content: bytes) -> list[bytes]:
    """The lines that are ended."""
    ended, newline, _ = content.rpartition(b"\n")
    return [line + b"\n" for line in ended.split(b"\n")] if newline else []


def _lines_before(content: bytes, first: int, last: int) -> Iterator[bytes]:
    """The lines that begin from ``first`` to before ``last``; one that the segment ends in is ended."""
    while first < min(last, len(content)):
        newline = content.find(b"\n", first)
        if newline < 0:
            yield content[first:] + b"\n"
            return
        yield content[first : newline + 1]
        first = newline + 1


@dataclass
class Tally:
    """The outcome of the sampled lines of one kind of object. Times in seconds of one worker."""

    stored: int = 0
    unpacked: int = 0
    sampled: int = 0
    """Bytes of the lines that were tried."""
    secs: float = 0.0
    timed: int = 0
    """Bytes of the lines that took ``secs``."""
    counts: Counts = field(default_factory=Counts)
    statements: dict[str, int] = field(default_factory=dict)
    """Destination name -> statements for it."""
    bytes: dict[str, int] = field(default_factory=dict)
    invalid: dict[str, Counter[tuple[str, ...]]] = field(default_factory=dict)
    """LRS -> known faults of ERB in one statement for it -> how many statements have these."""
    gone: DeletedUserEvents = field(default_factory=DeletedUserEvents)
    """Those that can't be transformed."""


@dataclass(frozen=True)
class Trial:
    """Transforms sampled lines as a run does, without delivery."""

    transformer: Transformer
    destinations: Sequence[Destination]
    limits: Limits
    filters: Filters
    max_secs: float = SECS

    def run(self, pieces: Iterable[Piece]) -> dict[str, Tally]:
        """A tally for each compression. Stops after ``max_secs``."""
        tallies: dict[str, Tally] = {}
        end = time.monotonic() + self.max_secs
        warm = 0
        for piece in pieces:
            tally = tallies.setdefault(piece.place.segment.compression, Tally())
            tally.stored += piece.stored
            tally.unpacked += piece.unpacked
            for content in _slices(piece.content, WARM_UP_LINES - warm):
                if time.monotonic() > end:
                    break
                begun = time.monotonic()
                sent = self._try(content, tally)
                took = time.monotonic() - begun
                self._judge(sent, tally)
                tally.sampled += len(content)
                if warm >= WARM_UP_LINES:
                    tally.secs += took
                    tally.timed += len(content)
                warm += content.count(b"\n")
        return tallies

    def _try(self, content: bytes, tally: Tally) -> dict[str, list[bytes]]:
        """Returns what would be sent to each destination."""
        transformer = self.transformer
        sent: dict[str, list[bytes]] = {}
        lines = log_lines((content,), limit=self.limits.line_bytes, prefilter=transformer.prefilter)
        parsed = look_ahead(parse_lines(lines, transformer, self.filters), transformer)
        for batch in batches(parsed, transformer, Section(""), self.limits):
            tally.counts.add(batch.counts)
            for letter in batch.letters if transformer.includes_deleted_users else ():
                tally.gone.add(letter)
            for destination in self.destinations:
                name = destination.name
                bodies = [body for made in batch.made if (body := destination.route(made)) is not None]
                tally.statements[name] = tally.statements.get(name, 0) + len(bodies)
                tally.bytes[name] = tally.bytes.get(name, 0) + sum(len(body) + 1 for body in bodies)
                sent.setdefault(name, []).extend(bodies)
        return sent

    def _judge(self, sent: Mapping[str, Sequence[bytes]], tally: Tally) -> None:
        """Count the statements that a strict LRS refuses. Not part of a run's work, so not in its time."""
        for name, lrs in {to.name: to for to in self.destinations if isinstance(to, Lrs)}.items():
            found = (faults_of(lrs.target.transformer_type, json.loads(body)) for body in sent.get(name, ()))
            tally.invalid.setdefault(name, Counter()).update(faults for faults in found if faults)


def _slices(content: bytes, first_lines: int) -> Iterator[bytes]:
    """The first lines, and the rest."""
    at = 0
    for _ in range(max(0, first_lines)):
        newline = content.find(b"\n", at)
        if newline < 0:
            break
        at = newline + 1
    yield from (part for part in (content[:at], content[at:]) if part)


@contextlib.contextmanager
def rolled_back(database: str) -> Iterator[None]:
    """Roll back what is written to the database in this context: ERB creates missing external ids."""
    with transaction.atomic(using=database):
        try:
            yield
        finally:
            transaction.set_rollback(True, using=database)


@dataclass(frozen=True)
class WorkEstimate:
    """How much work is left, estimated from a sample."""

    lines: float
    events: float
    """Events that ERB is asked to transform."""
    statements: Mapping[str, float]
    bytes: Mapping[str, float]
    secs: float
    """Time of a single worker, without delivery."""


def estimate(remaining: Mapping[str, int], tallies: Mapping[str, Tally]) -> WorkEstimate | None:
    """Scale the sample up. ``remaining``: compression -> stored bytes that are left to do.

    ``None`` if the sample has no lines. A compression that is not in the sample is estimated like one that is.
    """
    usable = {kind: tally for kind, tally in tallies.items() if tally.sampled and tally.stored}
    if not usable:
        return None
    lines = events = secs = 0.0
    statements: dict[str, float] = {}
    sizes: dict[str, float] = {}
    timed = sum(tally.timed for tally in usable.values())
    pace = sum(tally.secs for tally in usable.values()) / timed if timed else 0.0
    for kind, stored in remaining.items():
        tally = usable.get(kind) or next(iter(usable.values()))
        whole = stored * tally.unpacked / tally.stored
        share = whole / tally.sampled
        lines += share * tally.counts.lines
        events += share * (tally.counts.transformed + tally.counts.untransformable)
        secs += whole * (tally.secs / tally.timed if tally.timed else pace)
        for name, count in tally.statements.items():
            statements[name] = statements.get(name, 0.0) + share * count
            sizes[name] = sizes.get(name, 0.0) + share * tally.bytes[name]
    return WorkEstimate(lines, events, statements, sizes, secs)


def total_counts(tallies: Mapping[str, Tally]) -> Counts:
    """The counts of the whole sample."""
    return total(tally.counts for tally in tallies.values())


def deleted_users(tallies: Mapping[str, Tally]) -> Counter[str]:
    """Course -> events of the whole sample whose users are not there any more."""
    return sum((tally.gone.by_course for tally in tallies.values()), Counter())


def invalid_statements(tallies: Mapping[str, Tally]) -> dict[str, Counter[tuple[str, ...]]]:
    """LRS -> known faults in one statement -> how many statements of the whole sample have these."""
    found: dict[str, Counter[tuple[str, ...]]] = {}
    for tally in tallies.values():
        for name, counted in tally.invalid.items():
            found.setdefault(name, Counter()).update(counted)
    return {name: counted for name, counted in found.items() if counted}


def format_estimate(number: float) -> str:
    """An estimated number with two significant digits, such as 1.2 million."""
    for size, name in ((1e9, " billion"), (1e6, " million")):
        if number >= 0.995 * size:
            return f"{float(f'{number / size:.2g}'):g}{name}"
    return f"{int(float(f'{number:.2g}')):,}"
