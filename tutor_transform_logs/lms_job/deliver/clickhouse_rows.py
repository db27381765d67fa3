"""Statements as rows of Aspects' table of xAPI statements, and how rows are grouped for queries. Pure functions.

The table (Aspects' migrations 0011 and 0032): ``event_id UUID, emission_time DateTime64(6), event String``, sorted by
``(emission_time, event_id)``. That pair is the row's key here as it is there: ERB makes the id from verb, actor and the
timestamp's text (a child statement's from its child id, too), so that a statement that is made again has both again.
The same id at another time can only be another statement, and is a row of its own.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from functools import cache
from typing import NamedTuple

from ..model.delivery import OutgoingStatement
from ..model.records import Statement
from ..util.iso_times import moment

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
# What a DateTime64(6) can hold.
FIRST, AFTER_LAST = datetime(1900, 1, 1, tzinfo=timezone.utc), datetime(2300, 1, 1, tzinfo=timezone.utc)
USUAL_ID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# A look-up reads all rows between its first and its last time; where nothing is looked up for so long, it skips them.
MICROS_A_DAY = timedelta(days=1) // timedelta(microseconds=1)
MAX_GAP = MICROS_A_DAY


class RowKey(NamedTuple):
    """What tells rows of the table apart, in the order of the table's index."""

    micros: int
    """Microseconds since 1970, UTC."""
    id: str
    """The statement's id in lower case, with hyphens."""


class Row(NamedTuple):
    """A statement as the table has it."""

    key: RowKey
    json: bytes
    """One line of the format JSONEachRow, without its line end."""
    statement: OutgoingStatement

    @property
    def month(self) -> tuple[int, int]:
        """The partition that it falls into, where the table has one for each month."""
        return _month_of(self.day)

    @property
    def day(self) -> int:
        """The number of its day, counted from the first that the table can hold."""
        return (EPOCH - FIRST).days + self.key.micros // MICROS_A_DAY


@cache
def _month_of(day: int) -> tuple[int, int]:
    """Year and month of :attr:`Row.day`. There are 146,000 such days."""
    date = FIRST + timedelta(days=day)
    return date.year, date.month


def make_row(statement: OutgoingStatement) -> Row:
    """The row of a statement. Raises ``ValueError`` if the table has no place for its id or its timestamp."""
    key = row_key(statement.made.statement)
    # With its offset: the server's own time zone must not matter.
    shown = (EPOCH + timedelta(microseconds=key.micros)).isoformat()
    line = f'{{"event_id":"{key.id}","emission_time":"{shown}","event":{json.dumps(statement.body.decode("utf-8"))}}}'
    return Row(key, line.encode("ascii"), statement)


def row_key(statement: Statement) -> RowKey:
    """The key of a statement's row. Raises ``ValueError`` as :func:`make_row` does."""
    when = statement.timestamp
    if when is None:
        text = statement.fields.get("timestamp")
        when = moment(text)
        if when is None:
            raise ValueError(f"its timestamp is not a time: {text!r:.100}")
    elif when.tzinfo is None:
        when = when.replace(tzinfo=timezone.utc)
    if not FIRST <= when < AFTER_LAST:
        raise ValueError(f"its timestamp is outside what ClickHouse can hold (1900 to 2299): {when.isoformat()}")
    event_id = statement.id
    if not USUAL_ID.fullmatch(event_id):
        try:
            event_id = str(uuid.UUID(event_id))
        except ValueError:
            raise ValueError(f"its id is not a UUID: {event_id!r:.100}") from None
    return RowKey((when - EPOCH) // timedelta(microseconds=1), event_id)


def group_rows(rows: Iterable[Row], max_months: int, max_bytes: int) -> Iterator[list[Row]]:
    """``rows`` sorted by key, in groups of at most ``max_months`` calendar months and ``max_bytes`` of JSON.

    (``max_partitions_per_insert_block`` of ClickHouse: 100 by default, and each partition of an insert is a part of its
    own.) A row that alone is larger than ``max_bytes`` is a group.
    """
    group: list[Row] = []
    months: set[tuple[int, int]] = set()
    size = 0
    for row in sorted(rows, key=lambda row: row.key):
        month = row.month
        full = size + len(row.json) > max_bytes or (month not in months and len(months) == max_months)
        if group and full:
            yield group
            group, months, size = [], set(), 0
        group.append(row)
        months.add(month)
        size += len(row.json) + 1
    if group:
        yield group


def time_ranges(keys: Sequence[RowKey], max_gap: int = MAX_GAP) -> list[tuple[int, int]]:
    """The times of sorted ``keys`` as closed ranges of microseconds, with no gap longer than ``max_gap`` in a range."""
    ranges: list[tuple[int, int]] = []
    for key in keys:
        if ranges and key.micros - ranges[-1][1] <= max_gap:
            ranges[-1] = (ranges[-1][0], key.micros)
        else:
            ranges.append((key.micros, key.micros))
    return ranges


def lookup_sql(table: str, keys: Sequence[RowKey]) -> str:
    """The query for those of sorted ``keys`` that ``table`` has."""
    columns = "event_id, toUnixTimestamp64Micro(emission_time) AS micros"
    # Names are quoted, and the rest is numbers and UUIDs.
    return f"SELECT DISTINCT {columns} FROM {table} WHERE {key_condition(keys)} FORMAT TabSeparatedWithNames"  # noqa: S608


def key_condition(keys: Sequence[RowKey]) -> str:
    """What selects the rows of sorted ``keys``: by time, which is the table's index, and by id."""
    times = " OR ".join(
        f"emission_time BETWEEN fromUnixTimestamp64Micro({first}) AND fromUnixTimestamp64Micro({last})"
        for first, last in time_ranges(keys)
    )
    ids = ",".join(f"'{key.id}'" for key in keys)
    return f"({times}) AND event_id IN ({ids})"


def parse_lookup(content: bytes) -> set[RowKey]:
    """The answer to :func:`lookup_sql`. Raises ``ValueError`` if it is anything else."""
    header, *lines = content.decode("utf-8").splitlines() or [""]
    if header != "event_id\tmicros":
        raise ValueError("not the answer to the query")
    found = set()
    for line in lines:
        event_id, micros = line.split("\t")
        found.add(RowKey(int(micros), event_id))
    return found


def quoted_text(text: str) -> str:
    """A text in a query."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def quoted_name(name: str) -> str:
    """An identifier in a query."""
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"
