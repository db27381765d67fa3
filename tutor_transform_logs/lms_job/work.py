"""WORK: take segments from the plan and bring each one's statements to every destination."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from . import dead_letters
from .batches import Batch, Limits, batches
from .config import JobConfig
from .counts import Counts, total
from .dead_letters import DeadLetter
from .delivery import Destination, Outcome, Parcel
from .errors import JobError
from .ledger import Entry, Ledger
from .loggers import StatementLogger
from .plan_model import Plan, Segment
from .progress import Progress
from .signals import Interruptions
from .storage import Storage
from .transform import Transformer


@dataclass(frozen=True)
class Tools:
    """What a worker works with; its own, never shared with another worker."""

    source: Storage
    ledger: Ledger
    transformer: Transformer
    destinations: Sequence[Destination]
    statement_logger: StatementLogger
    progress: Progress
    interruptions: Interruptions


class Worker:
    """Does segments one after the other. A destination that fails is left out from then on; the others go on."""

    def __init__(self, config: JobConfig, plan: Plan, tools: Tools) -> None:
        self._config = config
        self._plan = plan
        self._tools = tools
        self._limits = Limits(config.batch_size, config.batch_max_bytes, config.max_line_bytes)
        self._events = 0
        self._started = time.monotonic()
        self.stopped: dict[str, JobError] = {}
        """Destination id -> why nothing more goes there in this run."""

    def work(self, segments: Sequence[Segment]) -> None:
        """Do ``segments``. Raises :class:`~.errors.JobError` when the source or the ledger fails."""
        for segment in segments:
            self._do(segment)
            if len(self.stopped) == len(self._tools.destinations):
                return

    def _do(self, segment: Segment) -> None:
        ledger = self._tools.ledger
        entries = {}
        for destination in self._tools.destinations:
            entry = ledger.load_entry(self._plan, segment, destination.id)
            if not entry.done and destination.id not in self.stopped:
                entries[destination.id] = entry
        progress = self._tools.progress
        if not entries:
            progress.skip(segment.stored_bytes)
            return
        progress.begin(segment.object)
        first = min(entries.values(), key=lambda entry: entry.position)
        if not segment.compression:
            progress.skip(first.position - segment.start)
        made = batches(
            progress.watch(self._tools.source),
            self._tools.transformer,
            segment,
            (first.position, first.line),
            [entry.position for entry in entries.values()],
            self._limits,
        )
        for batch in made:
            self._tools.statement_logger.write(batch.made)
            delivered = self._deliver_to_all(segment, entries, batch)
            progress.add_counts(delivered)
            if not entries:
                return
            if not batch.last:
                self._pause(batch)

    def _deliver_to_all(self, segment: Segment, entries: dict[str, Entry], batch: Batch) -> Counts:
        """Deliver a batch to every destination that has not got it; take out of ``entries`` those that fail."""
        counts = []
        for destination in self._tools.destinations:
            entry = entries.get(destination.id)
            if entry is None or entry.position > batch.start:
                continue
            try:
                entries[destination.id] = self._deliver(segment, destination, entry, batch)
                counts.append(entries[destination.id].counts.since(entry.counts))
            except JobError as error:
                self.stopped[destination.id] = error
                del entries[destination.id]
        # The lines are the same for all; the statements add up.
        lines = counts[0] if counts else Counts()
        return replace(lines, made=sum(one.made for one in counts), reasons=dict(lines.reasons))

    def _deliver(self, segment: Segment, destination: Destination, entry: Entry, batch: Batch) -> Entry:
        """Deliver a batch to one destination and remember it. Returns the new entry."""
        parcels = []
        counts = total([entry.counts, batch.counts])
        for made in batch.made:
            body = destination.route(made)
            if body is None:
                counts.not_routed += 1
            else:
                parcels.append(Parcel(made, body))
        number = entry.batches + 1 if parcels else entry.batches
        outcome = Outcome()
        if parcels:
            outcome = destination.deliver(batch_name(self._plan, segment, number), parcels)
        with self._tools.interruptions.deferred():
            return self._remember(segment, destination, entry, batch, counts, len(parcels), number, outcome)

    def _remember(
        self,
        segment: Segment,
        destination: Destination,
        entry: Entry,
        batch: Batch,
        counts: Counts,
        made: int,
        number: int,
        outcome: Outcome,
    ) -> Entry:
        ledger = self._tools.ledger
        letters = [*batch.letters, *_rejected(segment, destination, outcome)]
        counts.made += made
        counts.stored += outcome.stored
        counts.already_there += outcome.already_there
        counts.rejected += len(outcome.rejected)
        for rejection in outcome.rejected:
            counts.refuse(rejection.reason)
        new = Entry(
            position=batch.end,
            line=batch.next_line,
            batches=number,
            dead_batches=entry.dead_batches + (1 if letters else 0),
            counts=counts,
            done=batch.last,
            resume_at=batch.resume_at,
            ends_open=batch.ends_open,
            problem=batch.problem,
        )
        if letters:
            ledger.save_dead_letters(self._plan, segment, destination.id, new.dead_batches, letters)
        ledger.save_entry(self._plan, segment, destination.id, new)
        return new

    def _pause(self, batch: Batch) -> None:
        """Hold to the pace that the settings ask for."""
        self._events += batch.counts.transformed + batch.counts.untransformable
        pause = self._config.sleep_between_batches_secs if batch.made else 0.0
        if self._config.max_events_per_second:
            due = self._started + self._events / self._config.max_events_per_second
            pause = max(pause, due - time.monotonic())
        if pause > 0:
            time.sleep(pause)


def batch_name(plan: Plan, segment: Segment, number: int) -> str:
    """Follows from the segment and the batch alone: doing a batch again writes the same object again."""
    return f"{plan.name}-{segment.id:06d}-{number:06d}"


def _rejected(segment: Segment, destination: Destination, outcome: Outcome) -> list[DeadLetter]:
    return [
        DeadLetter(
            segment.object,
            rejection.parcel.made.line.offset,
            rejection.parcel.made.line.number,
            dead_letters.DELIVER,
            rejection.reason,
            rejection.words,
            rejection.parcel.made.event.name,
            rejection.parcel.made.line.raw,
            rejection.parcel.id,
            destination.name,
        )
        for rejection in outcome.rejected
    ]
