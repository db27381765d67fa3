"""Delivery to the table of xAPI statements that Aspects has in ClickHouse, over ClickHouse's HTTP interface.

A statement that the table has is not inserted again: the materialised views count every inserted row, and some of them
(SummingMergeTree) count it for good. So each group of rows is looked up by time and id, and only the rest is inserted.
An insert that failed in any way may have stored its rows, all or some: they are looked up before they are sent again.
All queries of a batch have the same query id, which ClickHouse lets run once at a time: as long as an insert that lost
its connection runs on, the look-up after it is refused and tried later, so it can't come too early.

Workers on one machine that have rows of the same day take turns, so that a line that is in two logs is not inserted by
two of them at the same time. An insert that nobody saw the end of, as its worker was killed or timed out, holds up all
of them until it is over.

What this can't see: a row that another machine inserts between the look-up and the insert, as Vector does with a
statement that is being logged live at this moment. Such a row is in the table twice until ClickHouse merges the two;
views that add up have counted it twice.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import requests

from ..model import dead_letters
from ..model.delivery import Outcome, OutgoingStatement, Rejection, SourcedStatement
from ..storage.bounded_http import MAX_ANSWER_BYTES, AnswerTooLong, bounded_session
from ..util.backoff import retrying
from ..util.contact import Contact
from ..util.errors import PermanentError, TransientError
from ..util.formatting import shown_url
from ..util.secrets import basic_credentials, hide, remember
from .clickhouse_answers import NOT_CLICKHOUSE, REDIRECT, URL, Answer, Verdict, classify, classify_body
from .clickhouse_days import QUERY_ID_BYTES, DayLocks, LockedDays
from .clickhouse_rows import Row, RowKey, group_rows, lookup_sql, make_row, parse_lookup, quoted_name
from .http_answers import body_text, innermost_cause, masked, redirect_target, retry_after, speaks_no_tls
from .sessions import Sessions
from .traffic import EndpointTraffic

CONNECT_TIMEOUT = 10.0
COLUMNS = "event_id, emission_time, event"
# ClickHouse takes 100 partitions an insert by default; each month of an insert is a file set of its own to be merged.
MAX_MONTHS = 12
# ClickHouse takes queries of 256 KiB (max_query_size); an id takes 39 bytes of them, and 114 more where it needs a time
# range of its own.
LOOKUP_IDS = 1500
# As synchronous as it gets: what is answered is stored, behind a Distributed table, too (all versions know the setting
# by this name). Times are read with their "Z", whatever the server's zone.
INSERT_SETTINGS = {"async_insert": "0", "insert_distributed_sync": "1", "date_time_input_format": "best_effort"}
# The status is known only when the whole answer is.
LOOKUP_SETTINGS = {"wait_end_of_query": "1"}


@dataclass(frozen=True)
class Table:
    """A table of ClickHouse, and who writes to it."""

    url: str
    database: str
    table: str
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def sql(self) -> str:
        """Its name in a query."""
        return f"{quoted_name(self.database)}.{quoted_name(self.table)}"


class QueryFailed(Exception):
    """A query that did not go through, with what that means."""

    def __init__(self, answer: Answer, retry_after_secs: float = 0.0) -> None:
        super().__init__(answer)
        self.answer = answer
        self.retry_after_secs = retry_after_secs
        """How long the server, or a proxy, asks to be left alone."""


class ClickHouse:
    """One table over kept-alive sessions, from several threads if need be.

    Batches that are delivered at the same time must have no statement in common.
    """

    def __init__(
        self,
        table: Table,
        timeout_secs: float,
        max_wait_secs: float,
        batch_max_bytes: int,
        was_reached: Callable[[str], bool] = lambda _id: False,
    ) -> None:
        """``was_reached``: has an earlier run delivered something to the destination with this id?"""
        self.table = table
        self._timeout = (min(CONNECT_TIMEOUT, timeout_secs), timeout_secs)
        self.max_wait_secs = max_wait_secs
        self._max_bytes = batch_max_bytes
        self._url = table.url.rstrip("/") + "/"
        self.name = f"{shown_url(table.url.rstrip('/'))} {table.database}.{table.table}"
        self.names = (self.name,)
        self.traffic = EndpointTraffic()
        # Whoever writes to it, it is the same table.
        place = f"{table.url.rstrip('/')} {table.sql}"
        self.id = "clickhouse-" + hashlib.sha256(place.encode()).hexdigest()[:10]
        self._contact = Contact(self._url, partial(was_reached, self.id))
        self.days = DayLocks(self.id)
        self._sessions = Sessions(partial(_session, table, batch_max_bytes))
        self._secrets = {table.password, basic_credentials(table.username, table.password)} if table.password else set()
        remember(self._secrets)

    def route(self, made: SourcedStatement) -> bytes | None:
        return made.statement.body

    def deliver(self, batch_name: str, outgoing: Sequence[OutgoingStatement]) -> Outcome:
        outcome = Outcome()
        rows: dict[RowKey, Row] = {}
        for statement in outgoing:
            try:
                row = make_row(statement)
            except ValueError as error:
                outcome.rejected.append(Rejection(statement, dead_letters.INVALID, str(error)))
                continue
            if rows.setdefault(row.key, row) is not row:
                outcome.duplicates += 1
        if rows:
            query_id = _query_id(self.id, batch_name, min(rows), max(rows))
            batch = _Batch(self, query_id, outcome)
            with self.days.delivering(query_id):
                for group in group_rows(rows.values(), MAX_MONTHS, self._max_bytes):
                    batch.store(_Group(group))
        return outcome

    def probe(self) -> str:
        """Describe what ClickHouse answers to a look-up and an insert of no rows; one try.

        Raises :class:`~.errors.JobError` with what to do for an answer that would end a run.
        """
        query_id = _query_id(self.id, "check", time.time_ns(), 0)

        def attempt() -> None:
            try:
                self.find([RowKey(0, "00000000-0000-0000-0000-000000000000")], query_id)
                # Needs the privileges of an insert, and inserts nothing. (Names are quoted.)
                table_sql = self.table.sql
                sql = f"INSERT INTO {table_sql} ({COLUMNS}) SELECT {COLUMNS} FROM {table_sql} WHERE 0"  # noqa: S608
                self._ask_to_insert({"query_id": query_id}, sql.encode())
            except QueryFailed as failed:
                raise self.error(failed) from None

        retrying(attempt, 0.0)
        return "answers, and this user may read and write the table"

    def rows(self, sql: str, header: str) -> list[list[str]]:
        """The rows of a query that reads, in the format TabSeparatedWithNames; ``header``: its columns, with tabs.

        Values come with ClickHouse's escapes for tabs and newlines. Raises :class:`~.errors.JobError`.
        """

        def attempt() -> list[list[str]]:
            try:
                content = self._ask(LOOKUP_SETTINGS, f"{sql} FORMAT TabSeparatedWithNames".encode())
                first, *lines = content.decode("utf-8", "replace").split("\n")
                if first != header:
                    raise QueryFailed(NOT_CLICKHOUSE)
            except QueryFailed as failed:
                raise self.error(failed) from None
            return [line.split("\t") for line in lines if line]

        return retrying(attempt, self.max_wait_secs)

    def find(self, keys: Sequence[RowKey], query_id: str) -> set[RowKey]:
        """Those of sorted ``keys`` that the table has. Raises :class:`QueryFailed`."""
        found: set[RowKey] = set()
        for first in range(0, len(keys), LOOKUP_IDS):
            sql = lookup_sql(self.table.sql, keys[first : first + LOOKUP_IDS])
            content = self._ask({"query_id": query_id, **LOOKUP_SETTINGS}, sql.encode())
            try:
                found |= parse_lookup(content)
            except ValueError:
                raise QueryFailed(NOT_CLICKHOUSE) from None
        return found.intersection(keys)

    def insert(self, rows: Sequence[Row], query_id: str, token: str) -> None:
        """Raises :class:`QueryFailed`; the rows may be stored all the same.

        A table that drops repeated blocks (of a replicated one, ClickHouse does) drops rows with the same ``token``.
        """
        sql = f"INSERT INTO {self.table.sql} ({COLUMNS}) FORMAT JSONEachRow"
        body = b"".join(row.json + b"\n" for row in rows)
        params = {"query_id": query_id, "query": sql, "insert_deduplication_token": token, **INSERT_SETTINGS}
        self._ask_to_insert(params, body)

    def error(self, failed: QueryFailed) -> PermanentError | TransientError:
        """The job's error for a query that failed."""
        answer = failed.answer
        if answer.verdict is Verdict.STOP:
            return PermanentError(f"{self.name}: {answer.detail}. {answer.advice}")
        return TransientError(f"{self.name}: {answer.detail}", failed.retry_after_secs)

    def _ask_to_insert(self, params: dict[str, str], body: bytes) -> None:
        """ClickHouse has nothing to say of rows that it has stored: a text is something else's, or an exception's."""
        content = self._ask(params, body)
        if content:
            raise QueryFailed(classify_body(hide(content.decode("utf-8", "replace"), self._secrets)[:4000]))

    def _ask(self, params: dict[str, str], body: bytes) -> bytes:
        """The body of the answer to a query. Raises :class:`QueryFailed`."""
        try:
            # A redirect would turn the POST into a GET: it is an error instead.
            response = self._sessions.request(
                "POST", self._url, params=params, data=body, timeout=self._timeout, allow_redirects=False
            )
        except (requests.RequestException, ValueError) as error:
            raise QueryFailed(self._unanswered(error)) from None
        self._contact.made()
        if 300 <= response.status_code < 400:
            raise QueryFailed(_redirected(response))
        code = response.headers.get("X-ClickHouse-Exception-Code", "")
        # Masked before it is cut: a part of a secret would not be found.
        text = masked(body_text(response), response.request)[:4000] if code or not response.ok else ""
        answer = classify(response.status_code, code, text)
        if answer.verdict is not Verdict.OK:
            asked = retry_after(response.headers.get("Retry-After", ""))
            raise QueryFailed(answer, asked)
        return response.content

    def _unanswered(self, error: requests.RequestException | ValueError) -> Answer:
        if isinstance(error, requests.exceptions.SSLError):
            what = "this port speaks no TLS" if speaks_no_tls(error) else "its TLS certificate can't be trusted"
            return Answer(Verdict.STOP, f"{what} ({innermost_cause(error)})", URL)
        if isinstance(error, AnswerTooLong):
            return Answer(Verdict.STOP, f"it answers with {error}, not as ClickHouse does", URL)
        if isinstance(error, ValueError):
            # Of requests' InvalidURL among others, and of a redirect to what is not a URL.
            return Answer(Verdict.STOP, f"it can't be used ({type(error).__name__})", URL)
        if self._contact.is_typo(error):
            detail = f"it can't be reached ({innermost_cause(error)}), and never was"
            return Answer(Verdict.STOP, detail, f"{URL} Is it running?")
        return Answer(Verdict.RETRY, f"it does not answer ({innermost_cause(error)})")


