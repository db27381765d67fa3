"""Asks an LRS through xAPI which statements it has, with few requests."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import requests

from ..model.delivery import Held, OutgoingStatement
from ..model.equivalence import instant, kept_by_lrs
from ..util.errors import JobError, PermanentError
from .http_answers import content_type
from .lrs_client import LrsClient

JsonObject = Mapping[str, Any]

# The most statements that Ralph returns in one page.
PAGE_SIZE = 100
# Pages are requested for at least this many statements; fewer are requested by id.
MIN_FOR_PAGES = 10
# After this many fruitless tries in a row, no more pages are requested.
PAGE_TRIES = 2
SECOND = timedelta(seconds=1)
# What can be asked for in pages: there is a second before it and one behind it.
EARLIEST = datetime.min.replace(tzinfo=timezone.utc) + SECOND
LATEST = datetime.max.replace(tzinfo=timezone.utc) - 2 * SECOND


class LrsSearch:
    """Searches one LRS over its kept-alive session, one request at a time.

    xAPI has no request for many ids at once. Statements of one log are close together in time, so pages of that time
    are requested first (``since`` and ``until``). LRSs compare different times (xAPI says the time of storage, Ralph
    takes the time of the event), so a statement is only missing if the LRS does not find it by its id.
    """

    def __init__(self, client: LrsClient) -> None:
        self._client = client
        self._page_tries_left = PAGE_TRIES
        self._asks_voided = True
        self.requests = 0
        self.surplus_rows = array("Q")

    def held(self, statements: Sequence[OutgoingStatement]) -> list[Held]:
        """What the LRS has of each of these. Raises :class:`~.errors.JobError` if it does not answer."""
        sent = {statement.id.lower(): json.loads(statement.body) for statement in statements}
        found = self.in_pages(sent)
        found |= self.by_ids(sent.keys() - found.keys())
        held = {
            name: compared(fields, found[name])
            if name in found
            else (Held.VOIDED if self.is_voided(name) else Held.NOTHING)
            for name, fields in sent.items()
        }
        return [held[statement.id.lower()] for statement in statements]

    def in_pages(self, wanted: Mapping[str, JsonObject]) -> dict[str, JsonObject]:
        """Those of ``wanted`` (by id in lower case) that are found with few requests; the LRS may have others, too."""
        if not self._page_tries_left or len(wanted) < MIN_FOR_PAGES:
            return {}
        asked = self.requests
        found = self._in_pages({name: fields.get("timestamp") for name, fields in wanted.items()})
        self._page_tries_left = PAGE_TRIES if len(found) > self.requests - asked else self._page_tries_left - 1
        return found

    def by_ids(self, ids: Iterable[str]) -> dict[str, JsonObject]:
        """Those of ``ids`` (in lower case) that the LRS has; a request for each."""
        found = {name: self._by_id("statementId", name) for name in ids}
        return {name: fields for name, fields in found.items() if fields is not None}

    def is_voided(self, statement_id: str) -> bool:
        """Was this statement, which was not found, voided by another one (xAPI 1.0.3, part 2, section 2.3.2)?"""
        if not self._asks_voided:
            return False
        try:
            return self._by_id("voidedStatementId", statement_id) is not None
        except PermanentError:
            # It has just answered a request by id, and does not know this parameter.
            self._asks_voided = False
            return False

    def _in_pages(self, wanted: Mapping[str, object]) -> dict[str, JsonObject]:
        """Those found in pages. Raises nothing: all others are requested by id afterwards."""
        found: dict[str, JsonObject] = {}
        times = sorted(moment for moment in map(instant, wanted.values()) if moment and EARLIEST <= moment <= LATEST)
        if not times:
            return found
        since, until = _whole_second(times[0] - SECOND), _whole_second(times[-1] + SECOND)
        try:
            for _ in range(2 * len(wanted) // PAGE_SIZE + 2):
                query = {"since": since, "until": until, "ascending": "true", "limit": str(PAGE_SIZE)}
                page = self._answer(query, patient=False)
                before, last = len(found), ""
                for statement in _statements(page):
                    last = str(statement.get("timestamp", last))
                    statement_id = str(statement.get("id", "")).lower()
                    if statement_id in wanted:
                        found[statement_id] = statement
                following = _next_since(since, last)
                if not page.get("more") or not following or len(found) in (before, len(wanted)):
                    break
                since = following
        except JobError:
            # This LRS does not answer such queries. Requests by id will show if it answers at all.
            self._page_tries_left = 1
        return found

    def _by_id(self, parameter: str, statement_id: str) -> JsonObject | None:
        answer = self._answer({parameter: statement_id})
        statements = list(_statements(answer))
        if parameter == "voidedStatementId" and "statements" in answer:
            # By xAPI the answer is a single statement. This LRS ignores the parameter.
            self._asks_voided = any(str(statement.get("id", "")).lower() == statement_id for statement in statements)
        return next(
            (statement for statement in statements if str(statement.get("id", "")).lower() == statement_id), None
        )

    def _answer(self, query: Mapping[str, str], patient: bool = True) -> JsonObject:
        self.requests += 1
        response = self._client.get(query, patient)
        return {} if response.status_code == 404 else _json(self._client.name, response)


def compared(sent: JsonObject, found: JsonObject) -> Held:
    """Is what was found under the id of a statement the same as what was ``sent``?"""
    return Held.SAME if kept_by_lrs(sent, found) else Held.DIFFERENT


def _json(name: str, response: requests.Response) -> JsonObject:
    answer: Any
    try:
        answer = response.json()
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, Mapping):
        raise PermanentError(
            f"{name} answers {response.status_code}, but with {content_type(response)} and not with "
            "statements: it can't be verified. Check its URL."
        )
    return answer


def _statements(answer: JsonObject) -> Iterator[JsonObject]:
    """The statements of an answer: a page (Ralph returns one even for a single id), or a single statement."""
    statements = answer.get("statements", [answer])
    if isinstance(statements, list):
        yield from (statement for statement in statements if isinstance(statement, Mapping))


def _next_since(since: str, last: str) -> str:
    """``since`` for the page after one that ends with the time ``last``; ``""`` if there is none.

    Not the page's ``more`` link: with MongoDB, Ralph then leaves out statements of the same second. Requesting a second
    twice does no harm; if one second fills a page, the statements left out are requested by id.
    """
    moment = instant(last)
    if moment is None or moment < EARLIEST:
        return ""
    overlapping = _whole_second(moment - SECOND)
    return next((start for start in (overlapping, last) if start > since), "")


def _whole_second(moment: datetime) -> str:
    # In the form of ERB's timestamps: with MongoDB, Ralph compares times as text.
    return moment.replace(microsecond=0).isoformat()
