"""One worker: takes segments and delivers their statements to every destination."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from django.db import connections

from ..config.schema import JobConfig
from ..deliver.loggers import StatementLogger
from ..deliver.lrs import Lrs
from ..ledger import names
from ..ledger.entries import Entry
from ..ledger.ledger import Ledger
from ..model.delivery import Destination
from ..model.plan import Content, Plan, Segment, Tail
from ..model.progress_events import Emit, Message, Resting, SegmentStarted
from ..model.records import Position, SkippedLines
from ..plan.discovery import find_again
from ..read.archives import archive_of
from ..read.filters import Filters
from ..read.head import HEAD_STORED_BYTES
from ..read.identify import is_replaced, read_head, still_holds
from ..read.redelivery import segment_letters
from ..read.segment import segment_chunks, split_segment
from ..read.stream_tails import StreamTails
from ..read.wrong_kind import KindCheck
from ..storage.base import Readable, Source, StoredObject, join_name
from ..transform.transformer import Transformer
from ..util.errors import JobError
from ..util.formatting import printable
from ..util.prefetch import Prefetcher
from ..util.signals import Interruptions
from ..util.threads import KeptThread
from .allowance import Allowance
from .batches import Batch, Limits, Section, batches
from .in_flight import InFlight
from .lookahead import look_ahead
from .parse import ParsedLine, parse_letters, parse_lines
from .progress import watched
from .recorder import Recorder
from .segment_delivery import SegmentDelivery
from .statement_sample import StatementSample
from .throttle import Throttle
from .work_clock import WorkClock

# Shorter rests are not reported.
MIN_REPORTED_REST_SECS = 1.0
# What is delivered while the worker waits for the next batch is recorded this often.
RECORD_SECS = 0.05
# And what is ready to be sent is sent that long after it may be: less than it takes to make a batch.
SEND_SECS = 0.005
# How long is waited for the requests in flight when the work has failed.
AWAIT_SECS = 5.0
# The least that all batches in flight together may take of a worker's memory, as far as the limit of one is not more.
LEAST_IN_FLIGHT_BYTES = 32 * 1024**2
# After so long, the next log gets a new connection to the database: what is between the two may have dropped one that
# was not used, and said nothing.
CONNECTION_SECS = 60.0
# How long is waited for the end of the last connection.
DISCONNECT_SECS = 1.0
# How many requests for the next segments are on their way at the same time.
AHEAD = 2


@dataclass(frozen=True)
class WorkerContext:
    """What a worker needs; its own, never shared with another worker."""

    source: Source
    ledger: Ledger
    transformer: Transformer
    destinations: Sequence[Destination]
    statement_logger: StatementLogger
    emit: Emit
    throttle: Throttle
    interruptions: Interruptions
    allowance: Allowance = field(default_factory=lambda: Allowance(0, 0))
    requests_in_flight: int = 1
    """How many requests one destination may get from this worker at the same time."""


class Worker:
    """Does segments one after the other. A destination that fails is left out from then on; the others go on."""

    def __init__(self, config: JobConfig, plan: Plan, context: WorkerContext) -> None:
        self._config = config
        self._plan = plan
        self._contents = {content.id: content for content in plan.contents}
        self._context = context
        self._limits = Limits(
            context.allowance.events_per_batch(config.batch_size), config.batch_max_bytes, config.max_line_bytes
        )
        self._filters = Filters.of(config)
        self._kinds = KindCheck(context.source, config.max_line_bytes, config.max_invalid_ratio)
        self.stopped: dict[str, JobError] = {}
        """Destination id -> why nothing more goes there in this run."""
        self._sample = StatementSample()
        self._recorder = Recorder(
            plan,
            context.ledger,
            context.destinations,
            context.statement_logger,
            context.interruptions,
            context.emit,
            self.stopped,
        )
        self._seen: dict[StoredObject, bytes] = {}
        """How objects of the source begin that were searched for rotated logs."""
        # A batch has its turn when it is made: with a limit in time, it must not be sent much later.
        limited = bool(config.max_events_per_second or config.max_duration)
        most_bytes = max(config.batch_max_bytes, LEAST_IN_FLIGHT_BYTES)
        self._in_flight = InFlight(context.requests_in_flight, most_bytes, may_wait=not limited)
        for destination in context.destinations:
            if destination.traffic is not None:
                destination.traffic.allow(context.requests_in_flight)
        # A connection to the database costs more than a small log.
        self._maker = KeptThread(at_end=connections.close_all)
        self._connects_at = 0.0
        """When the next log gets a new one (monotonic clock)."""

    def close(self) -> None:
        """Nothing more is done: leave the database alone."""
        self._maker.close(DISCONNECT_SECS)

    def work(self, segments: Sequence[Segment], ahead: bool = False) -> None:
        """Do ``segments``. Raises :class:`~.errors.JobError` when the source or the ledger fails.

        ``ahead``: the beginnings of the next ones are read meanwhile. For small ones of which nothing is done.
        """
        with self._reading_ahead(segments if ahead else ()):
            for segment in segments:
                self.do(segment)
                if len(self.stopped) == len(self._context.destinations):
                    return

    @contextmanager
    def _reading_ahead(self, segments: Sequence[Segment]) -> Iterator[None]:
        """Within it, the entries and the objects of these are read in this order. What is in archives is not."""
        ledger, source = self._context.ledger, self._context.source
        entries = [
            join_name(ledger.directory, names.entry_name(self._plan, segment, destination.id))
            for segment in segments
            for destination in self._context.destinations
        ]
        objects = dict.fromkeys(segment.object for segment in segments if not archive_of(segment.object))
        with ledger.storage.reading_ahead(entries, AHEAD), source.reading_ahead([*objects], AHEAD):
            yield

    def do(self, segment: Segment) -> None:
        """Bring one segment to every destination that has not got it."""
        ledger = self._context.ledger
        entries = {}
        for destination in self._context.destinations:
            entry = ledger.load_entry(self._plan, segment, destination.id)
            if not entry.done and destination.id not in self.stopped:
                entries[destination.id] = entry
        emit = self._context.emit
        if not entries:
            return
        first = min(entries.values(), key=lambda entry: entry.position)
        emit(SegmentStarted(segment.object))
        current = self._current(segment, first)
        if current is not None and (problem := self._wrong_kind(segment, current, first.position)):
            if segment.start == 0:
                emit(Message(f"{printable(current.object)}: {problem}."))
            self._recorder.give_up(segment, entries, problem)
            return
        if current is not None and self._do_from(current, entries):
            return
        # Rotated or cut off while it was read: the rest may now be in another object.
        found = self._find_again(segment, first)
        if found is None and current is not None and not self._is_replaced(current):
            found = current
        if found is not None:
            self._do_from(found, entries, last_try=True)
        else:
            self._recorder.give_up(
                segment, entries, "deleted, or replaced by another log, before it was read to its end"
            )

    def _current(self, segment: Segment, first: Entry) -> Segment | None:
        """The segment with the object that holds its content now, or ``None`` if none does."""
        content = self._content(segment)
        if content is not None and not content.fingerprint.length:
            # It was not there, or broken, when the plan was made. If it can be read now, it may be another log, and the
            # next plan would not know what of it was delivered.
            return None if read_head(self._context.source, segment.object, HEAD_STORED_BYTES).first else segment
        if content is None or still_holds(self._context.source, segment, content):
            return segment
        return self._find_again(segment, first)

    def _content(self, segment: Segment) -> Content | None:
        return self._contents.get(segment.content)

    def _done_before(self, segment: Segment, destination: str) -> int:
        """Up to where an earlier plan has brought the log of a segment to a destination."""
        content = None if self._plan.redelivers else self._content(segment)
        return content.done.get(destination, 0) if content else 0

    def _is_replaced(self, segment: Segment) -> bool:
        """Has another log taken the place of what is left of the segment?"""
        content = None if self._plan.redelivers else self._content(segment)
        return content is not None and is_replaced(self._context.source, segment, content)

    def _find_again(self, segment: Segment, first: Entry) -> Segment | None:
        """``first``: the entry of the destination that has the least of the segment."""
        content = None if self._plan.redelivers else self._content(segment)
        if content is None:
            return None
        if segment.compression and first.position and first.tail:
            content = replace(content, tail=Tail(first.position, first.tail))
        return find_again(self._context.source, self._config.source.prefixes, segment, content, self._seen)

    def _do_from(self, segment: Segment, entries: dict[str, Entry], last_try: bool = False) -> bool:
        """Bring what is left of a segment to the destinations in ``entries``; those that fail are taken out.

        ``False``: the object does not hold it all (any more), and nothing of the batch in hand was delivered.
        """
        first = min(entries.values(), key=lambda entry: entry.position)
        stops = frozenset(entry.position for entry in entries.values())
        routed = any(isinstance(destination, Lrs) for destination in self._context.destinations)
        known_to = min(self._done_before(segment, destination) for destination in entries)
        section = Section(segment.object, Position(first.position, first.line), stops, known_to, routed)
        tails = StreamTails(first.position, first.tail) if segment.compression else None
        if time.monotonic() >= self._connects_at:
            self._maker.close()
            self._connects_at = time.monotonic() + CONNECTION_SECS
        made = Prefetcher(self._batches(segment, section, tails), thread=self._maker)
        try:
            return self._deliver_each(segment, entries, made, last_try)
        finally:
            made.close()

    def _batches(self, segment: Segment, section: Section, tails: StreamTails | None) -> Iterator[Batch]:
        """The batches of ``section``. Nothing else holds what they are made from, which ends with them."""
        clock = self._recorder.clock = WorkClock()
        lines = look_ahead(self._parsed(segment, section.start, tails), self._context.transformer)
        parts = batches(tails.follow(lines) if tails else lines, self._context.transformer, section, self._limits)
        return clock.making(tails.add_to(parts) if tails else parts)

    def _parsed(
        self, segment: Segment, start: Position, tails: StreamTails | None
    ) -> Iterator[ParsedLine | SkippedLines]:
        """The lines of a segment, or those that its dead letters hold."""
        source: Readable = self._context.source
        transformer = self._context.transformer
        if segment.compression:
            # How much of a compressed object is done is known by what was read of it alone.
            source = watched(source, self._context.emit)
        if self._plan.redelivers:
            letters = segment_letters(source, segment, start, names.MAX_DEAD_LETTER_BYTES)
            return parse_letters(letters, transformer, self._filters)
        chunks = self._recorder.clock.reading(segment_chunks(source, segment, start.offset, tails))
        lines = split_segment(chunks, segment, start, self._limits.line_bytes, transformer.prefilter)
        return parse_lines(lines, transformer, self._filters)

    def _deliver_each(
        self, segment: Segment, entries: dict[str, Entry], made: Prefetcher[Batch], last_try: bool
    ) -> bool:
        self._recorder.clock.start()
        known_to = {destination: self._done_before(segment, destination) for destination in entries}
        delivery = SegmentDelivery(self._recorder, self._in_flight, segment, entries, known_to)
        leave_secs = 0.0
        try:
            while entries and (batch := self._next(made, delivery, last_try)) is not None:
                if batch.gone and not last_try:
                    delivery.finish()
                    return False
                # What is recorded while it rests may end with an error of the last destination.
                if entries:
                    self._start(delivery, batch)
            delivery.finish()
        except Exception:
            leave_secs = AWAIT_SECS
            raise
        finally:
            # Nothing is left unless something has failed that ends the work, or a signal does.
            self._in_flight.close(leave_secs)
        return True

    def _next(self, made: Prefetcher[Batch], delivery: SegmentDelivery, last_try: bool) -> Batch | None:
        """The next batch that may be delivered, ``None`` behind the last one. Raises :class:`~.errors.JobError`."""
        try:
            while True:
                began = time.monotonic()
                try:
                    batch = made.next(_until_record(self._in_flight, delivery))
                    self._recorder.clock.waited(began)
                    break
                except queue.Empty:
                    self._recorder.clock.waited(began)
                    delivery.record()
            if batch is not None and (last_try or not batch.gone):
                self._context.allowance.take(_events(batch))
                self._rest(delivery, batch)
                self._context.allowance.check_time()
        except JobError:
            # What is in flight is not concerned.
            delivery.finish()
            raise
        return batch

    def _start(self, delivery: SegmentDelivery, batch: Batch) -> None:
        if self._config.dry_run:
            for sampled in self._sample.choose(batch.made):
                self._context.emit(sampled)
        delivery.start(batch)
        if batch.made:
            self._context.throttle.batch_sent()

    def _rest(self, delivery: SegmentDelivery, batch: Batch) -> None:
        """As long as the throttle asks for before a batch."""
        rest = self._context.throttle.before_batch(_events(batch), bool(batch.made))
        rest = max(0.0, min(rest, self._context.allowance.secs_left()))
        if rest >= MIN_REPORTED_REST_SECS:
            self._context.emit(Resting(rest))
        delivery.rest(rest)

    def _wrong_kind(self, segment: Segment, current: Segment, position: int) -> str:
        """Why a log of which nothing was read before is not one; ``""`` if it may be one."""
        content = self._content(segment)
        if self._plan.redelivers or position > segment.start or (content is not None and content.length):
            return ""
        return self._kinds.problem(current)


def _until_record(in_flight: InFlight, delivery: SegmentDelivery) -> float | None:
    """How many seconds may be waited for the next batch; ``None``: until there is one."""
    if delivery.waits:
        return SEND_SECS
    return RECORD_SECS if in_flight else None


def _events(batch: Batch) -> int:
    """How many events a batch has."""
    return batch.counts.transformed + batch.counts.untransformable
