"""Batches on their way, in order: delivered by threads, several at the same time where a destination takes them."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from ..model.delivery import Destination, Outcome, OutgoingStatement, Traffic
from ..util.errors import JobError
from ..util.threads import start_thread
from .batches import LETTER_BYTES, Batch

# How often as many batches as requests may be in flight are kept: those behind a slow one are delivered meanwhile, and
# the next ones are made, for when an endpoint turns out to take more at once.
BATCHES_PER_REQUEST = 2
# How often is looked whether the first batch, of which there may be many requests, has got an answer.
FIRST_LOOK_SECS = 0.02


@dataclass
class Delivery:
    """A batch for one destination."""

    destination: Destination
    batch_name: str
    outgoing: Sequence[OutgoingStatement]
    not_routed: int
    outcome: Outcome = field(default_factory=Outcome)
    error: BaseException | None = None
    """Why it could not be delivered, if so."""
    ended: bool = False

    def run(self) -> None:
        """Deliver it, in this thread. Raises nothing that is an error of the destination."""
        try:
            if self.outgoing:
                self.outcome = self.destination.deliver(self.batch_name, self.outgoing)
        except JobError as error:
            self.error = error
        self.ended = True


@dataclass
class Parcel:
    """A batch, and its deliveries by the destination's id: to those that have not got it."""

    batch: Batch
    deliveries: Mapping[str, Delivery]
    ids: frozenset[str] = frozenset()
    """Of its statements, in one form."""
    weight: int = 0
    """Bytes that it holds in memory."""

    def __post_init__(self) -> None:
        outgoing = [each for delivery in self.deliveries.values() for each in delivery.outgoing]
        # A UUID may be written in several ways.
        self.ids = frozenset(each.id.lower().replace("-", "").strip("{}") for each in outgoing)
        held = {id(each.body): len(each.body) for each in outgoing}
        lines = sum(len(made.line.raw) + LETTER_BYTES for made in self.batch.made)
        letters = sum(len(letter.raw) + LETTER_BYTES for letter in self.batch.letters)
        self.weight = sum(held.values()) + lines + letters

    @property
    def ended(self) -> bool:
        return all(delivery.ended for delivery in self.deliveries.values())


class IdsInFlight:
    """The ids of the statements that are being delivered. Pure.

    A destination is asked for a statement before it is sent, by the job or by itself. Two requests at the same time
    would both learn that it is new.
    """

    def __init__(self) -> None:
        self._ids: set[str] = set()

    def has_any(self, ids: Collection[str]) -> bool:
        """Is one of them being delivered?"""
        return not self._ids.isdisjoint(ids)

    def add(self, ids: Collection[str]) -> None:
        """None of them is being delivered."""
        self._ids.update(ids)

    def remove(self, ids: Collection[str]) -> None:
        """Their delivery has ended."""
        self._ids.difference_update(ids)


