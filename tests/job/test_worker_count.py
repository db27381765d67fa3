"""How many workers do the segments of a plan: more than CPUs for many small logs, if a store or an LRS is slow."""

from __future__ import annotations

import gzip
import os
import time
from typing import Any

import pytest

from tests.harness.faulty_store import faulty
from tests.harness.forked_site import ForkedSite
from tests.harness.object_store import Bucket
from tutor_transform_logs.demo.log_writer import Mix
from tutor_transform_logs.lms_job.config.schema import load
from tutor_transform_logs.lms_job.model.plan import Segment
from tutor_transform_logs.lms_job.util import cpus
from tutor_transform_logs.lms_job.work.work import LOGS_PER_WORKER, SMALL_BYTES, _worker_count

CPUS = 3
MOST = CPUS * cpus.WAITING_WORKERS_PER_CPU
STORE: dict[str, Any] = {
    "source_provider": "MINIO",
    "source_key": "k",
    "source_secret": "s",
    "source_container": "logs",
}
STORE |= {"source_host": "minio", "source_port": 9000, "source_secure": False}
IN_FILES = {"source_provider": "LOCAL", "source_container": "logs"}
TO_FILES = {"destination_provider": "LOCAL", "destination_container": "out"}


@pytest.mark.parametrize(
    ("settings", "count", "stored_bytes", "expected"),
    [
        ({**STORE, **TO_FILES, "workers": "auto"}, 2000, SMALL_BYTES, MOST),
        ({**STORE, "workers": "auto"}, 2000, SMALL_BYTES + 1, CPUS),
        ({**STORE, "workers": "auto"}, LOGS_PER_WORKER * 5, 100, 5),
        ({**STORE, "workers": "auto"}, 7, 100, CPUS),
        ({**STORE, "workers": "auto"}, 0, 100, CPUS),
        ({**STORE, "workers": 2}, 2000, 100, 2),
        (STORE, 2000, 100, 1),
        ({**IN_FILES, **TO_FILES, "workers": "auto"}, 2000, 100, CPUS),
        ({**IN_FILES, "workers": "auto", "max_requests_in_flight": 2 * MOST}, 2000, SMALL_BYTES, MOST),
        ({**IN_FILES, "workers": "auto", "max_requests_in_flight": 10}, 2000, 100, 5),
        ({**IN_FILES, "workers": "auto", "max_requests_in_flight": 1}, 2000, 100, CPUS),
        ({**IN_FILES, "workers": "auto"}, 2000, SMALL_BYTES + 1, CPUS),
        ({**IN_FILES, "workers": "auto", "dry_run": True}, 2000, 100, CPUS),
        ({**IN_FILES, "workers": "auto", "destination_provider": "CLICKHOUSE"}, 2000, 100, CPUS),
        (IN_FILES, 2000, 100, 1),
    ],
)
def test_more_than_cpus_only_for_many_small_logs_that_are_waited_for(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], count: int, stored_bytes: int, expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(CPUS)))
    monkeypatch.setattr(cpus, "_cgroup_quotas", lambda: iter(()))
    monkeypatch.setattr(cpus, "_free_bytes", lambda: iter([10**12]))
    config = load({"destination_provider": "LRS", **settings})
    segments = [Segment(number, number, f"log{number}", 0, None, stored_bytes, "gzip") for number in range(count)]
    assert _worker_count(config, segments, 2) == expected


@pytest.mark.usefixtures("lms")
def test_a_run_has_as_many(site: ForkedSite, nanio_bucket: Bucket) -> None:
    """And accounts for every line."""
    cpu_count = len(os.sched_getaffinity(0))
    count, total = LOGS_PER_WORKER * (cpu_count + 1), 0
    client = nanio_bucket.store.client()
    for number in range(count):
        log = site.log(Mix(good=3, page_view=3), name=f"log{number}", seed=number)
        body = gzip.compress(log.path.read_bytes())
        client.put_object(Bucket=nanio_bucket.name, Key=f"logs/tracking.log-{number:03}.gz", Body=body)
        total += log.xapi.lines
    with faulty(nanio_bucket, lambda *_: 0.03) as (bucket, _):
        process = site.start(bucket.settings("source", prefix="logs/"), site.to_files(), workers="auto")
        most = 0
        while process.poll() is None:
            most = max(most, len(process.workers()))
            time.sleep(0.02)
        ran = process.wait()
    assert ran.status == 0, ran.detail
    assert ran.result is not None
    assert ran.result["lines"]["lines"] == total
    assert most > cpu_count or cpus.waiting_worker_count("auto") == cpu_count
