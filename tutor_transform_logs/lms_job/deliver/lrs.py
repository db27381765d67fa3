"""Delivery over HTTP: xAPI statements to an LRS, Caliper envelopes to a Caliper endpoint."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..model import dead_letters
from ..model.delivery import Outcome, OutgoingStatement, Rejection, SourcedStatement
from .caliper_arrays import EndpointMemory, ProcessMemory, as_array
from .caliper_delivery import CaliperDelivery
from .lrs_answers import BatchRejected, new_ids, rejection
from .lrs_client import LrsClient, Target
from .lrs_conflicts import Asked, Conflicts
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
        self.id = target.id
        memory = memory_of(self.id)
        self.client = LrsClient(target, timeout_secs, max_wait_secs, memory.was_reached)
        self.name = target.name
        self.names = target.names
        self._max_bytes = batch_max_bytes
        self._conflicts = Conflicts(self.client)
        self._comparing = threading.Lock()
        self._caliper: CaliperDelivery | None = None
        if not target.is_xapi:
            self._caliper = CaliperDelivery(self.client, memory, batch_max_bytes)
        # Of a Caliper endpoint it is not known that it recognises an event that comes again.
        self.traffic = self.client.traffic if target.is_xapi else None

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
        if self._caliper is None:
            self._deliver(distinct, outcome)
        else:
            self._caliper.deliver(batch_name, distinct, outcome)
        return outcome

    def probe(self) -> str:
        """Describe what the endpoint answers to a request that changes nothing: :meth:`.LrsClient.probe`."""
        return self.client.probe()

    def _deliver(self, outgoing: Sequence[OutgoingStatement], outcome: Outcome, asked: Asked = Asked.NOT) -> None:
        """Send ``outgoing``; in halves if the endpoint rejects one of them or does not take a body of their size.

        ``asked``: how the LRS was asked before which of them it has.
        """
        if not outgoing:
            return
        size = sum(len(statement.body) + 1 for statement in outgoing)
        if len(outgoing) == 1 or size <= self._max_bytes:
            try:
                self._post(outgoing, outcome)
                return
            except BatchRejected as error:
                rejected = error
            if rejected.status == 409:
                # What it remembers of the LRS is not made for several threads.
                with self._comparing:
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
            elif len(outgoing) == 1:
                outcome.rejected.append(rejection(self.target.transformer_type, outgoing[0], rejected))
                return
            elif rejected.status == 413:
                # A body of this size would be refused again: later batches are cut before they are sent.
                self._max_bytes = max(size // 2, 1)
        middle = len(outgoing) // 2
        self._deliver(outgoing[:middle], outcome, asked)
        self._deliver(outgoing[middle:], outcome, asked)

    def _post(self, outgoing: Sequence[OutgoingStatement], outcome: Outcome) -> None:
        response = self.client.post(as_array(outgoing))
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