class InFlight:
    """The parcels of one worker that are being delivered, and those that wait for one before them, in order.

    All methods belong to one thread: that of the worker.
    """

    def __init__(self, most: int, max_bytes: int, may_wait: bool = True) -> None:
        """``most``: how many requests one destination may get at the same time. ``max_bytes``: of all parcels.

        ``may_wait``: are batches made that can't be started yet?
        """
        self._most = most
        self._may_wait = may_wait
        self._max_bytes = max_bytes
        self._parcels: deque[Parcel] = deque()
        self._ids = IdsInFlight()
        self._tasks: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
        self._threads = 0
        self._changed = threading.Condition()
        self._ended = 0
        """How many deliveries have ended in threads, and how many of them :meth:`wait` has seen."""
        self._seen = 0
        self._met: set[str] = set()
        """The destinations that have answered this worker."""

    def __bool__(self) -> bool:
        return bool(self._parcels)

    def may_wait(self, parcels: Sequence[Parcel]) -> bool:
        """Are these few enough, beside those in flight, that another one may be made before they are started?"""
        if not self._may_wait or len(self._parcels) + len(parcels) >= BATCHES_PER_REQUEST * self._most:
            return not parcels
        return not parcels or sum(each.weight for each in [*self._parcels, *parcels]) < self._max_bytes

    def has_room(self, parcel: Parcel) -> bool:
        """May this one be started now?"""
        if not self._parcels:
            return True
        if len(self._parcels) >= BATCHES_PER_REQUEST * self._most or self._ids.has_any(parcel.ids):
            return False
        if sum(each.weight for each in self._parcels) + parcel.weight > self._max_bytes:
            return False
        return all(self._has_room(delivery) for delivery in parcel.deliveries.values())

    def _has_room(self, delivery: Delivery) -> bool:
        if delivery.ended:
            return True
        traffic = self._traffic(delivery)
        if traffic is None or delivery.destination.id not in self._met:
            return not delivery.outgoing
        return len(self._running(delivery.destination.id)) < traffic.limit

    def _traffic(self, delivery: Delivery) -> Traffic | None:
        """``None``: its destination takes one after the other."""
        return None if self._most == 1 else delivery.destination.traffic

    def _running(self, destination: str) -> list[Delivery]:
        """The deliveries to a destination that have not ended."""
        of_parcels = (parcel.deliveries.get(destination) for parcel in self._parcels)
        return [delivery for delivery in of_parcels if delivery is not None and not delivery.ended]

    def start(self, parcel: Parcel) -> None:
        """Begin to deliver a parcel.

        Where a destination takes one after the other, it has ended when this returns. Where the destination has not
        answered before, it has when this returns, or the delivery has failed.
        """
        first: list[tuple[Delivery, Traffic]] = []
        self._parcels.append(parcel)
        self._ids.add(parcel.ids)
        for delivery in parcel.deliveries.values():
            if delivery.ended:
                continue
            if not delivery.outgoing or (traffic := self._traffic(delivery)) is None:
                delivery.run()
                continue
            if delivery.destination.id not in self._met:
                first.append((delivery, traffic))
            self._tasks.put(delivery)
        waiting = sum(not delivery.ended for each in self._parcels for delivery in each.deliveries.values())
        while self._threads < waiting and start_thread(self._work) is not None:
            self._threads += 1
        while not self._threads and not self._tasks.empty():
            # The system starts no thread: one request at a time, as a worker without threads would send them.
            self._tasks.get().run()
        for delivery, traffic in first:
            self._meet(delivery, traffic)

    def _meet(self, delivery: Delivery, traffic: Traffic) -> None:
        """Wait for the first answer: it shows whether anybody is there at all, and takes the job's credentials."""
        with self._changed:
            while not (delivery.ended or traffic.has_answered):
                self._changed.wait(FIRST_LOOK_SECS)
        if delivery.error is None:
            self._met.add(delivery.destination.id)

    def _work(self) -> None:
        """The life of a thread."""
        while True:
            delivery = self._tasks.get()
            try:
                delivery.run()
            except BaseException as error:  # handed to the worker, who raises it
                delivery.error, delivery.ended = error, True
            with self._changed:
                self._ended += 1
                self._changed.notify_all()

    def take(self) -> Parcel | None:
        """The first parcel, once it is delivered or has failed; it is in flight no more. ``None``: not yet."""
        if not self._parcels or not self._parcels[0].ended:
            return None
        parcel = self._parcels.popleft()
        self._ids.remove(parcel.ids)
        return parcel

    def wait(self, secs: float | None = None) -> None:
        """Until another delivery has ended, or ``secs`` are over."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended > self._seen, secs)
            self._seen = self._ended

    def abandon(self) -> None:
        """Forget what is in flight: nothing of it will be recorded. Waits for its requests to end."""
        while self._parcels:
            if self.take() is None:
                self.wait()

    def close(self, leave_secs: float) -> None:
        """Send nothing more of what is in flight, and forget it; wait for its requests to end, but not longer."""
        for parcel in self._parcels:
            for delivery in parcel.deliveries.values():
                if delivery.destination.traffic is not None and not delivery.ended:
                    delivery.destination.traffic.close()
        deadline = time.monotonic() + leave_secs
        while self._parcels and time.monotonic() < deadline:
            if self.take() is None:
                self.wait(max(0.0, deadline - time.monotonic()))
        self._parcels.clear()
