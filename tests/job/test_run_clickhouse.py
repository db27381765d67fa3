"""Whole runs into ClickHouse: the real engine with Aspects' own tables, users and grants, counted without FINAL."""

from __future__ import annotations

import json

import pytest

from tests.harness.clickhouse import ClickHouse
from tests.harness.forked_site import ForkedSite
from tests.harness.runs import assert_accounted, assert_refused, erbs_ids
from tutor_transform_logs.demo.log_writer import Mix

MIX = Mix(good=120, page_view=40, unknown_user=2, type_error=2, broken=3, copies=4)


def assert_secret(password: str, site: ForkedSite, *texts: str) -> None:
    """Neither what was printed nor anything that the job wrote has the password."""
    written = [path for path in (site.folder / "ledger").rglob("*") if path.is_file()]
    assert written
    assert not [path for path in written if password.encode() in path.read_bytes()]
    assert not [text for text in texts if password in text]


@pytest.mark.usefixtures("lms")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_fills_the_table_once(site: ForkedSite, aspects_clickhouse: ClickHouse, workers: int) -> None:
    server = aspects_clickhouse
    log = site.log(MIX)
    target = {**server.destination(), "workers": workers, "segment_bytes": 2**16}

    run = site.run(site.source(), target)
    result = assert_accounted(run, log.xapi)
    [totals] = result["destinations"]
    assert (totals["stored"], totals["duplicates"]) == (log.xapi.distinct_statements, 4)
    lines = site.logs.joinpath("tracking.log").read_bytes().splitlines()
    assert server.ids() == sorted(erbs_ids(lines))
    assert server.count() == server.daily_sum() == log.xapi.distinct_statements
    assert_secret(server.password("ch_vector"), site, run.stdout, run.stderr, json.dumps(result))

    assert site.run(site.source(), target).stdout.startswith("Nothing new")
    again = assert_accounted(site.run(site.source(), target, restart=True), log.xapi)
    assert again["destinations"][0]["duplicates"] == log.xapi.statements
    assert server.count() == server.daily_sum() == log.xapi.distinct_statements


@pytest.mark.parametrize(("user", "database"), [("ch_vector", "openedx"), ("ch_lrs", "xapi")])
def test_each_of_aspects_users_writes_to_its_own_database(
    site: ForkedSite, aspects_clickhouse: ClickHouse, user: str, database: str
) -> None:
    log = site.log(MIX)
    target = aspects_clickhouse.destination(user=user, database=database)
    check = site.run(site.source(), target, command="check")
    assert check.status == 0, check.stdout + check.stderr
    assert "answers, and this user may read and write the table" in " ".join(check.stdout.split())
    assert aspects_clickhouse.count(f"{database}.xapi_events_all") == 0
    assert_accounted(site.run(site.source(), target), log.xapi)
    assert aspects_clickhouse.count(f"{database}.xapi_events_all") == log.xapi.distinct_statements


@pytest.mark.parametrize(("user", "database"), [("ch_vector", "xapi"), ("ch_lrs", "openedx"), ("ch_report", "openedx")])
def test_a_user_that_may_not_write_is_told_what_is_missing(
    site: ForkedSite, aspects_clickhouse: ClickHouse, user: str, database: str
) -> None:
    site.log(MIX)
    target = aspects_clickhouse.destination(user=user, database=database)
    detail = "Give the user INSERT and SELECT on this table"
    check = site.run(site.source(), target, command="check")
    assert check.status == 1
    assert detail in " ".join(check.stdout.split())
    run = site.run(site.source(), target)
    assert run.status == 1
    assert detail in run.stdout + run.stderr
    assert aspects_clickhouse.count(f"{database}.xapi_events_all") == 0


def test_without_settings_it_is_the_table_of_the_lms(site: ForkedSite, aspects_clickhouse: ClickHouse) -> None:
    """As Aspects' patch of the LMS settings has it, where Tutor is not used."""
    log = site.log(MIX)
    backend = {
        "url": aspects_clickhouse.url,
        "username": "ch_cms",
        "password": aspects_clickhouse.password("ch_cms"),
        "xapi_database": "openedx",
        "database": "event_sink",
        "timeout_secs": 5,
    }
    lms = site.lms.with_settings(EVENT_SINK_CLICKHOUSE_BACKEND_CONFIG=backend)
    target = {"destination_provider": "CLICKHOUSE"}
    assert_accounted(site.run(site.source(), target, lms=lms), log.xapi)
    assert aspects_clickhouse.count() == log.xapi.distinct_statements
    assert_refused(site.run(site.source(), target), "TRANSFORM_LOGS_CLICKHOUSE_URL is not set")


def test_what_is_missing_in_the_table_is_found_and_repaired(site: ForkedSite, aspects_clickhouse: ClickHouse) -> None:
    log = site.log(MIX)
    target = aspects_clickhouse.destination()
    assert_accounted(site.run(site.source(), target), log.xapi)
    assert site.run(site.source(), target, command="verify").status == 0
    aspects_clickhouse.query("ALTER TABLE openedx.xapi_events_all DELETE WHERE 1 SETTINGS mutations_sync = 2")
    assert aspects_clickhouse.count() == 0
    verified = site.run(site.source(), target, command="verify")
    assert verified.status == 3, verified.stdout + verified.stderr
    repaired = site.run(site.source(), target, command="verify", repair=True)
    assert repaired.status == 0, repaired.stdout + repaired.stderr
    assert aspects_clickhouse.count() == log.xapi.distinct_statements


def test_a_dry_run_stores_nothing(site: ForkedSite, aspects_clickhouse: ClickHouse) -> None:
    site.log(MIX)
    aspects_clickhouse.set_faults()
    run = site.run(site.source(), aspects_clickhouse.destination(), dry_run=True)
    assert run.status == 0, run.stdout + run.stderr
    assert not aspects_clickhouse.requests()
