"""After a 409: which statements of a batch does the LRS have, and are they the same?

xAPI 1.0.3 (part 3, section 2.1.2) has an LRS answer 409 to a batch with a statement whose id it has under another
content, and lets it do so where the content is the same. Ralph and Learning Locker do the first; ADL's LRS does the
second as well, and then a batch of which it has a single statement is refused whole, and so is each half of it that
has one.
"""

from __future__ import annotations

import enum
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..model.delivery import Held, OutgoingStatement
from ..util.doing import Teller
from ..util.errors import JobError, Unavailable, without_resuming
from .lrs_client import LrsClient
from .lrs_search import JsonObject, LrsSearch, compared

log = logging.getLogger(__name__)

# A part of at most this many statements is asked for one by one: to halve it would take as many requests.
FEW = 10
# An LRS that does not find this many statements that it has just called conflicts has no GET by id.
FRUITLESS = 3


class Asked(enum.IntEnum):
    """How the LRS was asked for the statements of a part of a batch, since it was delivered the last time."""

    NOT = 0
    IN_PAGES = 1
    ONE_BY_ONE = 2
    VOIDED = 3
    """One by one, as statements and as voided ones."""


@dataclass
class Comparison:
    """What the LRS has of a part of a batch."""

    asked: Asked
    same: int = 0
    different: list[OutgoingStatement] = field(default_factory=list)
    detail: str = ""
    """What to add to the reason of those that are ``different``."""
    left: list[OutgoingStatement] = field(default_factory=list)
    """Those of which the LRS has nothing, as far as it was asked."""


class Conflicts:
    """Asks one LRS, and remembers for the run how it is best asked.

    Pages of statements by time come first: Ralph answers with a hundred at once. Where they find nothing, the batch is
    halved, because an LRS that answers 409 to conflicts alone then shows where they are in few requests. Once a part
    was refused whose statements are all the same ones, or new, it is known that this LRS answers 409 to those as well.
    From then on it is asked for each statement of a part that it refuses, and what it does not have is posted at once:
    halves would be refused down to single statements.

    Voided statements are found by another request, of which pages do not exist. It is made for a part that is refused
    although the LRS has none of its statements by their ids.
    """

    def __init__(self, client: LrsClient) -> None:
        self._client = client
        self._search = LrsSearch(client)
        self._refuses_same = False
        self._fruitless = 0
        """How many conflicts it has not found by their ids."""
        self._has_found = False
        self._teller = Teller()
        self._unreadable = ""
        """Why statements can't be read there; empty as long as they can."""

    def compare(self, outgoing: Sequence[OutgoingStatement], asked: Asked) -> Comparison:
        """Ask for statements of a part that was refused; ``asked``: how that was done before it was posted.

        Nothing is found in a part that has to be halved. A single statement is always found to be the same or
        different. Raises :class:`~.errors.Unavailable` if the LRS can't be asked now: what it has is not known then.
        """
        if not self._unreadable:
            try:
                return self._ask(outgoing, asked)
            except Unavailable as error:
                raise Unavailable(f"After a 409, the LRS must answer what it has, and does not: {error}") from None
            except JobError as error:
                self._give_up(str(error))
        if len(outgoing) == 1:
            return Comparison(asked, different=[*outgoing], detail=f" (not compared: {self._unreadable})")
        return Comparison(Asked.ONE_BY_ONE, left=[*outgoing])

    def _ask(self, outgoing: Sequence[OutgoingStatement], asked: Asked) -> Comparison:
        if len(outgoing) == 1:
            return self._ask_for_one(outgoing[0])
        sent: dict[str, JsonObject] = {statement.id.lower(): json.loads(statement.body) for statement in outgoing}
        found: dict[str, JsonObject] = {}
        if asked < Asked.IN_PAGES:
            found, asked = self._search.in_pages(sent), Asked.IN_PAGES
        if asked < Asked.ONE_BY_ONE and (self._refuses_same or len(outgoing) <= FEW):
            found |= self._search.by_ids(self._told([name for name in sent if name not in found]))
            asked = Asked.ONE_BY_ONE
        self._has_found = self._has_found or bool(found)
        voided: set[str] = set()
        if asked == Asked.ONE_BY_ONE and not found and self._has_found:
            voided = {name for name in self._told([*sent]) if self._search.is_voided(name)}
            asked = Asked.VOIDED
        result = Comparison(asked, same=len(voided))
        for statement in outgoing:
            name = statement.id.lower()
            if name in voided:
                continue
            if name not in found:
                result.left.append(statement)
            elif compared(sent[name], found[name]) is Held.SAME:
                result.same += 1
            else:
                result.different.append(statement)
        if asked == Asked.ONE_BY_ONE and result.same and not result.different:
            self._refuses_same = True
        return result

    def _told(self, ids: Sequence[str]) -> Iterator[str]:
        """The ids, while they are asked for one after the other."""
        self._teller.begin()
        for number, statement_id in enumerate(ids):
            self._teller.tell(f"comparing with {self._client.name}: {number:,} of {len(ids):,} statements")
            yield statement_id

    def _ask_for_one(self, statement: OutgoingStatement) -> Comparison:
        [held] = self._search.held([statement])
        self._has_found = self._has_found or held is not Held.NOTHING
        if held in (Held.SAME, Held.VOIDED):
            self._refuses_same = self._refuses_same or held is Held.SAME
            return Comparison(Asked.ONE_BY_ONE, same=1)
        if held is Held.DIFFERENT:
            return Comparison(Asked.ONE_BY_ONE, different=[statement])
        self._fruitless += 1
        if self._fruitless >= FRUITLESS and not self._has_found:
            self._give_up("it finds none of these statements by their ids.")
        return Comparison(Asked.ONE_BY_ONE, different=[statement], detail=" (not found there by its id)")

    def _give_up(self, reason: str) -> None:
        self._unreadable = without_resuming(reason)
        log.warning(
            "What %s answers 409 to counts as a conflict, because it can't be compared: %s",
            self._client.name,
            self._unreadable,
        )
