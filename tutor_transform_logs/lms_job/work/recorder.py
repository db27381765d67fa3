"""Records in the ledger what was delivered: for each destination, how far it is in a segment."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..deliver.loggers import StatementLogger
from ..ledger.entries import Entry
from ..ledger.ledger import Ledger
from ..model import dead_letters
from ..model.activity import total_activity
from ..model.counts import Counts, total
from ..model.dead_letters import DeadLetter
from ..model.delivery import Destination, Outcome
from ..model.plan import Plan, Segment
from ..model.progress_events import BatchDone, BytesRead, Emit
from ..util.errors import JobError
from ..util.signals import Interruptions
from .batches import Batch
from .in_flight import Delivery, Parcel
from .work_clock import WorkClock, worker_name


@dataclass
class Recorder:
    """Writes one worker's entries and logs. A destination that fails is left out from then on; the others go on."""

    plan: Plan
    ledger: Ledger
    destinations: Sequence[Destination]
    statement_logger: StatementLogger
    """Gets the statements when their delivery begins."""
    interruptions: Interruptions
    emit: Emit
    stopped: dict[str, JobError]
    """Destination id -> why nothing more goes there in this run."""
    clock: WorkClock = field(default_factory=WorkClock)
    """That of the segment whose batches are recorded."""

    def record(self, segment: Segment, entries: dict[str, Entry], parcel: Parcel) -> None:
        """Record a batch, the next of the segment, for every destination; take out of ``entries`` those that failed."""
        counts, batch = [], parcel.batch
        for destination in self.destinations:
            entry = entries.get(destination.id)
            if entry is None:
                continue
            delivery = parcel.deliveries.get(destination.id)
            if delivery is None:
                # Ahead of the others: it has these lines already, and at the end of the segment all of them.
                if batch.last and entry.position >= batch.end:
                    entry.done = True
                    self.ledger.save_entry(self.plan, segment, destination.id, entry)
                continue
            try:
                if delivery.error is not None:
                    raise delivery.error
                with self.interruptions.deferred():
                    entries[destination.id] = self._remember(segment, entry, batch, delivery)
                counts.append(entries[destination.id].counts.since(entry.counts))
            except JobError as error:
                self.stopped[destination.id] = error
                del entries[destination.id]
        self.clock.start()
        # The lines are the same for all; the statements add up.
        lines = counts[0] if counts else Counts()
        made = sum(of_destination.made for of_destination in counts)
        self.emit(BatchDone(replace(lines, made=made, reasons=dict(lines.reasons))))
        if entries and not segment.compression:
            self.emit(BytesRead(batch.end - batch.start))

    def give_up(self, segment: Segment, entries: Mapping[str, Entry], problem: str) -> None:
        """Account for a segment of which nothing more is read: its content is gone, or is not a tracking log."""
        for destination, entry in entries.items():
            entry.problem, entry.done = problem, True
            self.ledger.save_entry(self.plan, segment, destination, entry)

    def _remember(self, segment: Segment, entry: Entry, batch: Batch, delivery: Delivery) -> Entry:
        """Save the new entry of a destination, and return it."""
        destination, outcome = delivery.destination, delivery.outcome
        letters = [*batch.letters, *_rejected(segment, destination, outcome)]
        counts = total([entry.counts, batch.counts])
        counts.not_routed += delivery.not_routed
        counts.made += len(delivery.outgoing)
        counts.stored += outcome.stored
        counts.duplicates += outcome.duplicates
        counts.rejected += len(outcome.rejected)
        for rejection in outcome.rejected:
            counts.add_dead_letters(rejection.reason)
        activity = total_activity([entry.activity, batch.activity])
        events = batch.counts.transformed + batch.counts.untransformable
        times = self.clock.times()
        activity.worked(time.time(), sum(times), batch.counts.lines, events)
        activity.spent(worker_name(), times)
        new = Entry(
            position=batch.end,
            line=batch.next_line,
            batches=entry.batches + (1 if delivery.outgoing else 0),
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
            self.ledger.save_dead_letters(self.plan, segment, destination.id, new.dead_batches, letters)
        self.ledger.save_entry(self.plan, segment, destination.id, new)
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
