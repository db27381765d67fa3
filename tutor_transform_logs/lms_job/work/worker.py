"""One worker: takes segments and delivers their statements to every destination."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from ..config.schema import JobConfig
from ..deliver.loggers import StatementLogger
from ..deliver.lrs import Lrs
from ..ledger import names
from ..ledger.entries import Entry
from ..ledger.ledger import Ledger
from ..model import dead_letters
from ..model.activity import total_activity
from ..model.counts import Counts, total
from ..model.dead_letters import DeadLetter
from ..model.delivery import Destination, Outcome, OutgoingStatement
from ..model.plan import Content, Plan, Segment, Tail
from ..model.progress_events import BatchDone, BytesRead, Emit, Message, Resting, SegmentStarted
from ..model.records import Position, SkippedLines
from ..plan.discovery import find_again
from ..read.filters import Filters
from ..read.head import HEAD_STORED_BYTES
from ..read.identify import is_replaced, read_head, still_holds
from ..read.redelivery import segment_letters
from ..read.segment import segment_chunks, split_segment
from ..read.stream_tails import StreamTails
from ..read.wrong_kind import KindCheck
from ..storage.base import Readable, Source
from ..transform.transformer import Transformer
from ..util.errors import JobError
from ..util.formatting import printable
from ..util.signals import Interruptions
from .allowance import Allowance
from .batches import Batch, Limits, Section, batches
from .lookahead import look_ahead
from .parse import ParsedLine, parse_letters, parse_lines
from .prefetch import Prefetcher
from .progress import watched
from .statement_sample import StatementSample
from .throttle import Throttle

# Shorter rests are not reported.
MIN_REPORTED_REST_SECS = 1.0


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


@dataclass(frozen=True)
class _Delivery:
    """A batch as it was delivered to one destination."""

    statements: int
    not_routed: int
    outcome: Outcome


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
        self._began = 0.0
        """When the current batch was asked for (monotonic clock)."""

    def work(self, segments: Sequence[Segment]) -> None:
        """Do ``segments``. Raises :class:`~.errors.JobError` when the source or the ledger fails."""
        for segment in segments:
            self.do(segment)
            if len(self.stopped) == len(self._context.destinations):
                return

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
            self._give_up(segment, entries, problem)
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
            self._give_up(segment, entries, "deleted, or replaced by another log, before it was read to its end")

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
        return find_again(self._context.source, self._config.source.prefixes, segment, [content])

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
        lines = look_ahead(self._parsed(segment, section.start, tails), self._context.transformer)
        parts = batches(tails.follow(lines) if tails else lines, self._context.transformer, section, self._limits)
        made = Prefetcher(tails.add_to(parts) if tails else parts)
        try:
            return self._deliver_each(segment, entries, made, last_try)
        finally:
            made.close()

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
        chunks = segment_chunks(source, segment, start.offset, tails)
        lines = split_segment(chunks, segment, start, self._limits.line_bytes, transformer.prefilter)
        return parse_lines(lines, transformer, self._filters)

    def _deliver_each(self, segment: Segment, entries: dict[str, Entry], made: Iterable[Batch], last_try: bool) -> bool:
        emit = self._context.emit
        self._began = time.monotonic()
        for batch in made:
            if batch.gone and not last_try:
                return False
            events = batch.counts.transformed + batch.counts.untransformable
            self._context.allowance.take(events)
            self._context.statement_logger.write(batch.made)
            if self._config.dry_run:
                for sampled in self._sample.choose(batch.made):
                    emit(sampled)
            emit(BatchDone(self._deliver_to_all(segment, entries, batch)))
            if not entries:
                break
            if not segment.compression:
                emit(BytesRead(batch.end - batch.start))
            if not batch.last:
                rest = self._context.throttle.after_batch(events, bool(batch.made))
                rest = max(0.0, min(rest, self._context.allowance.secs_left()))
                if rest >= MIN_REPORTED_REST_SECS:
                    emit(Resting(rest))
                time.sleep(rest)
            self._began = time.monotonic()
        return True

    def _wrong_kind(self, segment: Segment, current: Segment, position: int) -> str:
        """Why a log of which nothing was read before is not one; ``""`` if it may be one."""
        content = self._content(segment)
        if self._plan.redelivers or position > segment.start or (content is not None and content.length):
            return ""
        return self._kinds.problem(current)

    def _give_up(self, segment: Segment, entries: dict[str, Entry], problem: str) -> None:
        """Account for a segment of which nothing more is read: its content is gone, or is not a tracking log."""
        for destination, entry in entries.items():
            entry.problem, entry.done = problem, True
            self._context.ledger.save_entry(self._plan, segment, destination, entry)

    def _deliver_to_all(self, segment: Segment, entries: dict[str, Entry], batch: Batch) -> Counts:
        """Deliver a batch to every destination that has not got it; take out of ``entries`` those that fail."""
        counts = []
        for destination in self._context.destinations:
            entry = entries.get(destination.id)
            if entry is None:
                continue
            if entry.position > batch.start:
                # Ahead of the others: it has these lines already, and at the end of the segment all of them.
                if batch.last and entry.position >= batch.end:
                    entry.done = True
                    self._context.ledger.save_entry(self._plan, segment, destination.id, entry)
                continue
            try:
                entries[destination.id] = self._deliver(segment, destination, entry, batch)
                counts.append(entries[destination.id].counts.since(entry.counts))
            except JobError as error:
                self.stopped[destination.id] = error
                del entries[destination.id]
        # The lines are the same for all; the statements add up.
        lines = counts[0] if counts else Counts()
        return replace(lines, made=sum(of_destination.made for of_destination in counts), reasons=dict(lines.reasons))

    def _deliver(self, segment: Segment, destination: Destination, entry: Entry, batch: Batch) -> Entry:
        """Deliver a batch to one destination and remember it. Returns the new entry."""
        outgoing = []
        not_routed = 0
        known_to = self._done_before(segment, destination.id)
        for made in batch.made:
            if not made.concerns(destination) or 0 < made.line.whole_at <= known_to:
                continue
            body = destination.route(made)
            if body is None:
                not_routed += 1
            else:
                outgoing.append(OutgoingStatement(made, body))
        outcome = Outcome()
        if outgoing:
            self._context.ledger.hold()
            outcome = destination.deliver(names.batch_name(self._plan, segment, entry.batches + 1), outgoing)
        with self._context.interruptions.deferred():
            return self._remember(segment, destination, entry, batch, _Delivery(len(outgoing), not_routed, outcome))

    def _remember(
        self, segment: Segment, destination: Destination, entry: Entry, batch: Batch, delivery: _Delivery
    ) -> Entry:
        ledger, outcome = self._context.ledger, delivery.outcome
        letters = [*batch.letters, *_rejected(segment, destination, outcome)]
        counts = total([entry.counts, batch.counts])
        counts.not_routed += delivery.not_routed
        counts.made += delivery.statements
        counts.stored += outcome.stored
        counts.duplicates += outcome.duplicates
        counts.rejected += len(outcome.rejected)
        for rejection in outcome.rejected:
            counts.add_dead_letters(rejection.reason)
        activity = total_activity([entry.activity, batch.activity])
        events = batch.counts.transformed + batch.counts.untransformable
        activity.worked(time.time(), time.monotonic() - self._began, batch.counts.lines, events)
        new = Entry(
            position=batch.end,
            line=batch.next_line,
            batches=entry.batches + (1 if delivery.statements else 0),
            dead_batches=entry.dead_batches + (1 if letters else 0),
            counts=counts,
            done=batch.last,
            resume_at=batch.resume_at,
            unterminated=batch.unterminated,
            problem=batch.problem,
            activity=activity.bounded(),
            # Nothing of another log that has taken the place of this one was read.
            tail=batch.tail or (entry.tail if batch.end == entry.position else ""),
        )
        if letters:
            ledger.save_dead_letters(self._plan, segment, destination.id, new.dead_batches, letters)
        ledger.save_entry(self._plan, segment, destination.id, new)
        return new


def _rejected(segment: Segment, destination: Destination, outcome: Outcome) -> Iterator[DeadLetter]:
    for rejection in outcome.rejected:
        made = rejection.statement.made
        letter = made.letter or DeadLetter(
            segment.object, made.line.offset, made.line.number, "", "", "", made.event.name, made.line.raw
        )
        yield replace(
            letter,
            stage=dead_letters.DELIVER,
            reason=rejection.reason,
            detail=rejection.detail,
            statement=rejection.statement.id,
            destination=destination.name,
        )
