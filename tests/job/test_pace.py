"""The throttle holds for the whole run: over the ends of logs, and for all workers together."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.harness.forked_site import ForkedSite
from tests.harness.http_sinks import ScriptedLrs
from tests.harness.job import JobRun
from tutor_transform_logs.demo.log_writer import Mix

LOGS = 60
EVENTS = 2
# After the run, as good as forever.
NEVER = 100_000.0


def run(site: ForkedSite, lrs: ScriptedLrs, **more: Any) -> JobRun:
    return site.run(site.source(), {"destination_provider": "LRS", "lrs_endpoints": [{"url": lrs.url}]}, **more)


def small_logs(site: ForkedSite, number: int) -> None:
    """``number`` logs, each with as many events of its own."""
    whole = site.log(Mix(good=number * EVENTS)).path
    lines = whole.read_bytes().splitlines(keepends=True)
    whole.unlink()
    for log in range(number):
        (site.logs / f"tracking.log-{log:03d}").write_bytes(b"".join(lines[log * EVENTS : (log + 1) * EVENTS]))


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("limit", [{"max_events_per_second": 20}, {"sleep_between_batches_secs": 0.1}], ids=str)
def test_many_small_logs_are_held_to_the_pace(
    site: ForkedSite, scripted_lrs: ScriptedLrs, limit: dict[str, float], workers: int
) -> None:
    small_logs(site, LOGS)
    began = time.monotonic()
    done = run(site, scripted_lrs, workers=workers, **limit)
    assert done.status == 0, done.detail
    assert len(scripted_lrs.statements) == LOGS * EVENTS
    times = sorted(request.at for request in scripted_lrs.requests if request.method == "POST")
    assert len(times) == LOGS
    # A tenth of a second for each batch but the first. None of them is ahead of its turn.
    for number, at in enumerate(times):
        assert at - began >= 0.1 * number, f"request {number}"


def test_nothing_is_waited_for_after_the_last_batch(site: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    small_logs(site, 2)
    first = run(site, scripted_lrs, workers=1, limit=EVENTS, sleep_between_batches_secs=NEVER)
    assert first.status == 4, first.detail
    assert "The limit is reached" in first.detail
    assert len(scripted_lrs.statements) == EVENTS
    # The first batch of a run waits for no other one; logs of nothing but skipped lines wait for none.
    site.log(Mix(good=0, page_view=20), name="tracking.log-100")
    second = run(site, scripted_lrs, workers=1, sleep_between_batches_secs=NEVER)
    assert second.status == 0, second.detail
    assert len(scripted_lrs.statements) == 2 * EVENTS
