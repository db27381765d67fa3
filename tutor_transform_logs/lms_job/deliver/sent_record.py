"""Which events of a batch a Caliper endpoint has accepted, kept in case the batch is not delivered to its end.

An LRS recognises a statement that comes again. Of a Caliper endpoint that is not known, and a batch may take as many
requests as it has events: if it is stopped in between, what was accepted must not be sent again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from ..model.delivery import OutgoingStatement
from ..model.plan import segment_of_batch
from .caliper_arrays import EndpointMemory

# After a kill, the events of at most this many requests are sent again.
SAVE_EVERY = 100


class SentRecord:
    """Of one endpoint, and of one batch at a time.

    What was sent may belong to later batches of the segment, too: a resumed run may make smaller ones.
    """

    def __init__(self, memory: EndpointMemory) -> None:
        self._memory = memory
        self._batch = ""
        self._ids: list[str] = []
        """Those of this batch, and those that no entry covers yet."""
        self._unsaved = 0

    @contextmanager
    def of_batch(self, batch: str, ids: Collection[str]) -> Iterator[Collection[str]]:
        """For the delivery of a batch with these ids: those that unfinished deliveries of its segment have sent."""
        if segment_of_batch(batch) == segment_of_batch(self._batch):
            earlier = frozenset(self._ids)
        else:
            earlier = frozenset(self._memory.sent(batch))
        self._batch, self._ids, self._unsaved = batch, [*earlier], 0
        try:
            yield earlier
        except BaseException:
            # A signal, too.
            self._save()
            raise
        # The entry that is saved next covers the batch.
        self._ids = [*earlier.difference(ids)]

    def add(self, accepted: Sequence[OutgoingStatement]) -> None:
        """One more request was accepted, with these."""
        self._ids += (statement.id for statement in accepted)
        self._unsaved += 1
        if self._unsaved >= SAVE_EVERY:
            self._save()

    def _save(self) -> None:
        if self._unsaved:
            self._memory.remember_sent(self._batch, self._ids)
            self._unsaved = 0
