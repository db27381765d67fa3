"""A part of a run at a time: a number of events, a time; the next run goes on from there, and nothing is done twice."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.harness.forked_site import ForkedSite
from tests.harness.http_sinks import ScriptedLrs
from tests.harness.job import JobRun
from tutor_transform_logs.demo.log_writer import Mix
from tutor_transform_logs.lms_job.work.allowance import Allowance

EVENTS = 900


def run(site: ForkedSite, lrs: ScriptedLrs, **more: Any) -> JobRun:
    endpoint = {"url": lrs.url, "username": "u", "password": "p"}
    return site.run(site.source(), {"destination_provider": "LRS", "lrs_endpoints": [endpoint]}, **more)


def events_of(done: JobRun) -> int:
    assert done.result is not None
    lines = done.result["lines"]
    return int(lines["transformed"] + lines["untransformable"])


@pytest.mark.parametrize("limit", [100, 150, 1])
def test_a_limit_is_kept_to_the_event_and_the_next_run_goes_on(
    site: ForkedSite, scripted_lrs: ScriptedLrs, limit: int
) -> None:
    log = site.log(Mix(good=EVENTS - 100, unknown_user=100, page_view=300))
    first = run(site, scripted_lrs, limit=limit, batch_size=100)
    assert first.status == 4, first.detail
    assert events_of(first) == limit
    assert (
        first.stdout.splitlines()[-2]
        == f"The limit is reached (TRANSFORM_LOGS_LIMIT: {limit} event{'s'[: limit > 1]})."
    )
    assert first.stdout.endswith("Not finished: run the same command again to resume where this run stopped.\n")
    second = run(site, scripted_lrs, limit=limit, batch_size=100)
    assert events_of(second) == 2 * limit
    last = run(site, scripted_lrs)
    assert last.status == 0, last.detail
    assert scripted_lrs.repeated == 0
    assert len(scripted_lrs.statements) == log.xapi.distinct_statements


def test_several_workers_have_one_limit(site: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    log = site.log(Mix(good=EVENTS))
    more = {"workers": 3, "segment_bytes": 64 * 1024, "batch_size": 50}
    first = run(site, scripted_lrs, limit=200, **more)
    assert first.status == 4, first.detail
    assert 200 <= events_of(first) < 250
    assert run(site, scripted_lrs, **more).status == 0
    assert len(scripted_lrs.statements) == log.xapi.distinct_statements
    assert scripted_lrs.repeated == 0


def test_a_limit_that_is_not_reached_changes_nothing(site: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    site.log(Mix(good=30))
    assert run(site, scripted_lrs, limit=30).status == 0
    assert run(site, scripted_lrs, limit=30, max_duration="1h").status == 0


def test_the_time_of_a_run_has_an_end(site: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    log = site.log(Mix(good=EVENTS))
    began = time.monotonic()
    first = run(site, scripted_lrs, max_duration="3s", batch_size=10, max_events_per_second=10)
    assert time.monotonic() - began < 25
    assert first.status == 4, first.detail
    assert "\nThe time is up (TRANSFORM_LOGS_MAX_DURATION: 3 s).\n" in first.stdout
    assert 0 < events_of(first) < EVENTS
    assert run(site, scripted_lrs).status == 0
    assert len(scripted_lrs.statements) == log.xapi.distinct_statements
    assert scripted_lrs.repeated == 0


def test_a_pod_that_has_done_its_share_has_not_failed(site: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    """Kubernetes would start it again, and it would have its share a second time."""
    site.log(Mix(good=EVENTS))
    assert run(site, scripted_lrs, command="plan").status == 0
    worked = run(site, scripted_lrs, command="work", limit=100, arguments=["--share", "0/2"])
    assert worked.status == 0, worked.detail
    assert "The limit is reached (TRANSFORM_LOGS_LIMIT: 50 events)." in worked.stderr
    reported = run(site, scripted_lrs, command="report")
    assert reported.status == 4, reported.detail
    assert events_of(reported) == 50


@pytest.mark.parametrize("batch_size", [1, 7, 100, 1000])
@pytest.mark.parametrize("limit", [1, 99, 100, 101, 1500])
def test_batches_add_up_to_the_limit(limit: int, batch_size: int) -> None:
    size = Allowance(limit, 0).events_per_batch(batch_size)
    assert 1 <= size <= batch_size
    batches = -(-limit // size)
    assert limit <= size * batches < limit + batches
