"""Delivery to ClickHouse: the real engine with Aspects' own tables, its answers, and what breaks on the way."""

from __future__ import annotations

import base64
import json
import os
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness import clickhouse
from tests.harness.clickhouse import Fault
from tutor_transform_logs.lms_job.deliver import clickhouse as delivery
from tutor_transform_logs.lms_job.deliver.clickhouse import ClickHouse, Table
from tutor_transform_logs.lms_job.deliver.clickhouse_answers import Verdict, classify
from tutor_transform_logs.lms_job.deliver.clickhouse_rows import (
    RowKey,
    group_rows,
    lookup_sql,
    make_row,
    parse_lookup,
    row_key,
    time_ranges,
)
from tutor_transform_logs.lms_job.model.delivery import Outcome, OutgoingStatement, SourcedStatement
from tutor_transform_logs.lms_job.model.records import Event, Line, Statement
from tutor_transform_logs.lms_job.util import backoff
from tutor_transform_logs.lms_job.util.errors import PermanentError, Unavailable

START = datetime(2025, 3, 1, 8, 0, tzinfo=timezone.utc)
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
DAY = timedelta(days=1)


def statement(number: int, when: datetime | str, **more: object) -> OutgoingStatement:
    """One like ERB's, as text with its spaces."""
    at = when if isinstance(when, str) else when.isoformat()
    fields = {"id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{number} {at}")), "verb": {"id": "x"}, "timestamp": at, **more}
    body = json.dumps({**fields, "text": 'ünï "quoted" \\ \n'}).encode()
    made = SourcedStatement(Statement(str(fields["id"]), body), Event("x", {}), Line(0, 1, number, b""))
    return OutgoingStatement(made, body)


def statements(count: int, step: timedelta = timedelta(seconds=7, microseconds=13)) -> list[OutgoingStatement]:
    return [statement(number, START + number * step) for number in range(count)]


def sums(outcome: Outcome) -> tuple[int, int, int]:
    return outcome.stored, outcome.duplicates, len(outcome.rejected)


@pytest.fixture
def server(aspects_clickhouse: clickhouse.ClickHouse, monkeypatch: pytest.MonkeyPatch) -> clickhouse.ClickHouse:
    delays = backoff.delays
    monkeypatch.setattr(backoff, "delays", lambda max_wait_secs: delays(max_wait_secs, first=0.02))
    return aspects_clickhouse


def destination(
    server: clickhouse.ClickHouse,
    *,
    user: str = "ch_vector",
    password: str | None = None,
    database: str = "openedx",
    table: str = "xapi_events_all",
    max_wait_secs: float = 5,
    timeout_secs: float = 30,
) -> ClickHouse:
    key = server.password(user) if password is None else password
    return ClickHouse(Table(server.url, database, table, user, key), timeout_secs, max_wait_secs, 2**24)


def stored(server: clickhouse.ClickHouse, table: str = "openedx.xapi_events_all") -> list[list[str]]:
    return server.query(
        f"SELECT event_id, toUnixTimestamp64Micro(emission_time), base64Encode(event) FROM {table} ORDER BY 2, 1"
    )


def inserts(server: clickhouse.ClickHouse) -> int:
    return sum(request["sql"].startswith("INSERT") for request in server.requests())


# Real rows


