"""Whole runs into a ClickHouse that something happens to: how they end, and that the next one completes them."""

from __future__ import annotations

import pytest

from tests.harness import tally
from tests.harness.clickhouse import ClickHouse, Fault
from tests.harness.forked_site import ForkedSite
from tests.harness.runs import check_sums
from tutor_transform_logs.demo.log_writer import Mix, write_log

GOOD = 40
TABLE = "openedx.xapi_events_all"
TWO_INSERTS = Fault(times=2)


@pytest.fixture
def sending(world: ForkedSite, aspects_clickhouse: ClickHouse) -> ForkedSite:
    """A world whose job sends 40 statements in batches of 10."""
    write_log(world.logs / "tracking.log", Mix(good=GOOD), names=["play_video"], seed=7)
    world.settings |= {**aspects_clickhouse.destination(), "batch_size": 10}
    return world


def assert_completed(world: ForkedSite, server: ClickHouse) -> None:
    """The next run stores what is missing, and nothing twice."""
    server.set_faults()
    ran = world.run()
    tally.add("faults")
    tally.same(0, ran.status, ran.detail)
    check_sums(world.result())
    assert len(set(server.ids())) == GOOD
    tally.same((GOOD, GOOD), (server.count(), server.daily_sum()), "rows, and what a view has counted")


@pytest.mark.parametrize(
    ("fault", "detail"),
    [
        (Fault("answer_only", status=503, text="<h1>Service Unavailable</h1>", times=99), "503: Service Unavailable"),
        (Fault("cut_body", times=99), "it does not answer"),
        (Fault("answer_only", on="SELECT", status=502, times=99), "502"),
        (Fault.exception(252, "Too many parts (3000)", times=99), "too many parts"),
        (Fault.exception(243, times=99), "the disk of ClickHouse is full"),
        (Fault.exception(242, times=99), "the table is read-only now"),
        (Fault.exception(202, times=99), "too many queries at the same time"),
        (Fault.exception(241, times=99), "the query needs more memory"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_outage_stops_the_run_and_the_next_resumes(
    sending: ForkedSite, aspects_clickhouse: ClickHouse, fault: Fault, detail: str
) -> None:
    aspects_clickhouse.set_faults(TWO_INSERTS, fault)
    ran = sending.run(lrs_max_wait_secs=0.3)
    assert ran.status == 4, ran.detail
    assert detail in ran.detail
    # The first look-up of all is asked before there is anything to report.
    assert "run the same command again to resume" in ran.detail or ran.detail.endswith("Run again to resume.\n")
    assert_completed(sending, aspects_clickhouse)


def test_rows_that_were_stored_before_an_error_are_found(sending: ForkedSite, aspects_clickhouse: ClickHouse) -> None:
    """Every insert is answered with 500 after its rows were stored."""
    aspects_clickhouse.set_faults(Fault("answer", status=500, text="stored all the same", times=99))
    ran = sending.run()
    assert ran.status == 0, ran.detail
    assert "trying again" in ran.stderr
    assert sending.result()["destinations"][0]["stored"] == GOOD
    tally.same((GOOD, GOOD), (aspects_clickhouse.count(), aspects_clickhouse.daily_sum()), "rows")


def test_a_table_that_goes_in_the_middle_ends_the_run(sending: ForkedSite, aspects_clickhouse: ClickHouse) -> None:
    aspects_clickhouse.set_faults(TWO_INSERTS, Fault(sql=f"RENAME TABLE {TABLE} TO openedx.gone"))
    try:
        ran = sending.run()
    finally:
        aspects_clickhouse.query(f"RENAME TABLE openedx.gone TO {TABLE}")
    assert ran.status == 1, ran.detail
    assert 'make Aspects\' tables with "tutor local do init -l aspects"' in ran.detail
    assert_completed(sending, aspects_clickhouse)


def test_a_privilege_that_is_revoked_in_the_middle_ends_the_run(
    sending: ForkedSite, aspects_clickhouse: ClickHouse
) -> None:
    aspects_clickhouse.set_faults(TWO_INSERTS, Fault.exception(497, "Not enough privileges", status=403))
    ran = sending.run()
    assert ran.status == 1, ran.detail
    assert "Give the user INSERT and SELECT on this table" in ran.detail
    assert_completed(sending, aspects_clickhouse)


def test_rejected_rows_are_dead_letters_that_can_be_sent_again(
    sending: ForkedSite, aspects_clickhouse: ClickHouse
) -> None:
    aspects_clickhouse.query(f"ALTER TABLE {TABLE} ADD CONSTRAINT no_such CHECK cityHash64(event_id) % 8 != 0")
    try:
        ran = sending.run()
    finally:
        aspects_clickhouse.query(f"ALTER TABLE {TABLE} DROP CONSTRAINT no_such")
    assert ran.status == 3, ran.detail
    letters = ran.dead_letters()
    assert letters
    assert {letter["stage"] for letter in letters} == {"deliver"}
    assert "no_such" in letters[0]["detail"]
    tally.same(GOOD - len(letters), aspects_clickhouse.count(), "rows")
    assert sending.run(retry_failed=True).status == 0
    tally.same((GOOD, GOOD), (aspects_clickhouse.count(), aspects_clickhouse.daily_sum()), "rows after the retry")
