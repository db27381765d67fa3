"""How much memory jobs take: measured, compared with the bound, and said in the last lines of a test run."""

from __future__ import annotations

import contextlib
import time

import psutil

from tests.harness.job import JobRun, Process

MOST = 250 * 10**6
"""Of resident memory, in bytes, for one worker, whatever it reads."""

_peaks: dict[str, int] = {}


def peak_of(process: Process) -> int:
    """The most resident memory of a job that must end well, in bytes."""
    peak, ran = watched(process)
    assert ran.status == 0, ran.detail
    return peak


def watched(process: Process) -> tuple[int, JobRun]:
    """The most resident memory of any process of a job, in bytes, and how it ended."""
    peak = 0
    job = psutil.Process(process.pid)
    while process.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            for each in (job, *job.children()):
                with contextlib.suppress(psutil.NoSuchProcess):
                    peak = max(peak, each.memory_info().rss)
        time.sleep(0.005)
    return peak, process.wait(60)


def within_bound(peak: int, what: str) -> None:
    """Note this peak, and assert that it is below the bound."""
    add({what: peak})
    assert peak < MOST, f"{what}: {peak / 10**6:.0f} MB"


def add(peaks: dict[str, int]) -> None:
    """Note what was measured, also in another process."""
    _peaks.update({what: max(peak, _peaks.get(what, 0)) for what, peak in peaks.items()})


def peaks() -> dict[str, int]:
    """What was measured so far: the input, and the peak in bytes."""
    return dict(_peaks)


def summary() -> str:
    """One line about all of them, or nothing if none was measured."""
    if not _peaks:
        return ""
    highest = max(_peaks, key=lambda what: _peaks[what])
    return (
        f"memory: bound {MOST / 10**6:.0f} MB a worker; highest peak of {len(_peaks)} inputs: "
        f"{_peaks[highest] / 10**6:.0f} MB ({highest})"
    )
