"""Counts the rows of a table of ClickHouse by day."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime, time, timedelta, timezone
from itertools import chain, groupby

from .clickhouse import ClickHouse
from .clickhouse_rows import EPOCH, quoted_text


def count_rows(
    clickhouse: ClickHouse, days: Iterable[date], since: datetime | None, until: datetime | None
) -> dict[date, int]:
    """Day (UTC) -> rows, in the months of ``days``, not before ``since`` and before ``until``.

    Other days of these months may be in it, too. ``days`` are in the years 1900 to 2299, which are those that
    the table can hold. A row that is there twice until ClickHouse merges the two counts once, where the engine of the
    table allows to say so. Raises :class:`~.errors.JobError`.
    """
    by_month = groupby(sorted(days), key=lambda day: (day.year, day.month))
    spans = [_span(month[0], month[-1]) for month in (list(group) for _, group in by_month)]
    return dict(chain.from_iterable(_count(clickhouse, spans, since, until)))


def count_months(
    clickhouse: ClickHouse, first: date, last: date, since: datetime | None, until: datetime | None
) -> Iterator[list[tuple[date, int]]]:
    """As :func:`count_rows` from ``first`` to ``last``, month by month: days and their rows."""
    return _count(clickhouse, _months(*_span(first, last)), since, until)


def _count(
    clickhouse: ClickHouse,
    spans: Iterable[tuple[datetime, datetime]],
    since: datetime | None,
    until: datetime | None,
) -> Iterator[list[tuple[date, int]]]:
    """The rows of each span, of a month at most, by a query of its own, so that none runs for long."""
    table = clickhouse.table.sql + (" FINAL" if _merges(clickhouse) else "")
    for begin, end in spans:
        low, high = max(begin, since or begin), min(end, until or end)
        if low >= high:
            continue
        # Names are quoted, and the rest is numbers.
        sql = (
            f"SELECT toString(toDate32(emission_time, 'UTC')) AS day, count() AS rows FROM {table} "  # noqa: S608
            f"WHERE emission_time >= fromUnixTimestamp64Micro({_micros(low)}) "
            f"AND emission_time < fromUnixTimestamp64Micro({_micros(high)}) GROUP BY day ORDER BY day"
        )
        yield [(date.fromisoformat(day), int(rows)) for day, rows in clickhouse.rows(sql, "day\trows")]


def _merges(clickhouse: ClickHouse) -> bool:
    """Does the table's engine merge rows with the same key?"""
    database, table = map(quoted_text, (clickhouse.table.database, clickhouse.table.table))
    # Both are quoted.
    sql = f"SELECT engine FROM system.tables WHERE database = {database} AND name = {table}"  # noqa: S608
    return any("ReplacingMergeTree" in engine for [engine] in clickhouse.rows(sql, "engine"))


def _span(first: date, last: date) -> tuple[datetime, datetime]:
    """Where ``first`` begins and ``last`` ends."""
    return (
        datetime.combine(first, time.min, timezone.utc),
        datetime.combine(last + timedelta(days=1), time.min, timezone.utc),
    )


def _months(begin: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    while begin < end:
        following = (begin.replace(day=1) + timedelta(days=32)).replace(day=1)
        yield begin, min(following, end)
        begin = following


def _micros(when: datetime) -> int:
    return (when - EPOCH) // timedelta(microseconds=1)
