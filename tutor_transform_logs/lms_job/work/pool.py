"""Several workers for the segments of a plan: each is given one after the other, until there are none left."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..model.plan import Segment
from ..model.progress_events import Message, ProgressEvent, WorkerEnded
from ..model.work_outcome import WorkOutcome
from ..util.errors import JobError, Unavailable
from .processes import Channel, Ended, WorkAborted, Workers

# How often a segment is given to another worker after the one that had it died.
TRIES = 2


@dataclass(frozen=True)
class SegmentWanted:
    """A worker asks for its next segment."""


@dataclass(frozen=True)
class DestinationsStopped:
    """Destinations to which a worker sends nothing more, and why: id -> error."""

    errors: Mapping[str, JobError]


@dataclass(frozen=True)
class Assignment:
    """The parent's answer to :class:`SegmentWanted`."""

    segment: Segment
    stopped: Mapping[str, JobError]
    """The destinations that have failed for any worker."""


def next_assignment(channel: Channel) -> Assignment | None:
    """A worker asks for a segment. ``None``: there is no more."""
    channel.send(SegmentWanted())
    assignment: Assignment | None = channel.receive()
    return assignment


@dataclass
class Pool:
    """The parent's side: hands out segments, passes on what the workers report, replaces workers that die."""

    count: int
    body: Callable[[Channel], None]
    """What a worker does: ask for assignments until there are none."""
    emit: Callable[[ProgressEvent, int], None]
    """Takes the progress of a worker, with its number: from 0; one that takes another's place has its number."""
    stopped: dict[str, JobError] = field(default_factory=dict)
    """Destination id -> why nothing more goes there in this run."""
    aborted: JobError | None = None
    _queue: list[Segment] = field(default_factory=list)
    _workers: Workers = field(default_factory=Workers)
    _assigned: dict[int, Segment] = field(default_factory=dict)
    """What each worker does."""
    _tries: dict[int, int] = field(default_factory=dict)

    def run(self, segments: Sequence[Segment], destinations: int) -> WorkOutcome:
        """Have all ``segments`` done. Raises :class:`~.signals.Interrupted` once the workers have ended.

        Largest first, so that little is left at the end, when some workers have no more work.
        """
        self._queue = sorted(segments, key=lambda segment: (segment.stored_bytes, -segment.id))
        with self._workers:
            for _ in range(min(self.count, len(segments))):
                self._workers.start(self.body)
            while self._workers:
                for number, message in self._workers.receive():
                    self._handle(number, message)
                if self.aborted or (self.stopped and len(self.stopped) == destinations):
                    self._queue.clear()
        return WorkOutcome(self.stopped, self.aborted)

    def _handle(self, number: int, message: Any) -> None:
        if isinstance(message, SegmentWanted):
            self._assign(number)
        elif isinstance(message, DestinationsStopped):
            self.stopped.update(message.errors)
        elif isinstance(message, WorkAborted):
            self.aborted = message.error
        elif isinstance(message, Ended):
            self.emit(WorkerEnded(), number)
            segment = self._assigned.pop(number, None)
            if message.code:
                self._replace(number, message, segment)
        else:
            self.emit(message, number)

    def _assign(self, number: int) -> None:
        self._assigned.pop(number, None)
        if not self._queue:
            self._workers.send(number, None)
            return
        self._assigned[number] = self._queue.pop()
        self._workers.send(number, Assignment(self._assigned[number], dict(self.stopped)))

    def _replace(self, number: int, ended: Ended, segment: Segment | None) -> None:
        """A worker was killed: another one resumes where its ledger ends."""
        where = f" in {segment.object}" if segment else ""
        if segment is None or self.aborted:
            self.aborted = self.aborted or Unavailable(f"A worker {ended}. Run again to resume.")
            return
        self._tries[segment.id] = self._tries.get(segment.id, 1) + 1
        if self._tries[segment.id] > TRIES:
            self.aborted = Unavailable(f"A worker {ended}{where}, for the second time. Run again to resume.")
            return
        self.emit(Message(f"A worker {ended}{where}: another one takes over."), number)
        self._queue.append(segment)
        self._workers.start(self.body)
