"""A job to which the system gives no thread does the same work in more time; it does not end with a traceback."""

from __future__ import annotations

import errno
import gzip
import os

import pytest

from tests.harness.forked_site import ForkedSite
from tests.harness.http_sinks import ScriptedLrs
from tests.harness.object_store import Bucket
from tests.harness.runs import check_sums
from tutor_transform_logs.demo.log_writer import Mix, write_log
from tutor_transform_logs.lms_job.util.errors import Unavailable
from tutor_transform_logs.lms_job.work.processes import Workers

LOGS = 6


@pytest.mark.parametrize("workers", [1, 2])
def test_logs_of_a_store_are_planned_and_delivered(
    world: ForkedSite, scripted_lrs: ScriptedLrs, nanio_bucket: Bucket, workers: int
) -> None:
    log = write_log(world.folder / "one.log", Mix(good=30 * LOGS), names=["play_video"], seed=1)
    lines = log.path.read_bytes().splitlines(keepends=True)
    for number in range(LOGS):
        nanio_bucket.put(f"source/tracking.log-{number}.gz", gzip.compress(b"".join(lines[number::LOGS])))
    world.in_bucket(nanio_bucket, "source")
    world.to_lrs({"url": scripted_lrs.url})
    ran = world.run(workers=workers, batch_size=10, max_requests_in_flight=8, steps={"no_threads": True})
    assert ran.status == 0, ran.detail
    assert "Traceback" not in ran.detail
    check_sums(world.result())
    assert len(scripted_lrs.statements) == 30 * LOGS
    assert world.result()["destinations"][0]["stored"] == 30 * LOGS


@pytest.mark.parametrize(("number", "kind"), [(errno.EAGAIN, Unavailable), (errno.EMFILE, OSError)])
def test_a_worker_that_can_not_be_forked_ends_the_run(
    monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    def fork() -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fork", fork)
    with pytest.raises(kind, match=r"starts no further process|open files"), Workers() as processes:
        processes.start(lambda _: None)
