"""Which kinds of statements an endpoint refuses for good, so that they need not be searched for in every batch. Pure.

To find a refused statement takes up to two requests for each time that its batch can be halved. An LRS that refuses
what event-routing-backends makes of certain events refuses it in every batch. So these statements are sent apart, and
the others in one request.

Only whether something was refused counts, and not the text of the answer: many an LRS repeats ids, or whole statements,
in it.
"""

from __future__ import annotations

import enum
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..model.delivery import OutgoingStatement

# A kind goes with the others again when this many were accepted in a row.
NOT_APART = 128
# A kind is sent apart if at least every fourth batch would be refused because of it.
WORTH_APART = 4
# Far more than there are types of events with a transformer. What is beyond is looked for in halves.
MOST_KINDS = 1000


class Doubt(enum.IntEnum):
    """What is known of a part of a batch before it is sent."""

    NONE = 0
    SOME = 1
    """It is one half of what was refused, and nothing is known of the other."""
    SURE = 2
    """The other half was not refused, so this one will be."""


@dataclass
class _Kind:
    """What is known of the statements of one kind.

    :ivar width: how many to send in one request: as many as are accepted about every second time, because then the
        fewest requests find what is refused.
    :ivar accepted: how many were accepted since one was refused.
    """

    width: int = NOT_APART
    accepted: int = 0


class Refusals:
    """Remembers for one endpoint whether the statements of each kind are accepted. For several threads."""

    def __init__(self) -> None:
        self._kinds: dict[str, _Kind] = {}
        self._lock = threading.Lock()

    def parts(self, statements: Sequence[OutgoingStatement]) -> Iterator[Sequence[OutgoingStatement]]:
        """What to send in one request each: all that is likely to be accepted, then the other kinds by themselves.

        How large a part is depends on the answers to those before it.
        """
        numbers = Counter(map(kind_of, statements))
        with self._lock:
            apart = {kind for kind, number in numbers.items() if self._is_apart(kind, number)}
        together = [statement for statement in statements if kind_of(statement) not in apart] if apart else statements
        if together:
            yield together
        for kind in sorted(apart):
            left = [statement for statement in statements if kind_of(statement) == kind]
            at = 0
            while at < len(left):
                with self._lock:
                    part = left[at : at + self._kinds[kind].width]
                at += len(part)
                yield part

    def accepted(self, statements: Sequence[OutgoingStatement]) -> None:
        """A request with these was accepted."""
        with self._lock:
            for kind, number in Counter(map(kind_of, statements)).items():
                if (known := self._known(kind)) is not None:
                    known.accepted = min(known.accepted + number, NOT_APART)
                    known.width = max(known.width, known.accepted)

    def refused(self, statements: Sequence[OutgoingStatement], doubt: Doubt) -> None:
        """A request with these was refused because of one or more of them; ``doubt``: as it was sent."""
        kinds = {kind_of(statement) for statement in statements}
        if len(kinds) > 1:
            # Of which kind is still to be found out.
            return
        with self._lock:
            known = self._known(*kinds)
            if known is None:
                return
            if known.width == NOT_APART:
                # Of a kind that was never accepted all may be refused: the next one shows that.
                known.width, known.accepted = max(1, known.accepted // 2), 0
            elif doubt is Doubt.NONE:
                # A half of what was refused says nothing new.
                known.width = max(1, min(known.width, known.accepted + len(statements)) // 2)
                known.accepted = known.width if known.width > 1 else 0

    def expects_refusal(self, statement: OutgoingStatement) -> bool:
        """Was the last one of its kind refused, and few were accepted before?"""
        with self._lock:
            known = self._kinds.get(kind_of(statement))
            return known is not None and known.width == 1

    def _is_apart(self, kind: str, number: int) -> bool:
        known = self._kinds.get(kind)
        return known is not None and known.width < NOT_APART and number * WORTH_APART >= known.width

    def _known(self, kind: str) -> _Kind | None:
        if kind not in self._kinds and len(self._kinds) >= MOST_KINDS:
            return None
        return self._kinds.setdefault(kind, _Kind())


def kind_of(statement: OutgoingStatement) -> str:
    """The type of its event: what event-routing-backends makes of one type has the same faults each time."""
    return statement.made.event.name


def halves(statements: Sequence[OutgoingStatement]) -> tuple[list[OutgoingStatement], list[OutgoingStatement]]:
    """The two parts of a batch, each in the order of the log. No more than one kind is in both."""
    by_kind = sorted(range(len(statements)), key=lambda number: kind_of(statements[number]))
    middle = len(by_kind) // 2
    first, second = sorted(by_kind[:middle]), sorted(by_kind[middle:])
    return [statements[number] for number in first], [statements[number] for number in second]
