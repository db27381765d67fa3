"""A log is rotated between two reads of one run: while it is identified, cut into segments, or read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import tally
from tests.harness.echo_job import EchoJob, line_of

LINES = 700


def text(numbers: range, length: int) -> bytes:
    return b"".join(line_of(str(number), length).encode() + b"\n" for number in numbers)


def rotate_at(job: EchoJob, number: int, new: bytes, late: int = 0) -> list[str]:
    """Rename the log before this read; another log, of ``new``, has its name ``late`` reads later.

    Returns what was read.
    """
    read, log = job.source.read, job.logs / "tracking.log"
    names: list[str] = []

    def watched(name: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        names.append(name)
        if len(names) == number:
            log.rename(log.with_suffix(".log.1"))
        if len(names) == number + late and new:
            log.write_bytes(new)
        return read(name, start, end)

    job.source.read = watched  # type: ignore[method-assign]
    return names


@pytest.mark.parametrize(("more", "late"), [(0, 0), (2, 0), (2, 1)])
def test_nothing_is_lost_wherever_it_happens(tmp_path: Path, more: int, late: int) -> None:
    """With ``late``, there is no log of its name for a moment, as with logrotate."""
    new = text(range(LINES, LINES + more), 280)
    number, reads = 0, [""]
    while number < len(reads):
        number += 1
        (tmp_path / str(number)).mkdir()
        job = EchoJob(tmp_path / str(number))
        (job.logs / "tracking.log").write_bytes(text(range(LINES), 300))
        reads = rotate_at(job, number, new, late)
        job.run()
        reads = list(reads)
        for _ in range(2):
            status = job.run()
        tally.add("faults")
        found = Counter(int(line) for line in job.box.delivered())
        expected = Counter(range(LINES + more))
        tally.same((0, expected), (status, found), f"rotated before read {number} of {len(reads)}")
    assert number > 10
