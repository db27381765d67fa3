"""Delivery over HTTP: xAPI statements to an LRS, Caliper envelopes to a Caliper endpoint."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from ..model import dead_letters
from ..model.delivery import Outcome, OutgoingStatement, Rejection, SourcedStatement
from ..model.erb_faults import explained
from .caliper_arrays import CaliperArrays, EndpointMemory, ProcessMemory, as_array
from .lrs_answers import REJECTING, BatchRejected, new_ids
from .lrs_client import LrsClient, Target
from .lrs_conflicts import Asked, Conflicts
from .sent_record import SentRecord
from .wire_form import wire_form


class Lrs:
    """One endpoint that statements are sent to."""

    def __init__(
        self,
        target: Target,
        timeout_secs: float,
        max_wait_secs: float,
        batch_max_bytes: int,
        memory_of: Callable[[str], EndpointMemory] = lambda _id: ProcessMemory(),
    ) -> None:
        """``memory_of``: what is known of the endpoint with this id."""
        self.target = target
        self.client = LrsClient(target, timeout_secs, max_wait_secs)
        self.id = target.id
        self.name = target.name
        self.names = target.names
        self._max_bytes = batch_max_bytes
        self._conflicts = Conflicts(self.client) if target.is_xapi else None
        self._arrays: CaliperArrays | None = None
        self._sent: SentRecord | None = None
        if not target.is_xapi:
            memory = memory_of(self.id)
            self._arrays, self._sent = CaliperArrays(self.client, memory), SentRecord(memory)

    def route(self, made: SourcedStatement) -> bytes | None:
        matches, overrides = self.target.routing(made.event.fields)
        if not matches:
            return None
        statement = made.statement
        body = _dumps(dict(statement.fields) | dict(overrides)) if overrides else statement.body
        if not self.target.is_xapi:
            return body
        known = None if overrides else statement.wire_body
        return known or wire_form(body)

    def deliver(self, batch_name: str, outgoing: Sequence[OutgoingStatement]) -> Outcome:
        outcome = Outcome()
        distinct = _distinct(outgoing, outcome)
        if self._arrays is None or self._sent is None:
            self._deliver(distinct, outcome)
            return outcome
        with self._sent.of_batch(batch_name, [envelope.id for envelope in distinct]) as sent:
            unsent = [envelope for envelope in distinct if envelope.id not in sent]
            # Nothing has counted them: the delivery that has sent them was not finished.
            outcome.stored += len(distinct) - len(unsent)
            left = self._arrays.find_out(
                unsent, partial(self._deliver_one, outcome), partial(self._count_stored, outcome)
            )
            self._deliver(left, outcome)
        return outcome

    def probe(self) -> str:
        """Describe what the endpoint answers to a request that changes nothing: :meth:`.LrsClient.probe`."""
        return self.client.probe()

    def _deliver(self, outgoing: Sequence[OutgoingStatement], outcome: Outcome, asked: Asked = Asked.NOT) -> None:
        """Send ``outgoing``; in halves if the endpoint rejects one of them or does not take a body of their size.

        ``asked``: how the LRS was asked before which of them it has.
        """
        if self._arrays is not None and not self._arrays.taken:
            for statement in outgoing:
                self._deliver_one(outcome, statement)
            return
        if not outgoing:
            return
        size = sum(len(statement.body) + 1 for statement in outgoing)
        if len(outgoing) == 1 or size <= self._max_bytes:
            try:
                self._post(outgoing, outcome)
                return
            except BatchRejected as error:
                rejected = error
            if rejected.status == 409 and self._conflicts is not None:
                compared = self._conflicts.compare(outgoing, asked)
                asked = compared.asked
                outcome.duplicates += compared.same
                detail = f"{rejected.detail}{compared.detail}"
                outcome.rejected += [
                    Rejection(statement, dead_letters.CONFLICT, detail) for statement in compared.different
                ]
                if len(compared.left) < len(outgoing):
                    self._deliver(compared.left, outcome, asked)
                    return
            elif len(outgoing) == 1 and self._arrays is not None:
                # Refused because it is an array? Then this endpoint has changed since it took some.
                if self._deliver_one(outcome, outgoing[0]):
                    self._arrays.refuses()
                return
            elif len(outgoing) == 1:
                self._reject(outcome, outgoing[0], rejected)
                return
            elif rejected.status == 413:
                # A body of this size would be refused again: later batches are cut before they are sent.
                self._max_bytes = max(size // 2, 1)
        # Of a single one, the second half is that one: it is sent again.
        middle = len(outgoing) // 2
        self._deliver(outgoing[:middle], outcome, asked)
        self._deliver(outgoing[middle:], outcome, asked)

    def _deliver_one(self, outcome: Outcome, envelope: OutgoingStatement) -> bool:
        """Send a Caliper envelope as ERB sends it. Returns whether it was accepted."""
        try:
            self.client.post(envelope.body)
        except BatchRejected as rejected:
            self._reject(outcome, envelope, rejected)
            return False
        self._count_stored(outcome, [envelope])
        return True

    def _count_stored(self, outcome: Outcome, accepted: Sequence[OutgoingStatement]) -> None:
        outcome.stored += len(accepted)
        if self._sent is not None:
            self._sent.add(accepted)

    def _reject(self, outcome: Outcome, statement: OutgoingStatement, rejected: BatchRejected) -> None:
        rejection = Rejection(statement, REJECTING[rejected.status], rejected.detail)
        outcome.rejected.append(explained(self.target.transformer_type, rejection))

    def _post(self, outgoing: Sequence[OutgoingStatement], outcome: Outcome) -> None:
        response = self.client.post(as_array(outgoing))
        if not self.target.is_xapi:
            self._count_stored(outcome, outgoing)
            return
        stored = len(new_ids(self.name, response, {statement.id.lower() for statement in outgoing}))
        outcome.stored += stored
        outcome.duplicates += len(outgoing) - stored


def _distinct(outgoing: Sequence[OutgoingStatement], outcome: Outcome) -> list[OutgoingStatement]:
    """Equal statements are sent once; another statement with the id of one before it is a conflict."""
    first: dict[str, OutgoingStatement] = {}
    for statement in outgoing:
        known = first.setdefault(statement.id, statement)
        if known is statement:
            continue
        if _same(known, statement):
            outcome.duplicates += 1
        else:
            detail = f"line {known.made.line.number} of the same log gives another statement with this id"
            outcome.rejected.append(Rejection(statement, dead_letters.CONFLICT, detail))
    return list(first.values())


def _dumps(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields).encode("ascii")


def _same(left: OutgoingStatement, right: OutgoingStatement) -> bool:
    """Equal for the destination. A Caliper envelope's ``sendTime`` says only when it was made."""
    if left.body == right.body:
        return True
    left_fields, right_fields = left.made.statement.fields, right.made.statement.fields
    return {**left_fields, "sendTime": None} == {**right_fields, "sendTime": None}