def test_rows_are_stored_as_vector_stores_them_live(server: clickhouse.ClickHouse) -> None:
    batch = statements(50)
    assert sums(destination(server).deliver("batch", batch)) == (50, 0, 0)
    expected = [
        [sent.id, str((START + number * timedelta(seconds=7, microseconds=13) - EPOCH) // timedelta(microseconds=1))]
        for number, sent in enumerate(batch)
    ]
    found = stored(server)
    assert [row[:2] for row in found] == expected
    assert [base64.b64decode(row[2]) for row in found] == [sent.body for sent in batch]


def test_what_the_table_has_is_not_inserted_again(server: clickhouse.ClickHouse) -> None:
    """The sums of a SummingMergeTree stay what they were."""
    first, both = statements(2500), statements(4000)
    target = destination(server)
    assert sums(target.deliver("a", first)) == (2500, 0, 0)
    assert sums(target.deliver("b", both)) == (1500, 2500, 0)
    server.set_faults()
    assert sums(destination(server).deliver("a", both)) == (0, 4000, 0)
    assert inserts(server) == 0
    assert (server.count(), server.daily_sum()) == (4000, 4000)


@pytest.fixture
def deduplicating(server: clickhouse.ClickHouse) -> Iterator[str]:
    """A table that drops repeated blocks, as each replicated one does; those need a Keeper, which chDB has not."""
    server.query(
        "CREATE TABLE openedx.deduplicating AS openedx.xapi_events_all ENGINE = ReplacingMergeTree "
        "ORDER BY (emission_time, event_id) SETTINGS non_replicated_deduplication_window = 100"
    )
    yield "openedx.deduplicating"
    server.query("DROP TABLE openedx.deduplicating")


def test_rows_that_were_deleted_are_stored_again(server: clickhouse.ClickHouse, deduplicating: str) -> None:
    """ClickHouse would take them for a repetition of the first insert, drop them, and answer 200."""
    batch = statements(50)
    for _ in range(2):
        assert sums(destination(server, table="deduplicating").deliver("batch", batch)) == (50, 0, 0)
        assert server.count(deduplicating) == 50
        server.delete("1", deduplicating)


def tokens(server: clickhouse.ClickHouse) -> list[str]:
    found = (parse_qs(request["path"].partition("?")[2]) for request in server.requests())
    return [query["insert_deduplication_token"][0] for query in found if "insert_deduplication_token" in query]


def test_only_a_repeated_insert_of_the_same_rows_has_the_same_token(server: clickhouse.ClickHouse) -> None:
    """A replica that has not caught up does not have them yet at the look-up; ClickHouse itself tells them then."""
    target, [first, *others] = destination(server), statements(20)
    server.set_faults(Fault("answer_only", status=500, times=2))
    assert sums(target.deliver("batch", others)) == (19, 0, 0)
    [first_try, second_try, third_try] = tokens(server)
    assert first_try == second_try == third_try
    server.set_faults(Fault("cut_body"))
    server.delete("1")
    assert sums(target.deliver("batch", others)) == (19, 0, 0)
    assert len({first_try, *tokens(server)}) == 3
    server.set_faults()
    assert sums(target.deliver("batch", [first])) == (1, 0, 0)
    assert len({first_try, *tokens(server)}) == 2


def test_an_insert_waits_until_everything_is_stored(server: clickhouse.ClickHouse) -> None:
    """Behind a Distributed table, too. (chDB has no clusters: what goes out is looked at.)"""
    server.set_faults()
    destination(server).deliver("batch", statements(2))
    [insert] = [request["path"] for request in server.requests() if "insert_deduplication_token" in request["path"]]
    sent = parse_qs(insert.partition("?")[2])
    assert (sent["async_insert"], sent["insert_distributed_sync"]) == (["0"], ["1"])


def test_a_live_row_of_vector_is_known_again(server: clickhouse.ClickHouse) -> None:
    """Vector writes the time with an offset and the JSON with its keys sorted."""
    [mine, other] = statements(2)
    fields = json.loads(mine.body)
    row = {"event_id": fields["id"], "emission_time": fields["timestamp"], "event": json.dumps(fields, sort_keys=True)}
    server.query(
        "INSERT INTO openedx.xapi_events_all SETTINGS date_time_input_format='best_effort' FORMAT JSONEachRow\n"
        + json.dumps(row)
    )
    assert sums(destination(server).deliver("batch", [mine, other])) == (1, 1, 0)
    assert server.count() == 2


def test_equal_rows_of_a_batch_are_one_row(server: clickhouse.ClickHouse) -> None:
    [one, two] = statements(2)
    assert sums(destination(server).deliver("batch", [one, two, one, one])) == (2, 2, 0)
    assert server.count() == 2


def test_the_same_id_at_another_time_is_another_row(server: clickhouse.ClickHouse) -> None:
    [one] = statements(1)
    later = statement(0, START + DAY, id=one.id)
    assert sums(destination(server).deliver("batch", [one, later])) == (2, 0, 0)


def test_ten_years_go_into_the_partitioned_table(server: clickhouse.ClickHouse) -> None:
    """One insert of 120 months would be refused: 100 partitions are allowed."""
    batch = statements(240, timedelta(days=15, microseconds=1))
    target = destination(server, user="ch_lrs", database="xapi")
    assert sums(target.deliver("batch", batch)) == (240, 0, 0)
    assert inserts(server) >= 10
    assert sums(target.deliver("batch", batch)) == (0, 240, 0)
    assert server.count("xapi.xapi_events_all") == 240


def test_the_servers_limit_of_partitions_may_be_lower(server: clickhouse.ClickHouse) -> None:
    text = "Too many partitions for single INSERT block (more than 2). (TOO_MANY_PARTS)"
    server.set_faults(Fault.exception(252, text), Fault.exception(252, text))
    assert sums(destination(server).deliver("batch", statements(8, 20 * DAY))) == (8, 0, 0)
    assert server.count() == 8


def test_a_row_that_the_table_can_not_hold_is_rejected_alone(server: clickhouse.ClickHouse) -> None:
    bad = [
        statement(1, START, id="not-a-uuid"),
        statement(2, "last Tuesday"),
        statement(3, "1815-12-10T00:00:00+00:00"),
    ]
    outcome = destination(server).deliver("batch", [*bad, *statements(5)])
    assert sums(outcome) == (5, 0, 3)
    assert [rejection.reason for rejection in outcome.rejected] == ["invalid_statement"] * 3
    assert "not a UUID: 'not-a-uuid'" in outcome.rejected[0].detail
    assert "not a time" in outcome.rejected[1].detail
    assert "1815" in outcome.rejected[2].detail


def test_a_row_that_a_constraint_refuses_is_found_by_halving(server: clickhouse.ClickHouse) -> None:
    server.query("ALTER TABLE openedx.xapi_events_all ADD CONSTRAINT t CHECK NOT has(['13'], JSON_VALUE(event, '$.n'))")
    try:
        batch = [statement(number, START + number * DAY, n=str(number)) for number in range(40)]
        outcome = destination(server).deliver("batch", batch)
    finally:
        server.query("ALTER TABLE openedx.xapi_events_all DROP CONSTRAINT t")
    assert sums(outcome) == (39, 0, 1)
    assert outcome.rejected[0].statement is batch[13]
    assert "Constraint" in outcome.rejected[0].detail
    assert (server.count(), server.daily_sum()) == (39, 39)


# What breaks on the way


@pytest.mark.parametrize(
    "fault",
    [
        Fault("answer", status=500, text="<html><title>Oops</title></html>"),
        Fault("answer", status=504, text="upstream timed out"),
        Fault("no_answer"),
        Fault("cut_body", store=True),
        Fault("cut_body", store=False),
        Fault.exception(202, "Too many simultaneous queries"),
        Fault.exception(241, "Memory limit (total) exceeded"),
        Fault.exception(252, "Too many parts (3000). Merges are processing significantly slower than inserts"),
        Fault.exception(159, "Timeout exceeded", status=408),
        Fault("answer_only", status=200, text="Code: 241. DB::Exception: Memory limit exceeded"),
        Fault("answer", status=200, text="Code: 252. DB::Exception: Too many parts (3000)"),
        Fault.exception(242, "Table is in readonly mode"),
        Fault.exception(243, "Cannot reserve 1.00 MiB, not enough space"),
        Fault.exception(27, "Cannot parse input", status=400),
        Fault("answer_only", status=413, text="<html>Request Entity Too Large</html>"),
        Fault("answer_only", status=429, headers={"Retry-After": "0"}),
        Fault("answer_only", status=503),
        Fault("answer_only", on="SELECT", status=502),
        Fault("no_answer", on="SELECT"),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.on}-{fault.status}-{fault.headers.get('X-ClickHouse-Exception-Code', '')}",
)
@pytest.mark.parametrize("times", [1, 3])
def test_no_row_is_lost_and_none_is_stored_twice(server: clickhouse.ClickHouse, fault: Fault, times: int) -> None:
    batch = statements(60)
    server.set_faults(*[replace(fault, times=1) for _ in range(times)])
    assert sums(destination(server).deliver("batch", batch)) == (60, 0, 0)
    assert (server.count(), server.daily_sum()) == (60, 60)


def test_an_insert_that_runs_on_is_waited_for(server: clickhouse.ClickHouse) -> None:
    """A proxy gives up, the insert does not: the look-up after it has to wait for its end."""
    server.set_faults(Fault("runs_on", status=504, secs=0.6))
    assert sums(destination(server).deliver("batch", statements(60))) == (60, 0, 0)
    assert (server.count(), inserts(server)) == (60, 1)


def test_an_insert_that_a_killed_job_left_behind_is_waited_for(server: clickhouse.ClickHouse) -> None:
    """Another process delivers the same batch while the insert of the first one still runs."""
    server.set_faults(Fault("runs_on", status=504, secs=0.8))
    with pytest.raises(Unavailable):
        destination(server, max_wait_secs=0).deliver("batch", statements(60))
    assert sums(destination(server).deliver("batch", statements(60))) == (0, 60, 0)
    assert (server.count(), inserts(server)) == (60, 1)


def test_a_time_out_is_not_a_failure(server: clickhouse.ClickHouse) -> None:
    server.set_faults(Fault("answer", secs=1.5))
    assert sums(destination(server, timeout_secs=0.5).deliver("batch", statements(60))) == (60, 0, 0)
    assert (server.count(), inserts(server)) == (60, 1)


def test_a_server_that_is_restarted_is_waited_for(server: clickhouse.ClickHouse) -> None:
    target = destination(server, max_wait_secs=30)
    target.deliver("first", statements(30))
    server.stop()
    with ThreadPoolExecutor(1) as pool:
        delivered = pool.submit(target.deliver, "second", statements(60))
        server.start()
        outcome = delivered.result(timeout=60)
    assert sums(outcome) == (30, 30, 0)


def test_workers_that_have_the_same_rows_store_them_once(server: clickhouse.ClickHouse) -> None:
    with ProcessPoolExecutor(4, get_context("spawn")) as pool:
        outcomes = list(pool.map(deliver_in_a_process, [(server.url, server.password("ch_vector"))] * 4))
    assert (server.count(), server.daily_sum()) == (2000, 2000)
    assert sum(outcome[0] for outcome in outcomes) == 2000
    assert sum(outcome[1] for outcome in outcomes) == 6000


def deliver_in_a_process(where: tuple[str, str]) -> tuple[int, int, int]:
    """What a worker of the job does, in batches."""
    url, password = where
    target = ClickHouse(Table(url, "openedx", "xapi_events_all", "ch_vector", password), 30, 30, 2**24)
    batch = statements(2000)
    results = [sums(target.deliver(f"batch-{n}-{os.getpid()}", batch[n : n + 200])) for n in range(0, 2000, 200)]
    stored_rows, duplicates, rejected = (sum(column) for column in zip(*results, strict=True))
    return stored_rows, duplicates, rejected


def test_a_row_that_arrives_live_after_the_look_up_is_there_twice(server: clickhouse.ClickHouse) -> None:
    """The race that is left, as the module's docstring says."""
    [mine] = statements(1)
    live = make_row(mine).json.decode()
    insert = "INSERT INTO openedx.xapi_events_all SETTINGS date_time_input_format='best_effort' FORMAT JSONEachRow\n"
    server.set_faults(Fault("answer", sql=insert + live))
    assert sums(destination(server).deliver("batch", [mine])) == (1, 0, 0)
    assert server.count() == 2
    server.query("SYSTEM START MERGES openedx.xapi_events_all")
    server.query("OPTIMIZE TABLE openedx.xapi_events_all FINAL")
    assert server.count() == 1


def test_it_is_unavailable_when_it_stays_away(server: clickhouse.ClickHouse) -> None:
    server.set_faults(Fault.exception(252, "Too many parts (3000)", times=99))
    with pytest.raises(Unavailable, match=r"too many parts: ClickHouse merges.* Run again to resume\."):
        destination(server, max_wait_secs=0.2).deliver("batch", statements(3))
    assert server.count() == 0


# What no other try can help


def refused(target: ClickHouse) -> str:
    with pytest.raises(PermanentError) as caught:
        target.deliver("batch", statements(3))
    with pytest.raises(PermanentError) as asked:
        target.probe()
    assert str(asked.value) == str(caught.value)
    return str(caught.value)


def test_a_wrong_password(server: clickhouse.ClickHouse) -> None:
    message = refused(destination(server, password="wrong-s3cr$t"))
    assert "Authentication failed" in message
    assert "TRANSFORM_LOGS_CLICKHOUSE_PASSWORD" in message
    assert "wrong-s3cr$t" not in message


def test_a_missing_table(server: clickhouse.ClickHouse) -> None:
    assert "TRANSFORM_LOGS_CLICKHOUSE_TABLE" in refused(destination(server, table="xapi_events"))


def test_a_missing_database(server: clickhouse.ClickHouse) -> None:
    target = destination(server, user="default", database="open_edx")
    assert "TRANSFORM_LOGS_CLICKHOUSE_DATABASE" in refused(target)


def test_a_missing_privilege(server: clickhouse.ClickHouse) -> None:
    """Aspects gives Ralph's user nothing on Vector's database, and the other way round."""
    message = refused(destination(server, user="ch_lrs"))
    assert "Not enough privileges" in message
    assert "INSERT and SELECT on this table" in message


def test_a_user_who_may_only_read(server: clickhouse.ClickHouse) -> None:
    assert "grant INSERT ON openedx.xapi_events_all" in refused(destination(server, user="ch_report"))
    assert server.count() == 0


def test_the_port_of_something_else(server: clickhouse.ClickHouse) -> None:
    html = Fault("answer_only", on="SELECT", status=200, text="<html>Welcome</html>", times=2)
    server.set_faults(html)
    assert "not as ClickHouse does" in refused(destination(server))
    server.set_faults(Fault("answer_only", on="SELECT", status=301, headers={"Location": "https://x.org/"}, times=2))
    said = "redirects to https://x.org/. If that is where ClickHouse is, set that URL instead."
    assert said in refused(destination(server))


def test_a_port_that_speaks_no_tls(server: clickhouse.ClickHouse) -> None:
    table = Table(server.url.replace("http:", "https:"), "openedx", "xapi_events_all")
    message = refused(ClickHouse(table, 30, 5, 2**24))
    assert ": this port speaks no TLS (SSLError: " in message
    assert "certificate" not in message


@pytest.mark.parametrize("kind", ["answer_only", "answer"])
def test_an_insert_that_is_answered_with_a_page_does_not_count(server: clickhouse.ClickHouse, kind: str) -> None:
    """As by a proxy that wants a login: nobody knows whether the rows are stored, and the next run looks them up."""
    batch = statements(60)
    page = Fault(kind, status=200, text="<html>Log in</html>")
    server.set_faults(page)
    with pytest.raises(PermanentError, match=r"not as ClickHouse does\. Check TRANSFORM_LOGS_CLICKHOUSE_URL "):
        destination(server).probe()
    server.set_faults(page)
    with pytest.raises(PermanentError, match="not as ClickHouse does"):
        destination(server).deliver("batch", batch)
    was_stored = 60 if kind == "answer" else 0
    assert server.count() == was_stored
    assert sums(destination(server).deliver("batch", batch)) == (60 - was_stored, was_stored, 0)
    assert server.count() == 60


def test_a_check_changes_nothing(server: clickhouse.ClickHouse) -> None:
    assert destination(server).probe() == "answers, and this user may read and write the table"
    assert server.count() == 0


def test_a_proxy_that_repeats_the_headers_does_not_show_the_password(server: clickhouse.ClickHouse) -> None:
    password = server.password("ch_vector")
    encoded = base64.b64encode(f"ch_vector:{password}".encode()).decode()
    for text in (f"x Basic {encoded} y", f"{'-' * 280} {password} y"):
        server.set_faults(Fault("answer_only", on="SELECT", status=502, text=text))
        with pytest.raises(Unavailable) as caught:
            destination(server, max_wait_secs=0).probe()
        message = str(caught.value)
        assert not [form for form in (encoded, password, password[:8]) if form in message]


def test_the_password_is_in_no_url(server: clickhouse.ClickHouse) -> None:
    destination(server).deliver("batch", statements(3))
    assert server.requests()
    assert not [request for request in server.requests() if server.password("ch_vector") in json.dumps(request)]


# Pure functions

moments = st.datetimes(datetime(1900, 1, 1), datetime(2299, 12, 31), timezones=st.just(timezone.utc))


@given(st.lists(moments, max_size=60), st.integers(1, 5), st.integers(200, 2000))
def test_groups_hold_every_row_once_within_the_limits(times: list[datetime], months: int, size: int) -> None:
    rows = [make_row(statement(number, when)) for number, when in enumerate(times)]
    groups = list(group_rows(rows, months, size))
    assert [row for group in groups for row in group] == sorted(rows, key=lambda row: row.key)
    for group in groups:
        assert len({row.month for row in group}) <= months
        assert len(group) == 1 or sum(len(row.json) + 1 for row in group) <= size + 1


@given(moments, st.integers(-14, 14))
def test_a_row_has_the_moment_in_utc_to_the_microsecond(when: datetime, hours: int) -> None:
    local = when.astimezone(timezone(timedelta(hours=hours))) if 1900 < when.year < 2299 else when
    one = statement(1, local)
    row = make_row(one)
    fields = json.loads(row.json)
    assert datetime.fromisoformat(fields["emission_time"].replace("Z", "+00:00")) == when
    assert row.key == ((when - EPOCH) // timedelta(microseconds=1), one.id)
    assert fields["event"].encode() == one.body
    assert b"\n" not in row.json
    # The fast path knows the time, and need not parse it.
    assert row_key(one.made.statement._replace(timestamp=local)) == row.key


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=50), st.integers(1, 10**5))
def test_ranges_cover_all_times_and_no_long_gap(times: list[int], gap: int) -> None:
    keys = [RowKey(time, "") for time in sorted(times)]
    ranges = time_ranges(keys, gap)
    assert all(any(first <= key.micros <= last for first, last in ranges) for key in keys)
    assert all(after[0] - before[1] > gap for before, after in pairwise(ranges))
    assert {end for pair in ranges for end in pair} <= set(times)


def test_a_look_up_stays_within_the_length_of_a_query() -> None:
    keys = [RowKey(number * 10**12, str(uuid.uuid4())) for number in range(delivery.LOOKUP_IDS)]
    assert len(lookup_sql("openedx.xapi_events_all", keys)) <= 262_144


def test_an_answer_to_a_look_up_is_read_or_refused() -> None:
    assert parse_lookup(b"event_id\tmicros\nabc\t12\n") == {RowKey(12, "abc")}
    assert parse_lookup(b"event_id\tmicros\n") == set()
    for content in (b"", b"<html>", b"event_id\tmicros\nabc", b"\xff"):
        with pytest.raises(ValueError, match=r"\w"):
            parse_lookup(content)


@pytest.mark.parametrize(
    ("codes", "verdict"),
    [
        ((202, 159, 209, 210, 216, 242, 243, 252, 319, 3, 33, 999), Verdict.RETRY),
        ((241,), Verdict.SMALLER),
        ((27, 117, 26, 41, 6, 72, 469), Verdict.ROW),
        ((516, 193, 60, 81, 16, 47, 497, 164, 115, 452), Verdict.STOP),
    ],
)
def test_exception_codes(codes: Sequence[int], verdict: Verdict) -> None:
    """Whatever the status: it has changed between versions."""
    for code in codes:
        for status in (400, 403, 404, 500, 503, 200):
            assert classify(status, str(code), f"Code: {code}. DB::Exception: text").verdict is verdict
            assert classify(status, "", f"Code: {code}. DB::Exception: text").verdict is verdict
        if verdict is Verdict.STOP:
            assert classify(500, str(code), "").advice.endswith(".")


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.OK),
        (400, Verdict.STOP),
        (401, Verdict.STOP),
        (403, Verdict.STOP),
        (404, Verdict.STOP),
        (408, Verdict.RETRY),
        (413, Verdict.SPLIT),
        (429, Verdict.RETRY),
        (500, Verdict.RETRY),
        (502, Verdict.RETRY),
        (504, Verdict.RETRY),
    ],
)
def test_statuses_of_a_proxy(status: int, verdict: Verdict) -> None:
    answer = classify(status, "", "<html><style>p {}</style><h1>It's\n me</h1></html>")
    assert answer.verdict is verdict
    if verdict is not Verdict.OK:
        assert answer.detail == f"{status}: It's me"


@given(st.integers(100, 599), st.text(max_size=6), st.text(max_size=300))
def test_every_answer_has_a_meaning(status: int, header: str, text: str) -> None:
    answer = classify(status, header, text)
    assert (answer.verdict is Verdict.STOP) == bool(answer.advice)
    assert answer.verdict is Verdict.OK or answer.detail


def test_the_id_does_not_depend_on_the_user(tmp_path: Path) -> None:
    first, second = (
        ClickHouse(Table(url, "openedx", "xapi_events_all", user), 1, 1, 1)
        for url, user in (("http://h:8123", "a"), ("http://h:8123/", "b"))
    )
    assert first.id == second.id
    assert first.name == "http://h:8123 openedx.xapi_events_all"
