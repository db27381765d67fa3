"""Which steps a run has, and at which of them to kill it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tests.harness import tally
from tests.harness.forked_site import ForkedSite
from tests.harness.runs import check_sums
from tutor_transform_logs.demo.log_writer import Mix, write_log

OVERLAPPING_DAYS = [
    datetime(year, month, day, 23, 59, 59, 990_000, tzinfo=timezone.utc)
    for year, month, day in ((2024, 12, 31), (2025, 11, 30), (2025, 12, 31), (2026, 1, 1), (2026, 2, 3))
]


def write_logs(folder: Path) -> None:
    write_log(folder / "tracking.log", Mix(good=13, page_view=6, unknown_user=1, broken=1, copies=1), seed=3)
    write_log(folder / "tracking.log-20260101.gz", Mix(good=8, page_view=4, type_error=1), seed=4)


def write_overlapping_logs(folder: Path, mix: Mix, **more: Any) -> int:
    """Two logs of days in several months, some of whose lines are in both, byte for byte.

    :param mix: of each of their five days; ``more`` goes to ``write_log``.

    Returns the number of different statements that become of them.
    """
    days, statements = [], 0
    for number, day in enumerate(OVERLAPPING_DAYS):
        log = write_log(folder / "day", mix, **{"start": day, "seed": number, **more})
        days.append(log.path.read_bytes())
        statements += log.xapi.distinct_statements
        log.path.unlink()
    (folder / "tracking.log").write_bytes(b"".join(days[:4]))
    (folder / "tracking.log-rotated").write_bytes(days[4] + days[3] + days[1])
    return statements


def steps_of(world: ForkedSite, named: Iterable[str], **more: Any) -> list[str]:
    """Run undisturbed; gives the labels of all the steps passed."""
    trace = world.folder / "trace"
    ran = world.run(steps={"trace": str(trace)}, **more)
    assert ran.status == 0, ran.detail
    check_sums(world.result())
    labels = trace.read_text().splitlines()
    assert set(named) <= set(labels), f"these steps are gone: {set(named) - set(labels)}"
    return labels


def chosen(labels: list[str], named: Iterable[str], every: bool = False) -> Iterator[tuple[str, int]]:
    """Which kills to try: label and occurrence."""
    for label in dict.fromkeys(labels) if tally.LONG else named:
        count = labels.count(label)
        yield from ((label, number) for number in (range(1, count + 1) if every else [(count + 1) // 2]))
