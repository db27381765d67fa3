"""What a backfill does to the tables behind a table of ClickHouse: which of its statements reach no chart.

Aspects' materialised views copy each inserted row into tables of their own, and those drop rows that are older than
``ASPECTS_DATA_TTL_EXPRESSION`` (one year by default).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from ..config.schema import JobConfig
from ..deliver.clickhouse import ClickHouse
from ..deliver.clickhouse_rows import quoted_text
from ..model.activity import NO_DAY, day_of
from ..model.plan import Segment
from ..model.records import SkippedLines
from ..read.filters import Filters, event_time
from ..read.log_lines import log_lines
from ..storage.base import Readable
from ..transform.factory import make_transformer
from ..util.errors import JobError
from ..util.formatting import count
from ..work.parse import ParsedLine, parse_lines
from .sample import places, read_place

# A view's table may have views of its own.
MAX_LEVELS = 6
# Rows older than this many days are not asked about: Open edX is younger.
MAX_DAYS = 15_000
_TARGET = re.compile(r"MATERIALIZED VIEW \S+(?: UUID '[^']*')?(?: ON CLUSTER \S+)? TO (\S+)")
_TTL = re.compile(r" TTL (.+?)(?: SETTINGS .*)?$", re.DOTALL)


@dataclass(frozen=True)
class TableFacts:
    """A table of statements, and the tables that views fill from it."""

    engine: str
    rows: int | None
    """``None``: not known, as of a view."""
    fed: tuple[str, ...]
    """The tables that materialised views fill, those that this user may see."""
    limited: tuple[str, ...]
    """Those of them that drop old rows."""
    kept_from: date | None
    """The first day (UTC) that all of them keep; ``None`` if all keep everything."""
    own_kept_from: date | None = None
    """The first day that the table itself keeps."""


@dataclass(frozen=True)
class Ages:
    """Of how many sampled events the day could be read, and how many are older than the charts keep."""

    dated: int
    older: int


def read_facts(clickhouse: ClickHouse) -> TableFacts:
    """Ask for all that is known of the table. Raises :class:`~.errors.JobError` if ClickHouse does not answer."""
    database, table = clickhouse.table.database, clickhouse.table.table
    found = _tables(clickhouse, [(database, table)])
    engine, rows, own_ddl, level = found.get((database, table), ("", "", "", ()))
    fed: dict[str, str] = {}
    for _ in range(MAX_LEVELS):
        views = _tables(clickhouse, level)
        targets = {name for _, _, ddl, _ in views.values() if (name := _target(ddl))} - fed.keys()
        if not targets:
            break
        tables = _tables(clickhouse, [_split(name) for name in sorted(targets)])
        fed |= {".".join(name): ddl for name, (_, _, ddl, _) in tables.items()}
        level = [view for _, _, _, views_of in tables.values() for view in views_of]
    limits = {name: expression for name, ddl in fed.items() if (expression := _ttl(ddl))}
    own = _ttl(own_ddl)
    days = {
        expression: _kept_from(clickhouse, expression) for expression in {*limits.values(), *([own] if own else [])}
    }
    limited = tuple(sorted(name for name, expression in limits.items() if days[expression]))
    kept_from = max((day for name in limited if (day := days[limits[name]])), default=None)
    return TableFacts(
        engine, int(rows) if rows.isdecimal() else None, tuple(sorted(fed)), limited, kept_from, days.get(own)
    )


def describe_facts(name: str, facts: TableFacts) -> str:
    """The table in one line."""
    rows = "" if facts.rows is None else f", {count(facts.rows, 'row')}"
    fed = f"; views fill {count(len(facts.fed), 'table')} from it" if facts.fed else "; no view that can be seen here"
    return f"{name}: {facts.engine or 'a table of unknown engine'}{rows}{fed}"


def describe_retention(table: str, facts: TableFacts, ages: Ages) -> str:
    """What a run does that the charts will not show, and what can be done; ``""`` if there is nothing of the kind."""
    if facts.kept_from is None or not ages.older:
        return ""
    return (
        f"{_most(ages)} of the events are from before {facts.kept_from}, the first day that Aspects keeps for its "
        f"charts ({_names(facts.limited)}): they reach {table} and no chart. --since {facts.kept_from} leaves them "
        "out; ASPECTS_DATA_TTL_EXPRESSION changes how long Aspects keeps them."
    )


def retention_notice(config: JobConfig, clickhouse: ClickHouse, source: Readable, segments: Sequence[Segment]) -> str:
    """What happens to the events in a sample of ``segments`` that are older than ClickHouse keeps; ``""`` if none is.

    ``""`` too if ClickHouse does not say what it keeps: a run delivers all the same. Raises
    :class:`~.errors.JobError` if the source can't be read.
    """
    try:
        facts = read_facts(clickhouse)
    except JobError:
        return ""
    table = f"{clickhouse.table.database}.{clickhouse.table.table}"
    if facts.own_kept_from is not None:
        return describe_loss(table, facts.own_kept_from, _ages(config, source, segments, facts.own_kept_from))
    if facts.kept_from is None:
        return ""
    return describe_retention(table, facts, _ages(config, source, segments, facts.kept_from))


def describe_loss(table: str, kept_from: date, ages: Ages) -> str:
    """What a run does that the table itself will not keep; ``""`` if there is nothing of the kind."""
    if not ages.older:
        return ""
    return (
        f"{_most(ages)} of the events are from before {kept_from}, the first day that {table} itself keeps: ClickHouse "
        f"drops them, and every run that reads them inserts them again. --since {kept_from} leaves them out."
    )


def _most(ages: Ages) -> str:
    share = ages.older / ages.dated
    return "All" if ages.older == ages.dated else f"About {100 * share:.0f} %" if share >= 0.01 else "Less than 1 %"


def _ages(config: JobConfig, source: Readable, segments: Sequence[Segment], kept_from: date) -> Ages:
    transformer = make_transformer(config)
    filters, limit = Filters.of(config), config.max_line_bytes
    days: Counter[str] = Counter()
    for place in places(segments):
        content = read_place(source, place, limit).content
        lines = log_lines((content,), limit=limit, prefilter=transformer.prefilter)
        days.update(_day(parsed) for parsed in parse_lines(lines, transformer, filters))
    del days[NO_DAY]
    return Ages(days.total(), sum(events for day, events in days.items() if day < kept_from.isoformat()))


def _day(parsed: ParsedLine | SkippedLines) -> str:
    if isinstance(parsed, SkippedLines) or parsed.event is None:
        return NO_DAY
    when = event_time(parsed.event.fields)
    return day_of(when.isoformat()) if when else NO_DAY


_Facts = tuple[str, str, str, Sequence[tuple[str, str]]]


def _tables(clickhouse: ClickHouse, names: Iterable[tuple[str, str]]) -> dict[tuple[str, str], _Facts]:
    """Engine, rows, definition and views of each of these that there is and that this user may see."""
    wanted = ", ".join(f"({quoted_text(database)}, {quoted_text(table)})" for database, table in names)
    if not wanted:
        return {}
    columns = (
        "database, name, engine, toString(total_rows) AS rows, create_table_query AS ddl, "
        "arrayStringConcat(dependencies_database, '/') AS in_databases, "
        "arrayStringConcat(dependencies_table, '/') AS views"
    )
    # All are quoted.
    sql = f"SELECT {columns} FROM system.tables WHERE (database, name) IN ({wanted})"  # noqa: S608
    found: dict[tuple[str, str], _Facts] = {}
    for row in clickhouse.rows(sql, "database\tname\tengine\trows\tddl\tin_databases\tviews"):
        database, name, engine, rows, ddl, databases, views = row
        pairs = list(zip(databases.split("/"), views.split("/"), strict=True)) if views else []
        found[database, name] = (engine, rows, ddl, pairs)
    return found


def _target(ddl: str) -> str | None:
    found = _TARGET.search(ddl)
    return found[1].replace("`", "") if found else None


def _split(name: str) -> tuple[str, str]:
    database, _, table = name.partition(".")
    return database, table


def _ttl(ddl: str) -> str:
    """The expression that says when a row is dropped; ``""`` if none is."""
    found = _TTL.search(ddl.replace("\\n", " ").replace("\\'", "'"))
    return found[1].removesuffix(" DELETE") if found else ""


def _kept_from(clickhouse: ClickHouse, expression: str) -> date | None:
    """The day after the newest that the TTL ``expression`` drops today; ``None`` if that can't be said."""
    days = f"SELECT now64(6) - toIntervalDay(arrayJoin(range({MAX_DAYS}))) AS emission_time"
    # The expression is the server's own.
    sql = (
        f"SELECT count() AS days, toString(max(toDate32(emission_time, 'UTC')) + 1) AS first FROM ({days}) "  # noqa: S608
        f"WHERE ({expression}) <= now()"
    )
    try:
        [[dropped, first]] = clickhouse.rows(sql, "days\tfirst")
    except JobError:
        # An expression over other columns.
        return None
    return date.fromisoformat(first) if int(dropped) else None


def _names(tables: Sequence[str]) -> str:
    others = len(tables) - 1
    return tables[0] + (f" and {count(others, 'other table')}" if others else "")
