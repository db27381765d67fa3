"""Does a Caliper endpoint take arrays of envelopes? Tried with one event, after one that was posted as ERB posts it.

ERB posts each envelope as a JSON object of its own (``HttpClient.send``), with one event in it. That is the form that
an endpoint is known to take. Its ``HttpClient.bulk_send`` would post an array of envelopes, in one request for a whole
batch, and an endpoint may refuse that: IMS Caliper (1.1, section 6) knows single envelopes only. What it does have is
an envelope with several events. The job makes none: it is a body that ERB never makes, and of which a receiver that
reads ``data[0]``, which is enough for ERB's, would lose all but one event and still answer 200. An array that is
refused is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from ..model.delivery import OutgoingStatement
from ..util.errors import PermanentError, Unavailable
from .lrs_answers import BatchRejected, NotThisForm
from .lrs_client import LrsClient

# What an endpoint that takes arrays only may answer to an envelope by itself, beside 415.
NO_OBJECT = frozenset({400, 422})


class EndpointMemory(Protocol):
    """What is known of one endpoint, for this run and later ones. Methods raise :class:`~.errors.JobError`."""

    def turn(self) -> AbstractContextManager[None]:
        """A context that one process at a time is in: others wait, and read what it has found out."""

    def was_reached(self) -> bool:
        """Has a run delivered something to the endpoint?"""

    def takes_arrays(self) -> bool | None:
        """``None``: not known."""

    def remember(self, takes_arrays: bool) -> None: ...

    def forget(self) -> None:
        """Whether it takes arrays is not known any more."""

    def sent(self, batch: str) -> Collection[str]:
        """The ids of the events that it has accepted of a segment, of which ``batch`` is one, in unfinished deliveries.

        Some may be of batches that were finished since.
        """

    def remember_sent(self, batch: str, ids: Sequence[str]) -> None: ...


@dataclass
class ProcessMemory:
    """An :class:`EndpointMemory` that lasts as long as this process."""

    known: bool | None = None

    def turn(self) -> AbstractContextManager[None]:
        return nullcontext()

    def was_reached(self) -> bool:
        return False

    def takes_arrays(self) -> bool | None:
        return self.known

    def remember(self, takes_arrays: bool) -> None:
        self.known = takes_arrays

    def forget(self) -> None:
        self.known = None

    def sent(self, batch: str) -> Collection[str]:
        return ()

    def remember_sent(self, batch: str, ids: Sequence[str]) -> None:
        """A batch is not delivered again by the same process."""


class CaliperArrays:
    """Knows, or finds out, whether one endpoint takes arrays.

    An array of one envelope can't be stored by half. The endpoint refuses arrays if it rejects that one and then takes
    the envelope by itself. If it rejects both, the event itself is rejected, and the next one decides. A failure that
    may pass (no answer, 503) is not tried again as an array, because an endpoint that fails on arrays may answer so for
    ever; it decides for this process, and is not remembered.

    An endpoint may also take arrays only. As long as it has taken no envelope by itself in this process, one that it
    refuses in that form is posted as an array of one.
    """

    def __init__(self, client: LrsClient, memory: EndpointMemory) -> None:
        self._client = client
        self._memory = memory
        self._has_taken_one = False
        """An envelope by itself, in this process."""
        self.taken: bool | None = None
        """``None`` until it is known."""

    def find_out(
        self,
        outgoing: Sequence[OutgoingStatement],
        deliver_one: Callable[[OutgoingStatement], bool],
        count: Callable[[Sequence[OutgoingStatement]], None],
    ) -> Sequence[OutgoingStatement]:
        """Deliver envelopes until it is known; gives those that are left.

        ``deliver_one`` delivers an envelope by :meth:`post_in_any_form`, accounts for it, and returns whether it was
        accepted. ``count`` accounts for those that an array has stored.
        """
        if self.taken is not None:
            return outgoing
        with self._memory.turn():
            self.taken = self._memory.takes_arrays()
            for number, envelope in enumerate(outgoing):
                if self.taken is not None:
                    return outgoing[number:]
                if not self._has_taken_one:
                    deliver_one(envelope)
                elif self._try(envelope, deliver_one):
                    count([envelope])
                    self._decide(True)
        return ()

    def post_one(self, envelope: OutgoingStatement, patient: bool = True) -> None:
        """Post an envelope as ERB does; raises what :meth:`.LrsClient.post` raises."""
        self._client.post(envelope.body, patient)
        self._has_taken_one = True

    def post_in_any_form(self, envelope: OutgoingStatement) -> None:
        """Like :meth:`post_one`, and as an array if that may be the form that the endpoint takes."""
        refusal: BatchRejected | NotThisForm
        try:
            self.post_one(envelope)
            return
        except (BatchRejected, NotThisForm) as error:
            refusal = error
        if self._has_taken_one or (isinstance(refusal, BatchRejected) and refusal.status not in NO_OBJECT):
            raise refusal
        try:
            self._client.post(as_array([envelope]), patient=False)
        except BatchRejected as of_array:
            raise refused_in_both(refusal, of_array) from None
        except (PermanentError, Unavailable):
            raise refusal from None
        self._decide(True)

    def refuses(self, refusal: Exception) -> None:
        """An endpoint that took arrays has taken by itself what it refused in one, for the reason ``refusal``."""
        if isinstance(refusal, Unavailable):
            # That may pass: the next run tries an array again.
            self.taken = False
            self._memory.forget()
        else:
            self._decide(False)

    def _try(self, envelope: OutgoingStatement, deliver_one: Callable[[OutgoingStatement], bool]) -> bool:
        """Post an array of one envelope; without success, post the envelope."""
        try:
            self._client.post(as_array([envelope]), patient=False)
            return True
        except (BatchRejected, PermanentError):
            is_clear = True
        except Unavailable:
            is_clear = False
        if deliver_one(envelope):
            if is_clear:
                self._decide(False)
            self.taken = False
        return False

    def _decide(self, taken: bool) -> None:
        self.taken = taken
        self._memory.remember(taken)


def as_array(outgoing: Sequence[OutgoingStatement]) -> bytes:
    """The body of a request for several statements, each as it is."""
    return b"[" + b",".join(statement.body for statement in outgoing) + b"]"


def refused_in_both(by_itself: BatchRejected | NotThisForm, in_array: BatchRejected) -> BatchRejected:
    """The error for an envelope that is rejected in both forms; one of the two texts says what is wrong with it."""
    if isinstance(by_itself, NotThisForm) or by_itself.detail == in_array.detail:
        return in_array
    return BatchRejected(by_itself.status, f"{by_itself.detail} (in an array: {in_array.detail})")
