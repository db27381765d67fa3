"""Which statements an LRS holds, asked through its xAPI, with as few requests as it allows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import requests

from ..deliver.lrs import Lrs
from ..util.errors import JobError, PermanentError
from .equivalence import instant

Fields = Mapping[str, Any]

# Ralph gives no more on a page.
PAGE = 100
# So many statements at least, before pages are worth while.
FEW = 10
# So many times in a row may pages be of no use; from then on each statement is asked for by its id.
TRIES = 2
SECOND = timedelta(seconds=1)


class Search:
    """Asks one LRS over its kept-alive session, one request at a time.

    xAPI has no way to ask for many ids at once. Statements of one log lie close together in time, so the pages of that
    time are looked through first (``since`` and ``until``); what an LRS calls the time is its own affair (xAPI means
    when it was stored, Ralph when it happened), so nothing is missing before it has been asked for by its id.
    """

    def __init__(self, lrs: Lrs) -> None:
        self._lrs = lrs
        self._tries = TRIES
        self._asks_voided = True
        self.requests = 0

    def find(self, wanted: Mapping[str, object]) -> dict[str, Fields]:
        """Those of ``wanted`` (ids in lower case, with their timestamps) that the LRS holds, by id."""
        found: dict[str, Fields] = {}
        if self._tries and len(wanted) >= FEW:
            asked = self.requests
            found = self._in_pages(wanted)
            self._tries = TRIES if len(found) > self.requests - asked else self._tries - 1
        for one in wanted:
            if one not in found:
                statement = self._by_id("statementId", one)
                if statement is not None:
                    found[one] = statement
        return found

    def is_voided(self, one: str) -> bool:
        """Was this statement, which is not found, taken back by another (xAPI 1.0.3, part 2, section 2.3.2)?"""
        if not self._asks_voided:
            return False
        return self._by_id("voidedStatementId", one) is not None

    def _in_pages(self, wanted: Mapping[str, object]) -> dict[str, Fields]:
        """Those that pages show; raises nothing, since all others are asked for once more."""
        found: dict[str, Fields] = {}
        times = sorted(moment for moment in map(instant, wanted.values()) if moment is not None)
        if not times:
            return found
        since, until = _whole_second(times[0] - SECOND), _whole_second(times[-1] + SECOND)
        try:
            for _ in range(2 * len(wanted) // PAGE + 2):
                query = {"since": since, "until": until, "ascending": "true", "limit": str(PAGE)}
                page = self._answer(query, patient=False)
                before, last = len(found), ""
                for statement in _statements(page):
                    last = str(statement.get("timestamp", last))
                    one = str(statement.get("id", "")).lower()
                    if one in wanted:
                        found[one] = statement
                following = _next_since(since, last)
                if not page.get("more") or not following or len(found) in (before, len(wanted)):
                    break
                since = following
        except JobError:
            # An LRS that can't be asked so; whether it can be asked at all, the questions by id will tell.
            self._tries = 1
        return found

    def _by_id(self, parameter: str, one: str) -> Fields | None:
        answer = self._answer({parameter: one})
        statements = list(_statements(answer))
        if parameter == "voidedStatementId" and "statements" in answer:
            # xAPI has it that a single one is answered with. This LRS has not understood the question.
            self._asks_voided = any(str(statement.get("id", "")).lower() == one for statement in statements)
        return next((each for each in statements if str(each.get("id", "")).lower() == one), None)

    def _answer(self, query: Mapping[str, str], patient: bool = True) -> Fields:
        self.requests += 1
        response = self._lrs.get(query, patient)
        return {} if response.status_code == 404 else _json(self._lrs.name, response)


def _json(name: str, response: requests.Response) -> Fields:
    answer: Any
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, Mapping):
        kind = response.headers.get("Content-Type", "no content type")
        raise PermanentError(
            f"{name} answers {response.status_code}, but with {kind} and not with statements: "
            "it can't be asked what it holds. Check its URL."
        )
    return answer


def _statements(answer: Fields) -> Iterator[Fields]:
    """The statements of an answer: a page of them, as Ralph gives it for one too, or the one that was asked for."""
    statements = answer.get("statements", [answer])
    if isinstance(statements, list):
        yield from (one for one in statements if isinstance(one, Mapping))


def _next_since(since: str, last: str) -> str:
    """Where the page after one goes on that ends with ``last``; ``""`` if nowhere.

    Not by the page's ``more``, after which Ralph leaves out some that happened in the same second (on MongoDB). A
    second twice is no harm; where one fills a page, what is left out is asked for by its id.
    """
    moment = instant(last)
    if moment is None:
        return ""
    overlapping = _whole_second(moment - SECOND)
    return next((one for one in (overlapping, last) if one > since), "")


def _whole_second(moment: datetime) -> str:
    # As ERB writes times: Ralph compares them as text where its store is MongoDB.
    return moment.replace(microsecond=0).isoformat()
