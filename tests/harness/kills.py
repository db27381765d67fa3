"""Which steps a run has, and at which of them to kill it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.harness import tally
from tests.harness.forked_site import ForkedSite
from tests.harness.runs import check_sums
from tutor_transform_logs.demo.log_writer import Mix, write_log


def write_logs(folder: Path) -> None:
    write_log(folder / "tracking.log", Mix(good=13, page_view=6, unknown_user=1, broken=1, copies=1), seed=3)
    write_log(folder / "tracking.log-20260101.gz", Mix(good=8, page_view=4, type_error=1), seed=4)


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
