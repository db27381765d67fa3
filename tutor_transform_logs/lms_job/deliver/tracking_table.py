"""Raw tracking logs in a table of ClickHouse, as Aspects and tutor-contrib-cairn keep them, read as objects.

The table has the columns ``time`` and ``message``, a line of the log. Each day of it, in UTC, is an object that is
called ``TABLE/2026-01-31`` and has the day's lines in the order of their times. A line that arrives late changes what
comes after it: then the day's object is another log, which is read from its beginning.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial

from ..config.schema import StorageConfig
from ..storage.base import AT_ONCE, StoredObject
from ..util.backoff import retrying
from ..util.errors import ObjectGone, PermanentError, TransientError
from . import clickhouse_answers as answers
from .clickhouse import LOOKUP_SETTINGS, ClickHouse, QueryFailed, Table

# The lines of the last minutes are left to the next run: collectors deliver late, and in no order.
SETTLED_SECS = 600
# How much is asked for at a time. A session takes much more, since lines differ in their length.
SLICE_BYTES = 8 * 1024**2
ANSWER_BYTES = 64 * 1024**2
MAX_INDEXED_DAYS = 4
TIMEOUT_SECS = 120.0
# As many bytes as the message, and a newline at its end only. JSON has none inside of a text.
LINE = "replaceAll(message, '\\n', ' ')"
# A column ``time`` has seconds, an event has microseconds.
ORDER = "time, JSONExtractString(message, 'time'), message"
ADVICE = {
    answers.CREDENTIALS: "Check TRANSFORM_LOGS_SOURCE_KEY (the user) and TRANSFORM_LOGS_SOURCE_SECRET (its password).",
    answers.SCHEMA: "Check TRANSFORM_LOGS_SOURCE_CONTAINER, the database, and TRANSFORM_LOGS_SOURCE_PREFIX, the table.",
    answers.GRANT: "Give the user SELECT on this table, or set TRANSFORM_LOGS_SOURCE_KEY to one that has it.",
    answers.SETTINGS_PROFILE: "Give the user a settings profile that allows settings of queries (readonly 0 or 2).",
    answers.URL: "Check TRANSFORM_LOGS_SOURCE_HOST and _PORT (the HTTP interface, port 8123, or 8443 with TLS).",
}


@dataclass(frozen=True)
class _Minute:
    """The lines of one minute: its beginning in seconds since 1970, and where they are in the object."""

    time: int
    rows: int
    start: int
    end: int


class TrackingTable:
    """A table of raw tracking logs as a source: a container whose objects are days."""

    def __init__(
        self, config: StorageConfig, max_wait_secs: float, was_reached: Callable[[], bool] = lambda: False
    ) -> None:
        """The container of ``config`` is the database, and its prefix begins with the table."""
        scheme, port = ("https", 8443) if config.secure else ("http", 8123)
        table = Table(
            f"{scheme}://{config.host}:{config.port or port}",
            config.container,
            config.prefix.partition("/")[0],
            config.key,
            config.secret,
        )
        self._table = table
        self._client = _Client(table, TIMEOUT_SECS, max_wait_secs, ANSWER_BYTES // 2, lambda _id: was_reached())
        self._days: OrderedDict[str, list[_Minute]] = OrderedDict()

    def check(self, create: bool = False) -> None:
        sql = f"SELECT count() AS c FROM (SELECT toUnixTimestamp(time), length(message) FROM {self._table.sql} LIMIT 1)"  # noqa: S608
        self._client.rows(sql, "c")

    def listing(self, prefix: str) -> Iterator[StoredObject]:
        self._days.clear()
        columns = "toString(toDate(time, 'UTC')) AS day, sum(length(message) + 1) AS bytes"
        where = f"time < toStartOfMinute(now() - {SETTLED_SECS})"
        sql = f"SELECT {columns} FROM {self._table.sql} WHERE {where} GROUP BY day ORDER BY day"  # noqa: S608
        for day, size in self._client.rows(sql, "day\tbytes"):
            name = f"{self._table.table}/{day}"
            if name.startswith(prefix):
                yield StoredObject(name, int(size))

    def reading_ahead(self, names: Sequence[str], at_once: int = AT_ONCE) -> AbstractContextManager[None]:
        """Nothing is: what an object has is found by a query."""
        return nullcontext()

    def where(self, name: str) -> str:
        return f"{self._client.place} {self._table.database}.{name}"

    def read(self, name: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The lines of a day; a range is made of the minutes that it has to do with."""
        minutes = self._minutes(name)
        stop = minutes[-1].end if end is None else end
        for some in _slices([minute for minute in minutes if minute.end > start and minute.start < stop]):
            position = some[0].start
            for content in self._contents(some):
                yield content[max(0, start - position) : max(0, stop - position)]
                position += len(content)
            if position != some[-1].end:
                raise ObjectGone(f"{self.where(name)} was changed while it was read")

    def _contents(self, minutes: list[_Minute]) -> Iterator[bytes]:
        rows, size = sum(minute.rows for minute in minutes), minutes[-1].end - minutes[0].start
        where = f"time >= {_time(minutes[0].time)} AND time < {_time(minutes[-1].time + 60)}"
        sql = f"SELECT {LINE} FROM {self._table.sql} WHERE {where} ORDER BY {ORDER}"  # noqa: S608
        page = max(1, rows * SLICE_BYTES // size) if size > SLICE_BYTES else rows
        for first in range(0, rows, page):
            paged = f"{sql} LIMIT {page} OFFSET {first}" if page < rows else sql
            yield self._client.content(f"{paged} FORMAT TabSeparatedRaw")

    def _minutes(self, name: str) -> list[_Minute]:
        """Where each minute of a day is in its object. Raises :class:`~.errors.ObjectGone` if it has no lines."""
        if name not in self._days:
            table, _, text = name.rpartition("/")
            try:
                day = date.fromisoformat(text) if table == self._table.table else None
            except ValueError:
                day = None
            self._days[name] = self._indexed(day) if day else []
            if len(self._days) > MAX_INDEXED_DAYS:
                self._days.popitem(last=False)
        if not self._days[name]:
            raise ObjectGone(f"{self.where(name)} has no lines any more")
        return self._days[name]

    def _indexed(self, day: date) -> list[_Minute]:
        first, after = (f"toDateTime('{when} 00:00:00', 'UTC')" for when in (day, day + timedelta(days=1)))
        columns = "toUnixTimestamp(toStartOfMinute(time)) AS minute, count() AS rows, sum(length(message) + 1) AS bytes"
        where = f"time >= {first} AND time < {after}"
        sql = f"SELECT {columns} FROM {self._table.sql} WHERE {where} GROUP BY minute ORDER BY minute"  # noqa: S608
        minutes: list[_Minute] = []
        end = 0
        for time, rows, size in self._client.rows(sql, "minute\trows\tbytes"):
            minutes.append(_Minute(int(time), int(rows), end, end + int(size)))
            end += int(size)
        return minutes


def _slices(minutes: list[_Minute]) -> Iterator[list[_Minute]]:
    """Minutes that are asked for together."""
    some: list[_Minute] = []
    for minute in minutes:
        if some and minute.end - some[0].start > SLICE_BYTES:
            yield some
            some = []
        some.append(minute)
    if some:
        yield some


def _time(unix: int) -> str:
    return f"toDateTime({unix}, 'UTC')"


class _Client(ClickHouse):
    """A server that is read from: what it answers is told in terms of the source's settings."""

    @property
    def place(self) -> str:
        """The server, for people."""
        return self.name.partition(" ")[0]

    def content(self, sql: str) -> bytes:
        """The answer to a query that names its format. Raises :class:`~.errors.JobError`."""
        return retrying(partial(self._try_content, sql), self.max_wait_secs)

    def _try_content(self, sql: str) -> bytes:
        try:
            return self._ask(LOOKUP_SETTINGS, sql.encode())
        except QueryFailed as failed:
            raise self.error(failed) from None

    def error(self, failed: QueryFailed) -> PermanentError | TransientError:
        answer = failed.answer
        if answer.verdict is answers.Verdict.STOP:
            advice = answer.advice
            for of_destination, of_source in ADVICE.items():
                advice = advice.replace(of_destination, of_source)
            return PermanentError(f"{self.name}: {answer.detail}. {advice}")
        return TransientError(f"{self.name}: {answer.detail}", failed.retry_after_secs)
