"""Memory is flat in the size of the input."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import psutil
import pytest

from tests.harness.clickhouse import ClickHouse
from tests.harness.forked_site import ForkedSite
from tests.harness.job import Process
from tutor_transform_logs.demo.log_writer import Mix

pytestmark = pytest.mark.usefixtures("lms")


def peak_memory(site: ForkedSite, folder: Path) -> int:
    """The most resident memory that a run on ``site``'s log into files takes, in bytes."""
    empty = ForkedSite(folder, site.lms.with_settings(XAPI_EVENT_LOGGING_ENABLED=False))
    return peak_of(empty.start(site.source(), empty.to_files(), batch_size=50))


def peak_of(process: Process) -> int:
    """The most resident memory of a job that must end well, in bytes."""
    peak = 0
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            peak = max(peak, watched.memory_info().rss)
        except psutil.NoSuchProcess:
            break
        time.sleep(0.005)
    ran = process.wait(60)
    assert ran.status == 0, ran.detail
    return peak


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_ten_times_the_log_takes_no_more_memory(site: ForkedSite, suffix: str, tmp_path: Path) -> None:
    peaks = []
    for times in (1, 10):
        shutil.rmtree(site.logs)
        site.logs.mkdir()
        log = site.log(Mix(good=100 * times, page_view=4000 * times, broken=10 * times), name=f"tracking.log{suffix}")
        peaks.append(peak_memory(site, tmp_path / f"x{times}"))
    # The whole log would be a good part of what the process takes anyway.
    assert log.bytes > peaks[0] * 0.25
    assert peaks[1] < peaks[0] * 1.2


def test_more_batches_into_clickhouse_take_no_more_memory(
    site: ForkedSite, aspects_clickhouse: ClickHouse, tmp_path: Path
) -> None:
    peaks = []
    for batches in (3, 12):
        site.log(Mix(good=500 * batches))
        empty = ForkedSite(tmp_path / f"x{batches}", site.lms)
        target = aspects_clickhouse.destination()
        peaks.append(peak_of(empty.start(site.source(), target, batch_size=500, workers=1)))
        aspects_clickhouse.clear()
    assert peaks[1] < peaks[0] * 1.1
