"""Memory is flat in the size of the input, and bounded whatever the input is."""

from __future__ import annotations

import functools
import gzip
import shutil
import time
import zlib
from pathlib import Path

import psutil
import pytest

from tests.harness.clickhouse import ClickHouse
from tests.harness.forked_site import ForkedSite
from tests.harness.http_sinks import Answer, ScriptedLrs
from tests.harness.job import JobRun, Process
from tutor_transform_logs.demo.log_writer import Mix
from tutor_transform_logs.lms_job.deliver.clickhouse import ClickHouse as ClickHouseTable
from tutor_transform_logs.lms_job.deliver.clickhouse import Table
from tutor_transform_logs.lms_job.util.errors import PermanentError

pytestmark = pytest.mark.usefixtures("lms")


def peak_memory(site: ForkedSite, folder: Path) -> int:
    """The most resident memory that a run on ``site``'s log into files takes, in bytes."""
    empty = ForkedSite(folder, site.lms.with_settings(XAPI_EVENT_LOGGING_ENABLED=False))
    return peak_of(empty.start(site.source(), empty.to_files(), batch_size=50))


def peak_of(process: Process) -> int:
    """The most resident memory of a job that must end well, in bytes."""
    peak, ran = watched(process)
    assert ran.status == 0, ran.detail
    return peak


def watched(process: Process) -> tuple[int, JobRun]:
    """The most resident memory of a job, in bytes, and how it ended."""
    peak = 0
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            peak = max(peak, watched.memory_info().rss)
        except psutil.NoSuchProcess:
            break
        time.sleep(0.005)
    return peak, process.wait(60)


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


MOST = 250 * 10**6
"""Of resident memory, in bytes, for one worker, whatever it reads."""
GOOD = Mix(good=20)
LOGS = {
    "blank lines": ("tracking.log.1", b"\n" * 700_000),
    "blank lines, compressed": ("tracking.log.1.gz", gzip.compress(b"\r\n" * 700_000)),
    "lines that are not events": ("tracking.log.1", b"x\n" * 200_000),
}


@pytest.mark.parametrize("name", LOGS)
def test_no_log_takes_more_than_the_bound(site: ForkedSite, name: str) -> None:
    site.log(GOOD)
    file, content = LOGS[name]
    (site.logs / file).write_bytes(content)
    peak = peak_of(site.start(site.source(), site.to_files(), workers=1))
    print(f"{name}: {peak / 10**6:.0f} MB")
    assert peak < MOST


ZEROS = b"\0" * 10**6
ANSWER = 400


@functools.cache
def compressed_zeros() -> bytes:
    """400 MB of zeros as 0.4 MB."""
    packer = zlib.compressobj(wbits=31)
    return b"".join(packer.compress(ZEROS) for _ in range(ANSWER)) + packer.flush()


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("status", "said"), [(200, "more than 4 MiB"), (307, "redirects to http://elsewhere/"), (404, "answers 404")]
)
def test_no_answer_of_an_lrs_takes_more_than_the_bound(
    site: ForkedSite, scripted_lrs: ScriptedLrs, compressed: bool, status: int, said: str
) -> None:
    site.log(GOOD)
    site.to_lrs({"url": scripted_lrs.url})
    headers = {"Location": "http://elsewhere/"} if status == 307 else {}
    answer = Answer(status, ZEROS, headers, times=ANSWER)
    if compressed:
        answer = Answer(status, compressed_zeros(), {**headers, "Content-Encoding": "gzip"})
    scripted_lrs.script = [answer]
    peak, ran = watched(site.start(site.source(), workers=1))
    assert ran.status == 1
    assert said in ran.detail
    assert peak < MOST


def test_no_answer_of_clickhouse_takes_more_than_its_bound(scripted_lrs: ScriptedLrs) -> None:
    clickhouse = ClickHouseTable(Table(scripted_lrs.url, "openedx", "xapi_events_all"), 5.0, 0.0, 2**20)
    scripted_lrs.script = [Answer(200, ZEROS, times=ANSWER)]
    with pytest.raises(PermanentError, match="it answers with more than 6 MiB, not as ClickHouse does"):
        clickhouse.probe()
