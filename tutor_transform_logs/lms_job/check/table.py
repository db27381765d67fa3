"""Can a table of ClickHouse hold statements, so that each is stored once and found again?"""

from __future__ import annotations

import re

from ..deliver.clickhouse import ClickHouse
from ..deliver.clickhouse_rows import quoted_text
from ..util.errors import PermanentError

# Aspects' migrations 0011 and 0032.
COLUMN_TYPES = {"event_id": "UUID", "emission_time": "DateTime64(6)", "event": "String"}
# Engines that keep every row on disk and can be asked for it. Shared: ClickHouse Cloud. A Distributed table hands rows
# to such tables of a cluster. All others keep nothing (Null), only for a time (Memory, Buffer), send rows elsewhere
# (Kafka, URL), combine them (SummingMergeTree), or can't look one up without reading all (Log).
KEEPING_ENGINES = re.compile("(Replicated|Shared)?(Replacing)?MergeTree|Distributed")


def check_table(clickhouse: ClickHouse) -> None:
    """Raise :class:`~.errors.PermanentError` if the table can't hold statements."""
    for engine, sorting_key in _definition(clickhouse):
        check_engine(clickhouse.name, engine)
        check_sorting_key(clickhouse.name, engine, sorting_key)
    _check_columns(clickhouse)


def check_engine(name: str, engine: str) -> None:
    """Raise :class:`~.errors.PermanentError` unless rows of a table with this engine stay and are found again."""
    if not KEEPING_ENGINES.fullmatch(engine):
        raise PermanentError(
            f"{name}: its engine {engine} does not keep each row so that it is found again, and every run would send "
            "all statements once more. Set TRANSFORM_LOGS_CLICKHOUSE_TABLE to a MergeTree or ReplacingMergeTree table, "
            "or to a Distributed one over such tables."
        )


def check_sorting_key(name: str, engine: str, sorting_key: str) -> None:
    """Raise :class:`~.errors.PermanentError` if merges would make one row of those of several statements.

    ``sorting_key``: as ClickHouse has it in ``system.tables``, expressions with commas between them. Which other
    columns it has, and whether it has the id itself or a hash of it, does not matter.
    """
    if "Replacing" in engine and not re.search(r"\bevent_id\b", sorting_key):
        raise PermanentError(
            f"{name}: when ClickHouse merges this {engine} table, it keeps one row for each value of its sorting key "
            f"({sorting_key}), which lacks event_id: statements would be lost. Set TRANSFORM_LOGS_CLICKHOUSE_TABLE to "
            "a table with event_id in its ORDER BY, as that of Aspects has it, or to a MergeTree table."
        )


def _definition(clickhouse: ClickHouse) -> list[tuple[str, str]]:
    """The table's engine and its sorting key; none if this user may not know them."""
    sql = f"SELECT engine, sorting_key FROM system.tables WHERE {_of_table(clickhouse, 'name')}"  # noqa: S608
    rows = clickhouse.rows(sql, "engine\tsorting_key")
    return [(engine, sorting_key.replace("\\'", "'")) for engine, sorting_key in rows]


def _check_columns(clickhouse: ClickHouse) -> None:
    """With times that are cut, no statement would be found again, and each run would insert all of them once more."""
    sql = f"SELECT name, type FROM system.columns WHERE {_of_table(clickhouse, 'table')}"  # noqa: S608
    for name, kind in clickhouse.rows(sql, "name\ttype"):
        needed = COLUMN_TYPES.get(name, kind)
        if not re.fullmatch(rf"{re.escape(needed)}|DateTime64\(6, .*\)", kind):
            raise PermanentError(
                f"{clickhouse.name}: the column {name} has the type {kind}, and statements need {needed}, as in the "
                "table of Aspects. Set TRANSFORM_LOGS_CLICKHOUSE_TABLE to a table with such columns."
            )


def _of_table(clickhouse: ClickHouse, column: str) -> str:
    """The condition for rows of a system table about this table; all is quoted."""
    database, table = map(quoted_text, (clickhouse.table.database, clickhouse.table.table))
    return f"database = {database} AND {column} = {table}"
