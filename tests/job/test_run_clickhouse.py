"""Whole runs into ClickHouse: the real engine with Aspects' own tables, users and grants, counted without FINAL."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.harness.clickhouse import ClickHouse
from tests.harness.forked_site import ForkedSite
from tests.harness.job import newest
from tests.harness.process import free_port
from tests.harness.runs import assert_accounted, assert_refused, erbs_ids
from tutor_transform_logs.demo.log_writer import Mix
from tutor_transform_logs.lms_job.config.schema import load
from tutor_transform_logs.lms_job.model.activity import Activity
from tutor_transform_logs.lms_job.report.next_steps import FOR_ASPECTS, REBUILD
from tutor_transform_logs.lms_job.report.table_rows import rows_by_day

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
    dry = site.run(site.source(), target, lms=lms, dry_run=True)
    assert REBUILD not in dry.stdout
    run = site.run(site.source(), target, lms=lms)
    place = f"Destination: {aspects_clickhouse.url} openedx.xapi_events_all"
    assert run.stderr.startswith(f"{place} (from the LMS's EVENT_SINK_CLICKHOUSE_BACKEND_CONFIG)\n")
    result = assert_accounted(run, log.xapi)
    assert aspects_clickhouse.count() == log.xapi.distinct_statements
    # It is the table that Aspects' dashboards read.
    assert run.stdout.endswith(f"which may show older states now:\n  {REBUILD}\n")
    assert [step["command"] for step in result["next_steps"]] == [step.command for step in FOR_ASPECTS]
    again = site.run(site.source(), target, lms=lms, restart=True)
    assert assert_accounted(again, log.xapi)["next_steps"] == []
    assert REBUILD not in again.stdout
    assert_refused(site.run(site.source(), target), "TRANSFORM_LOGS_CLICKHOUSE_URL is not set")


def test_the_report_counts_the_rows_of_the_days(site: ForkedSite, aspects_clickhouse: ClickHouse) -> None:
    log = site.log(MIX)
    run = site.run(site.source(), aspects_clickhouse.destination())
    result = assert_accounted(run, log.xapi)
    page = Path(result["page"]).read_text(encoding="utf-8")
    [day] = result["days"]
    made, rows = f"{log.xapi.statements:,}", f"{log.xapi.distinct_statements:,}"
    assert f"{day}: {made} in the logs, {rows} in the table" in page
    # Aspects is not installed in this LMS.
    assert result["next_steps"] == []
    assert "Next:" not in run.stdout + page


def test_a_choice_of_events_is_not_compared_with_all_rows(site: ForkedSite, aspects_clickhouse: ClickHouse) -> None:
    site.log(MIX)
    run = site.run(site.source(), aspects_clickhouse.destination(), exclude_event=["play_video"])
    assert run.status == 0, run.stderr
    assert run.ledger is not None
    page = newest(run.ledger, "report.html")
    assert page is not None
    assert "in the table" not in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "clickhouse", [None, {"url": f"http://127.0.0.1:{free_port()}", "database": "openedx", "table": "t"}]
)
def test_a_report_does_without_rows_that_it_can_not_count(clickhouse: dict[str, str] | None) -> None:
    keys = {f"clickhouse_{name}": value for name, value in clickhouse.items()} if clickhouse else {}
    config = load({"destination_provider": "CLICKHOUSE" if clickhouse else "LRS", "lrs_max_wait_secs": 600, **keys})
    began = time.monotonic()
    assert rows_by_day(config, Activity(days={"2026-02-01": [1, 0]})) is None
    assert time.monotonic() - began < 10


def test_what_is_missing_in_the_table_is_found_and_repaired(site: ForkedSite, aspects_clickhouse: ClickHouse) -> None:
    log = site.log(MIX)
    target = aspects_clickhouse.destination()
    assert_accounted(site.run(site.source(), target), log.xapi)
    assert site.run(site.source(), target, command="verify").status == 0
    aspects_clickhouse.delete("1")
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
