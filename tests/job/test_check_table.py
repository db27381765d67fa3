"""Which tables of ClickHouse are refused before a run: the real engine, with tables that it can make.

It has no Keeper and no clusters, so it can't make a Replicated, Shared or Distributed table: their names are tested.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.harness import clickhouse
from tests.harness.forked_site import ForkedSite
from tutor_transform_logs.demo.log_writer import Mix
from tutor_transform_logs.lms_job.check.table import check_engine, check_sorting_key, check_table
from tutor_transform_logs.lms_job.deliver.clickhouse import ClickHouse, Table
from tutor_transform_logs.lms_job.util.errors import PermanentError

COLUMNS = {"event_id": "UUID", "emission_time": "DateTime64(6)", "event": "String"}
SORTED = "ORDER BY (emission_time, event_id)"


@pytest.fixture
def server(aspects_clickhouse: clickhouse.ClickHouse) -> Iterator[clickhouse.ClickHouse]:
    yield aspects_clickhouse
    aspects_clickhouse.query("DROP TABLE IF EXISTS openedx.mine")


def make_table(server: clickhouse.ClickHouse, engine: str, **other_types: str) -> ClickHouse:
    columns = ", ".join(f"{name} {kind}" for name, kind in (COLUMNS | other_types).items())
    server.query(f"CREATE TABLE openedx.mine ({columns}) ENGINE = {engine}")
    return mine(server)


def mine(server: clickhouse.ClickHouse) -> ClickHouse:
    return ClickHouse(Table(server.url, "openedx", "mine", "ch_vector", server.password("ch_vector")), 30, 0, 2**24)


@pytest.mark.parametrize("engine", [f"MergeTree {SORTED}", f"ReplacingMergeTree {SORTED}"])
def test_a_table_that_keeps_rows_serves(server: clickhouse.ClickHouse, engine: str) -> None:
    check_table(make_table(server, engine))


@pytest.mark.parametrize(
    "engine",
    [
        "ReplacingMergeTree ORDER BY (toDate(emission_time), event_id)",
        "ReplacingMergeTree ORDER BY (toDate(emission_time), cityHash64(event_id))",
        "ReplacingMergeTree ORDER BY event_id",
        "MergeTree ORDER BY toDate(emission_time)",
        "MergeTree ORDER BY tuple()",
    ],
)
def test_each_statement_has_a_sorting_key_of_its_own_or_none_is_merged(
    server: clickhouse.ClickHouse, engine: str
) -> None:
    check_table(make_table(server, engine))


@pytest.mark.parametrize("database", ["openedx", "xapi"])
def test_the_tables_of_aspects_serve(aspects_clickhouse: clickhouse.ClickHouse, database: str) -> None:
    server = aspects_clickhouse
    user = {"openedx": "ch_vector", "xapi": "ch_lrs"}[database]
    check_table(ClickHouse(Table(server.url, database, "xapi_events_all", user, server.password(user)), 30, 0, 2**24))


@pytest.mark.parametrize("key", ["toDate(emission_time, 'UTC')", "emission_time", "(emission_time, other_event_id)"])
def test_a_table_whose_merges_would_lose_statements_is_refused(server: clickhouse.ClickHouse, key: str) -> None:
    table = make_table(server, f"ReplacingMergeTree ORDER BY {key}", other_event_id="UUID")
    found = f"this ReplacingMergeTree table, it keeps one row for each value of its sorting key ({key.strip('()')}"
    with pytest.raises(PermanentError, match=re.escape(found)):
        check_table(table)


@pytest.mark.parametrize("engine", ["SharedReplacingMergeTree", "ReplicatedReplacingMergeTree"])
def test_so_is_one_of_a_cluster(engine: str) -> None:
    check_sorting_key("table", engine, "org, event_id")
    with pytest.raises(PermanentError, match="which lacks event_id"):
        check_sorting_key("table", engine, "org")


def test_a_table_with_a_time_zone_and_more_columns_serves_too(server: clickhouse.ClickHouse) -> None:
    check_table(make_table(server, f"MergeTree {SORTED}", emission_time="DateTime64(6, 'UTC')", more="Int8"))


@pytest.mark.parametrize(("name", "kind"), [("emission_time", "DateTime64(3)"), ("event_id", "String")])
def test_a_column_of_another_type_is_refused(server: clickhouse.ClickHouse, name: str, kind: str) -> None:
    """Cut times would not be found again."""
    table = make_table(server, f"MergeTree {SORTED}", **{name: kind})
    with pytest.raises(PermanentError, match=re.escape(f"the column {name} has the type {kind}, and")):
        check_table(table)


@pytest.mark.parametrize(
    "engine",
    [
        "Null",
        "Memory",
        "Log",
        "TinyLog",
        "StripeLog",
        "Buffer('openedx', 'xapi_events_all', 1, 10, 100, 10, 100, 1000, 10000)",
        "File(JSONEachRow)",
        "URL('http://127.0.0.1:1/', JSONEachRow)",
        f"SummingMergeTree {SORTED}",
        f"AggregatingMergeTree {SORTED}",
    ],
)
def test_a_table_that_does_not_keep_each_row_is_refused(server: clickhouse.ClickHouse, engine: str) -> None:
    table = make_table(server, engine)
    name = re.split(r"\W", engine)[0]
    with pytest.raises(PermanentError, match=f": its engine {name} does not keep each row "):
        check_table(table)


@pytest.mark.parametrize(
    ("kind", "engine"), [("VIEW", "View"), ("MATERIALIZED VIEW", "MaterializedView")], ids=["view", "materialized"]
)
def test_a_view_is_refused(server: clickhouse.ClickHouse, kind: str, engine: str) -> None:
    to = "TO openedx.xapi_events_all_parsed" if kind.startswith("M") else ""
    server.query(f"CREATE {kind} openedx.mine {to} AS SELECT event_id, emission_time FROM openedx.xapi_events_all")
    with pytest.raises(PermanentError, match=f": its engine {engine} "):
        check_table(mine(server))


@pytest.mark.parametrize(
    "engine",
    [
        "SharedReplacingMergeTree",
        "SharedMergeTree",
        "ReplicatedReplacingMergeTree",
        "ReplicatedMergeTree",
        "Distributed",
    ],
)
def test_tables_of_clusters_and_of_the_cloud_serve(engine: str) -> None:
    check_engine("table", engine)


@pytest.mark.parametrize("engine", ["Kafka", "ReplicatedSummingMergeTree", "MergeTreeish", "Merge", "Dictionary"])
def test_other_engines_do_not(engine: str) -> None:
    with pytest.raises(PermanentError):
        check_engine("table", engine)


def test_a_run_a_check_and_a_comparison_say_so_before_anything_is_sent(
    site: ForkedSite, aspects_clickhouse: clickhouse.ClickHouse, server: clickhouse.ClickHouse
) -> None:
    make_table(server, "Null")
    site.log(Mix(good=5))
    server.set_faults()
    target = server.destination() | {"clickhouse_table": "mine"}
    for command in ("run", "check", "gaps"):
        ran = site.run(target, site.source(), command=command)
        assert ran.status == 1, ran.detail
        assert "its engine Null does not keep each row" in " ".join(ran.detail.split())
    # The question whether this user may insert has no rows.
    assert not [request for request in server.requests() if "JSONEachRow" in request["sql"]]
