"""VERIFY's search in ClickHouse: the real engine with Aspects' own table."""

from __future__ import annotations

import base64
import json
import uuid
from datetime import datetime, timedelta, timezone

import pytest

from tests.harness import clickhouse
from tests.harness.clickhouse import Fault
from tutor_transform_logs.lms_job.deliver.clickhouse import ClickHouse, Table
from tutor_transform_logs.lms_job.model.delivery import Held, OutgoingStatement, SourcedStatement
from tutor_transform_logs.lms_job.model.records import Event, Line, Statement
from tutor_transform_logs.lms_job.util.errors import PermanentError
from tutor_transform_logs.lms_job.verify.table_search import TableSearch

START = datetime(2025, 3, 1, 8, 0, tzinfo=timezone.utc)
TABLE = "openedx.xapi_events_all"


def statement(number: int, when: datetime, text: str = 'ünï "quoted" \\ \n') -> OutgoingStatement:
    name = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{number} {when}"))
    body = json.dumps({"actor": {"objectType": "Agent"}, "id": name, "timestamp": when.isoformat(), "text": text})
    made = SourcedStatement(Statement(name, body.encode()), Event("x", {}), Line(0, 1, number, b""))
    return OutgoingStatement(made, body.encode())


def insert(server: clickhouse.ClickHouse, sent: OutgoingStatement, event: str) -> None:
    """A row that something else stored."""
    when = json.loads(sent.body)["timestamp"][:-6]
    encoded = base64.b64encode(event.encode()).decode()
    server.query(
        f"INSERT INTO {TABLE} SELECT toUUID('{sent.id}'), toDateTime64('{when}', 6, 'UTC'), base64Decode('{encoded}')"
    )


@pytest.fixture
def server(aspects_clickhouse: clickhouse.ClickHouse) -> clickhouse.ClickHouse:
    """Its shorter name here."""
    return aspects_clickhouse


def destination(server: clickhouse.ClickHouse) -> ClickHouse:
    table = Table(server.url, "openedx", "xapi_events_all", "ch_vector", server.password("ch_vector"))
    return ClickHouse(table, 30, 0, 2**24)


def test_what_was_delivered_is_found_with_one_query(server: clickhouse.ClickHouse) -> None:
    batch = [statement(number, START + number * timedelta(hours=3)) for number in range(1000)]
    destination(server).deliver("batch", batch)
    server.set_faults()
    search = TableSearch(destination(server))
    assert search.held(batch) == [Held.SAME] * 1000
    assert (search.requests, len(search.surplus_rows), len(server.requests())) == (1, 0, 1)


def test_missing_changed_and_doubled_rows_are_told_apart(server: clickhouse.ClickHouse) -> None:
    sent = [statement(number, START + number * timedelta(seconds=1, microseconds=7)) for number in range(6)]
    server.query(f"SYSTEM STOP MERGES {TABLE}")
    insert(server, sent[0], sent[0].body.decode())
    insert(server, sent[1], json.dumps(json.loads(sent[1].body), ensure_ascii=False, separators=(",", ":")))
    insert(server, sent[2], json.dumps({**json.loads(sent[2].body), "text": "another"}))
    insert(server, sent[3], "no JSON \ud7ff\t\n")
    insert(server, sent[4], sent[4].body.decode())
    insert(server, sent[4], sent[4].body.decode())
    search = TableSearch(destination(server))
    kinds = [Held.SAME, Held.SAME, Held.DIFFERENT, Held.DIFFERENT, Held.SAME, Held.NOTHING]
    assert search.held(sent) == kinds
    assert (search.requests, len(search.surplus_rows)) == (2, 1)


def test_the_same_id_at_another_time_is_another_statement(server: clickhouse.ClickHouse) -> None:
    sent = statement(1, START)
    later = {**json.loads(sent.body), "timestamp": (START + timedelta(microseconds=1)).isoformat()}
    insert(server, OutgoingStatement(sent.made, json.dumps(later).encode()), json.dumps(later))
    assert TableSearch(destination(server)).held([sent]) == [Held.NOTHING]


def test_a_statement_that_the_table_has_no_place_for_is_missing(server: clickhouse.ClickHouse) -> None:
    odd = statement(1, START)
    odd = OutgoingStatement(odd.made, odd.body.replace(odd.id.encode(), b"no uuid"))
    assert TableSearch(destination(server)).held([odd]) == [Held.NOTHING]


def test_an_answer_that_is_none_of_clickhouse_stops_the_comparison(server: clickhouse.ClickHouse) -> None:
    server.set_faults(Fault("answer_only", on="SELECT", status=200, text="<html>Welcome</html>"))
    with pytest.raises(PermanentError, match="not as ClickHouse does"):
        TableSearch(destination(server)).held([statement(1, START)])
