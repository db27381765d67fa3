"""The delivery of one segment: its batches in order, some of them at the same time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping

from ..ledger import names
from ..ledger.entries import Entry
from ..model.delivery import Destination, OutgoingStatement, SourcedStatement
from ..model.plan import Segment
from ..model.records import Event
from ..util.errors import JobError
from .batches import NO_FIELDS, Batch
from .in_flight import Delivery, InFlight, Parcel
from .recorder import Recorder


class SegmentDelivery:
    """Brings the batches of a segment to the destinations in ``entries``; those that fail are taken out of it.

    The ledger follows in order: an entry ends before the first batch that is not delivered. What is delivered beyond it
    is delivered again by a later run, which the destination recognises.
    """

    def __init__(
        self,
        recorder: Recorder,
        in_flight: InFlight,
        segment: Segment,
        entries: dict[str, Entry],
        known_to: Mapping[str, int],
    ) -> None:
        """``known_to``: up to where an earlier plan has brought the log to each destination."""
        self._recorder = recorder
        self._in_flight = in_flight
        self._segment = segment
        self._entries = entries
        self._known_to = known_to
        self._waiting: deque[Parcel] = deque()
        """Those that are not in flight yet, in order. Until then, nothing is asked of the lock: it may take long."""
        self._begins = {destination: entry.position for destination, entry in entries.items()}
        self._numbers = {destination: entry.batches for destination, entry in entries.items()}

    @property
    def waits(self) -> bool:
        """Are there batches that are not in flight yet?"""
        return bool(self._waiting)

    def start(self, batch: Batch) -> None:
        """Begin to deliver the next batch, or keep it until it may be in flight, as long as not too many are kept.

        Raises what :meth:`record` does.
        """
        self._waiting.append(self._parcel(batch))
        self.record()
        while self._entries and not self._in_flight.may_wait(self._waiting):
            self._in_flight.wait()
            self.record()

    def record(self) -> None:
        """Record what is delivered up to the first batch that is not, and begin with what may be in flight now.

        Raises an error that is not a destination's.
        """
        self._take()
        while self._waiting and self._entries:
            parcel = self._waiting[0]
            for delivery in parcel.deliveries.values():
                # Its destination has failed since.
                delivery.ended = delivery.ended or delivery.destination.id not in self._entries
            if not self._in_flight.has_room(parcel):
                break
            self._begin(self._waiting.popleft())
            self._take()

    def _take(self) -> None:
        while (parcel := self._in_flight.take()) is not None:
            self._recorder.record(self._segment, self._entries, parcel)

    def rest(self, secs: float) -> None:
        """Let this time pass, and record meanwhile what is delivered. It ends when no destination is left."""
        ends = time.monotonic() + secs
        while self._in_flight and self._entries and (left := ends - time.monotonic()) > 0:
            self._in_flight.wait(left)
            self.record()
        if self._entries:
            time.sleep(max(0.0, ends - time.monotonic()))
        self._recorder.clock.pause(secs)

    def finish(self) -> None:
        """Wait for all that was started, and record it. After a failure of a destination, up to there."""
        self.record()
        while self._in_flight and self._entries:
            self._in_flight.wait()
            self.record()
        self._waiting.clear()
        self._in_flight.abandon()

    def _parcel(self, batch: Batch) -> Parcel:
        bare = [_without_fields(made) for made in batch.made]
        deliveries = {}
        for destination in self._recorder.destinations:
            if destination.id in self._entries and self._begins[destination.id] <= batch.start:
                deliveries[destination.id] = self._delivery(destination, zip(batch.made, bare, strict=True))
        batch.made = bare
        return Parcel(batch, deliveries)

    def _delivery(
        self, destination: Destination, statements: Iterable[tuple[SourcedStatement, SourcedStatement]]
    ) -> Delivery:
        """A batch for one destination: what goes there, under its name. ``statements``: with and without fields."""
        outgoing = []
        not_routed = 0
        known_to = self._known_to[destination.id]
        for made, bare in statements:
            if not made.concerns(destination) or 0 < made.line.whole_at <= known_to:
                continue
            body = destination.route(made)
            if body is None:
                not_routed += 1
            else:
                outgoing.append(OutgoingStatement(bare, body))
        number = self._numbers[destination.id] + 1
        if outgoing:
            self._numbers[destination.id] = number
        name = names.batch_name(self._recorder.plan, self._segment, number)
        return Delivery(destination, name, outgoing, not_routed)

    def _begin(self, parcel: Parcel) -> None:
        self._recorder.statement_logger.write(parcel.batch.made)
        for delivery in parcel.deliveries.values():
            try:
                if delivery.outgoing:
                    self._recorder.ledger.hold()
            except JobError as error:
                delivery.error, delivery.ended = error, True
        self._in_flight.start(parcel)


def _without_fields(made: SourcedStatement) -> SourcedStatement:
    """Only the routing asks for the event's fields, and they are most of what a batch takes in memory."""
    return made._replace(event=Event(made.event.name, NO_FIELDS)) if made.event.fields else made
