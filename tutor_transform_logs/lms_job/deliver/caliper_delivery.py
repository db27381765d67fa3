"""Delivery of Caliper envelopes: in arrays where the endpoint takes them, else one by one as ERB posts them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ..model.delivery import Outcome, OutgoingStatement
from ..util.doing import Teller
from ..util.errors import PermanentError, Unavailable
from .caliper_arrays import CaliperArrays, EndpointMemory, as_array, refused_in_both
from .lrs_answers import BatchRejected, NotThisForm, is_about_content, rejection
from .lrs_client import LrsClient
from .refusals import Doubt, Refusals
from .sent_record import SentRecord

Refusal = BatchRejected | PermanentError | Unavailable


class CaliperDelivery:
    """Sends the envelopes of batches to one endpoint, and accounts for them.

    An endpoint that took arrays may have been replaced since, or take only small ones. So when it refuses one, in
    whatever way, the envelopes of the array go by themselves until one is accepted. If the endpoint refuses them, too,
    the array was not to blame.
    """

    def __init__(self, client: LrsClient, memory: EndpointMemory, max_bytes: int) -> None:
        self._client = client
        self._arrays = CaliperArrays(client, memory)
        self._sent = SentRecord(memory)
        self._refusals = Refusals()
        self._max_bytes = max_bytes
        self._teller = Teller()

    def deliver(self, batch_name: str, envelopes: Sequence[OutgoingStatement], outcome: Outcome) -> None:
        """Deliver a batch; raises :class:`~.errors.JobError` once it is of no use to go on."""
        with self._sent.of_batch(batch_name, [envelope.id for envelope in envelopes]) as sent:
            unsent = [envelope for envelope in envelopes if envelope.id not in sent]
            # Nothing has counted them: the delivery that has sent them was not finished.
            outcome.stored += len(envelopes) - len(unsent)
            left = self._arrays.find_out(
                unsent, partial(self._deliver_one, outcome), partial(self._count_stored, outcome)
            )
            self._deliver(left, outcome)

    def _deliver(self, envelopes: Sequence[OutgoingStatement], outcome: Outcome, doubt: Doubt = Doubt.NONE) -> None:
        """In arrays if they are taken: those that the endpoint is known to refuse apart from the others."""
        for part in self._refusals.parts(envelopes) if self._arrays.taken else [envelopes]:
            self._deliver_part(part, outcome, doubt)

    def _deliver_part(self, envelopes: Sequence[OutgoingStatement], outcome: Outcome, doubt: Doubt) -> None:
        self._teller.begin()
        for number, envelope in enumerate(envelopes):
            if self._arrays.taken and not (len(envelopes) == 1 and self._refusals.expects_refusal(envelope)):
                self._deliver_array(envelopes[number:], outcome, doubt)
                return
            self._teller.tell(f"sending to {self._client.name}: {number:,} of {len(envelopes):,} events, one by one")
            self._deliver_one(outcome, envelope)

    def _deliver_one(self, outcome: Outcome, envelope: OutgoingStatement) -> bool:
        """Returns whether it was accepted."""
        try:
            self._arrays.post_in_any_form(envelope)
        except BatchRejected as rejected:
            outcome.rejected.append(rejection("caliper", envelope, rejected))
            return False
        self._count_stored(outcome, [envelope])
        return True

    def _deliver_array(self, envelopes: Sequence[OutgoingStatement], outcome: Outcome, doubt: Doubt) -> None:
        """In halves if the endpoint rejects one of them or does not take a body of their size."""
        size = sum(len(envelope.body) + 1 for envelope in envelopes)
        if len(envelopes) == 1 or size <= self._max_bytes:
            try:
                self._client.post(as_array(envelopes))
                self._count_stored(outcome, envelopes)
                return
            except BatchRejected as rejected:
                if is_about_content(rejected):
                    self._refusals.refused(envelopes, doubt)
                if len(envelopes) == 1:
                    self._deliver_refused(envelopes, outcome, rejected)
                    return
                if rejected.status == 413:
                    # A body of this size would be refused again: later batches are cut before they are sent.
                    self._max_bytes = max(size // 2, 1)
            except (PermanentError, Unavailable) as error:
                if isinstance(error, Unavailable) and error.is_busy:
                    # More requests would not help it.
                    raise
                self._deliver_refused(envelopes, outcome, error)
                return
        # An endpoint that no longer takes arrays gets them in the order of the log.
        middle = len(envelopes) // 2
        self._deliver(envelopes[:middle], outcome, Doubt.SOME)
        self._deliver(envelopes[middle:], outcome, Doubt.SOME)

    def _deliver_refused(self, envelopes: Sequence[OutgoingStatement], outcome: Outcome, refusal: Refusal) -> None:
        """Deliver the envelopes of an array that was refused, which may be because it is an array.

        One that is rejected by itself, too, decides nothing. Raises ``refusal`` if it is not about the envelopes, and
        the endpoint takes none of them by itself.
        """
        rejections = []
        for number, envelope in enumerate(envelopes):
            try:
                # After a refusal that may pass there has been waiting enough.
                self._arrays.post_one(envelope, patient=not isinstance(refusal, Unavailable))
            except (BatchRejected, NotThisForm) as error:
                if isinstance(refusal, BatchRejected):
                    error = refused_in_both(error, refusal)
                if isinstance(error, NotThisForm):
                    raise refusal from None
                rejections.append(rejection("caliper", envelope, error))
                continue
            outcome.rejected += rejections
            self._count_stored(outcome, [envelope])
            self._deliver_rest(envelopes[number + 1 :], outcome, refusal)
            return
        if not isinstance(refusal, BatchRejected):
            raise refusal
        outcome.rejected += rejections

    def _deliver_rest(self, envelopes: Sequence[OutgoingStatement], outcome: Outcome, refusal: Refusal) -> None:
        """Deliver what is left of an array that was refused, now that an envelope of it was accepted by itself.

        After a failure that may pass it may have passed just now: one more array shows that.
        """
        if isinstance(refusal, Unavailable) and envelopes:
            try:
                self._client.post(as_array(envelopes), patient=False)
                self._count_stored(outcome, envelopes)
                return
            except BatchRejected:
                # About an envelope, as far as is known: it is looked for in halves.
                self._deliver(envelopes, outcome)
                return
            except (PermanentError, Unavailable) as error:
                refusal = error
        self._arrays.refuses(refusal)
        self._deliver(envelopes, outcome)

    def _count_stored(self, outcome: Outcome, accepted: Sequence[OutgoingStatement]) -> None:
        outcome.stored += len(accepted)
        self._sent.add(accepted)
        self._refusals.accepted(accepted)