def _session(table: Table, batch_max_bytes: int) -> requests.Session:
    # A look-up may answer with the events of a batch, in base64.
    session = bounded_session(MAX_ANSWER_BYTES + 2 * batch_max_bytes)
    # Set even without credentials: requests would otherwise look for some in the user's .netrc.
    session.auth = requests.auth.HTTPBasicAuth(table.username.encode(), table.password.encode())
    return session


def _redirected(response: requests.Response) -> Answer:
    target = redirect_target(response)
    if not target:
        return Answer(Verdict.STOP, f"it answers {response.status_code}, a redirect to no URL", URL)
    return Answer(Verdict.STOP, f"it redirects to {target}", REDIRECT)


@dataclass
class _Group:
    """Rows on their way into the table, sorted by key."""

    rows: list[Row]
    sent: bool = False
    """This batch has sent them before: what the table has of them now counts as stored by it.

    (Another worker may have stored some meanwhile, from another log. Then both count them as stored.)
    """
    nonce: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def token(self) -> str:
        """Tells ClickHouse a repeated insert of the same rows of this group, which has only ever fewer of them.

        Without a token, it would know the rows by their content, and drop those that were inserted, deleted and are
        sent again, by a repair or a later run. It would answer as if they were stored.
        """
        return f"{self.nonce}-{len(self.rows)}"


