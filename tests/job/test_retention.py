"""What ``--check`` and PLAN say of the table in ClickHouse: the real engine, with views as Aspects has them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone

import pytest

from tests.harness import clickhouse
from tutor_transform_logs.lms_job.check.retention import (
    Ages,
    TableFacts,
    describe_facts,
    describe_loss,
    describe_retention,
    read_facts,
)
from tutor_transform_logs.lms_job.deliver.clickhouse import ClickHouse, Table

TABLE = "openedx.xapi_events_all"
PARSED = "openedx.xapi_events_all_parsed"
PER_DAY = "openedx.events_per_day"


@pytest.fixture
def server(aspects_clickhouse: clickhouse.ClickHouse) -> Iterator[clickhouse.ClickHouse]:
    aspects_clickhouse.query(f"ALTER TABLE {PARSED} MODIFY TTL toDateTime(emission_time) + INTERVAL 1 YEAR")
    yield aspects_clickhouse
    for name in ("second_mv", "second"):
        aspects_clickhouse.query(f"DROP TABLE IF EXISTS openedx.{name}")


def facts_of(server: clickhouse.ClickHouse, database: str = "openedx", user: str = "ch_vector") -> TableFacts:
    table = Table(server.url, database, "xapi_events_all", user, server.password(user))
    return read_facts(ClickHouse(table, 30, 0, 2**24))


def of_table(server: clickhouse.ClickHouse, name: str) -> ClickHouse:
    return ClickHouse(Table(server.url, "openedx", name, "ch_vector", server.password("ch_vector")), 30, 0, 2**24)


def days_ago(days: int) -> date:
    return (datetime.now(timezone.utc) - timedelta(days=days)).date()


def test_the_table_and_what_is_fed_from_it(server: clickhouse.ClickHouse) -> None:
    server.query(f"INSERT INTO {TABLE} SELECT generateUUIDv4(), now64(6), '{{}}' FROM numbers(3)")
    facts = facts_of(server)
    assert (facts.engine, facts.rows) == ("ReplacingMergeTree", 3)
    assert (facts.fed, facts.limited) == ((PER_DAY, PARSED), (PARSED,))
    assert facts.kept_from is not None
    assert abs(facts.kept_from - days_ago(365)) <= timedelta(days=2)
    assert describe_facts(TABLE, facts) == f"{TABLE}: ReplacingMergeTree, 3 rows; views fill 2 tables from it"


@pytest.mark.parametrize(
    "expression", ["toDateTime(emission_time) + INTERVAL 30 DAY", "toDate(emission_time) + toIntervalDay(30) DELETE"]
)
def test_the_retention_is_read_from_the_table_itself(server: clickhouse.ClickHouse, expression: str) -> None:
    server.query(f"ALTER TABLE {PARSED} MODIFY TTL {expression}")
    kept_from = facts_of(server).kept_from
    assert kept_from is not None
    assert abs(kept_from - days_ago(30)) <= timedelta(days=1)


def test_tables_that_keep_everything_or_by_another_column_say_nothing(server: clickhouse.ClickHouse) -> None:
    server.query(f"ALTER TABLE {PARSED} REMOVE TTL")
    assert facts_of(server).kept_from is None


def test_views_of_views_are_found(server: clickhouse.ClickHouse) -> None:
    server.query(
        "CREATE TABLE openedx.second (emission_time DateTime64(6)) ENGINE = MergeTree ORDER BY emission_time "
        "TTL toDateTime(emission_time) + INTERVAL 10 DAY SETTINGS index_granularity = 4096"
    )
    server.query(f"CREATE MATERIALIZED VIEW openedx.second_mv TO openedx.second AS SELECT emission_time FROM {PARSED}")
    facts = facts_of(server)
    assert "openedx.second" in facts.limited
    assert facts.kept_from is not None
    assert abs(facts.kept_from - days_ago(10)) <= timedelta(days=1)


def test_a_table_that_drops_rows_itself(server: clickhouse.ClickHouse) -> None:
    server.query(
        "CREATE TABLE openedx.second AS openedx.xapi_events_all ENGINE = ReplacingMergeTree "
        "ORDER BY (emission_time, event_id) TTL toDateTime(emission_time) + INTERVAL 90 DAY"
    )
    facts = read_facts(of_table(server, "second"))
    assert facts.own_kept_from is not None
    assert abs(facts.own_kept_from - days_ago(90)) <= timedelta(days=1)
    assert (facts.fed, facts.kept_from) == ((), None)
    assert describe_loss("a.b", date(2025, 1, 2), Ages(4, 1)) == (
        "About 25 % of the events are from before 2025-01-02, the first day that a.b itself keeps: ClickHouse drops "
        "them, and every run that reads them inserts them again. --since 2025-01-02 leaves them out."
    )
    assert describe_loss("a.b", date(2025, 1, 2), Ages(4, 0)) == ""


def test_a_table_without_views(server: clickhouse.ClickHouse) -> None:
    facts = facts_of(server, "xapi", "ch_lrs")
    assert (facts.fed, facts.kept_from) == ((), None)
    assert describe_retention("xapi.xapi_events_all", facts, Ages(10, 10)) == ""


FACTS = TableFacts("ReplacingMergeTree", 1, (PARSED, "openedx.b"), (PARSED, "openedx.b"), date(2024, 11, 25))


def test_the_share_that_reaches_no_chart_is_said_with_what_to_do() -> None:
    assert describe_retention(TABLE, FACTS, Ages(100, 61)) == (
        "About 61 % of the events are from before 2024-11-25, the first day that Aspects keeps for its charts "
        "(openedx.xapi_events_all_parsed and 1 other table): they reach openedx.xapi_events_all and no chart. "
        "--since 2024-11-25 leaves them out; ASPECTS_DATA_TTL_EXPRESSION changes how long Aspects keeps them."
    )
    assert describe_retention(TABLE, FACTS, Ages(1000, 3)).startswith("Less than 1 % of")
    assert describe_retention(TABLE, FACTS, Ages(3, 3)).startswith("All of")


def test_nothing_is_said_where_all_reach_the_charts() -> None:
    assert describe_retention(TABLE, FACTS, Ages(100, 0)) == ""
    assert describe_retention(TABLE, FACTS, Ages(0, 0)) == ""
