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
from .lrs_answers import BatchRejected, is_about_content, new_ids, rejection
from .lrs_client import LrsClient, Target
from .lrs_conflicts import Asked, Conflicts
from .refusals import Doubt, Refusals, halves
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
        self._refusals = Refusals()
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
        equal = len(outcome.rejected)
        if self._caliper is None:
            self._deliver(distinct, outcome)
        else:
            self._caliper.deliver(batch_name, distinct, outcome)
        # In the order of the log, whatever was sent first.
        numbers = {statement.id: number for number, statement in enumerate(distinct)}
        outcome.rejected[equal:] = sorted(outcome.rejected[equal:], key=lambda each: numbers[each.statement.id])
        return outcome

    def probe(self) -> str:
        """Describe what the endpoint answers to a request that changes nothing: :meth:`.LrsClient.probe`."""
        return self.client.probe()

    def _deliver(
        self,
        outgoing: Sequence[OutgoingStatement],
        outcome: Outcome,
        asked: Asked = Asked.NOT,
        doubt: Doubt = Doubt.NONE,
    ) -> bool:
        """Send ``outgoing``, and apart from the others what the endpoint is known to refuse.

        ``asked``: how the LRS was asked before which of them it has. Returns whether one of them was refused as
        invalid.
        """
        refused = False
        for part in self._refusals.parts(outgoing):
            known = doubt if len(part) == len(outgoing) else min(doubt, Doubt.SOME)
            refused = self._send(part, outcome, asked, known) or refused
        return refused

    def _send(self, part: Sequence[OutgoingStatement], outcome: Outcome, asked: Asked, doubt: Doubt) -> bool:
        """Like :meth:`_deliver`, in one request; in halves if the endpoint rejects it or does not take its size."""
        size = sum(len(statement.body) + 1 for statement in part)
        invalid = doubt is Doubt.SURE
        if len(part) == 1 or (size <= self._max_bytes and not invalid):
            try:
                self._post(part, outcome)
                self._refusals.accepted(part)
                return False
            except BatchRejected as error:
                rejected = error
            invalid = is_about_content(rejected)
            if invalid:
                # After a conflict, or a body too large, the first batch shows what the others are spared.
                self.client.traffic.rejected()
                self._refusals.refused(part, doubt)
            if rejected.status == 409:
                asked, left = self._compare(part, outcome, asked, rejected)
                if len(left) < len(part):
                    return self._deliver(left, outcome, asked)
            elif len(part) == 1:
                outcome.rejected.append(rejection(self.target.transformer_type, part[0], rejected))
                return invalid
            elif rejected.status == 413:
                # A body of this size would be refused again: later batches are cut before they are sent.
                self._max_bytes = max(size // 2, 1)
        first, second = halves(part)
        refused = self._deliver(first, outcome, asked, Doubt.SOME if invalid else Doubt.NONE)
        return self._deliver(second, outcome, asked, Doubt.SURE if invalid and not refused else Doubt.NONE) or refused

    def _compare(
        self, part: Sequence[OutgoingStatement], outcome: Outcome, asked: Asked, rejected: BatchRejected
    ) -> tuple[Asked, Sequence[OutgoingStatement]]:
        """After a 409, account for what the LRS has of ``part``: how it was asked, and what is left to send."""
        # What it remembers of the LRS is not made for several threads.
        with self._comparing:
            compared = self._conflicts.compare(part, asked)
        outcome.duplicates += compared.same
        detail = f"{rejected.detail}{compared.detail}"
        outcome.rejected += [Rejection(statement, dead_letters.CONFLICT, detail) for statement in compared.different]
        return compared.asked, compared.left

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