class _Batch:
    """The delivery of one batch."""

    def __init__(self, server: ClickHouse, query_id: str, outcome: Outcome) -> None:
        self._server = server
        self._query_id = query_id
        self._outcome = outcome

    def store(self, group: _Group) -> None:
        """Insert those rows that the table does not have; in halves if ClickHouse rejects one of them, or their number.

        Raises :class:`~.errors.JobError`.
        """
        size = sum(len(row.json) for row in group.rows)
        answer = self._server.traffic.retrying(partial(self._try, group), self._server.max_wait_secs, size)
        if answer is None:
            return
        if len(group.rows) > 1:
            middle = len(group.rows) // 2
            self.store(_Group(group.rows[:middle], group.sent))
            self.store(_Group(group.rows[middle:], group.sent))
            return
        # Should a view have rejected the row, the table may have it all the same.
        self._server.traffic.retrying(partial(self._find, group), self._server.max_wait_secs)
        reason = dead_letters.INVALID if answer.verdict is Verdict.ROW else dead_letters.TOO_LARGE
        self._outcome.rejected += [Rejection(row.statement, reason, answer.detail) for row in group.rows]

    def _try(self, group: _Group) -> Answer | None:
        """Look the rows up and insert the rest. Returns the answer that asks for fewer rows, if it does.

        Raises :class:`~.errors.TransientError` or :class:`~.errors.PermanentError` for any other failure.
        """
        try:
            with self._server.days.locked({row.day for row in group.rows}) as days:
                self._wait_for_inserts(days, group)
                self._find(group)
                if group.rows:
                    group.sent = True
                    days.sent(self._query_id)
                    self._server.insert(group.rows, self._query_id, group.token)
                    days.ended()
                    self._outcome.stored += len(group.rows)
        except QueryFailed as failed:
            verdict = failed.answer.verdict
            if verdict in (Verdict.ROW, Verdict.SPLIT) or (verdict is Verdict.SMALLER and len(group.rows) > 1):
                return failed.answer
            raise self._server.error(failed) from None
        return None

    def _wait_for_inserts(self, days: LockedDays, group: _Group) -> None:
        """Make sure that no insert runs on of rows of the same days, of which this group may have some.

        Raises :class:`QueryFailed` if one does: a query with its id is refused as long as it runs.
        """
        unanswered = days.unanswered()
        for query_id in unanswered:
            self._server.find([group.rows[0].key], query_id)
        if unanswered:
            days.all_ended(unanswered)

    def _find(self, group: _Group) -> None:
        """Take those rows out of the group that the table has, and count them."""
        found = self._server.find([row.key for row in group.rows], self._query_id)
        group.rows = [row for row in group.rows if row.key not in found]
        if group.sent:
            self._outcome.stored += len(found)
        else:
            self._outcome.duplicates += len(found)


def _query_id(*parts: object) -> str:
    """The same for the same batch, also when it is delivered again by another process."""
    digest = hashlib.sha256(repr(parts).encode()).hexdigest()
    return f"transform-logs-{digest}"[:QUERY_ID_BYTES]
