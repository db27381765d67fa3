"""The table at the end of a run, on terminals of any width."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutor_transform_logs.lms_job.config import schema
from tutor_transform_logs.lms_job.model.activity import Activity
from tutor_transform_logs.lms_job.model.counts import Counts
from tutor_transform_logs.lms_job.model.plan import OutputFormat, Plan
from tutor_transform_logs.lms_job.report.ending import SAME_COMMAND, SAME_JOB
from tutor_transform_logs.lms_job.report.next_steps import FOR_ASPECTS, REBUILD, NextStep
from tutor_transform_logs.lms_job.report.result import DestinationResult, ObjectResult, Result
from tutor_transform_logs.lms_job.report.summary import summary
from tutor_transform_logs.lms_job.util.formatting import MOST_NAME_COLUMNS, columns_of, cut_middle

LONG_NAME = "archive/2024/server-07/tracking.log-20240101-1704067200.gz"
STOPPED = (
    "http://ralph.example.org:8100/xAPI/statements answers 503 Service Unavailable: the text of the answer is long and "
    "says what an operator of that service has to know, which is that it is overloaded. Run again to resume."
)


def counts() -> Counts:
    return Counts(
        lines=9_876_543,
        transformed=9_876_500,
        unparsable=23,
        untransformable=20,
        made=9_876_500,
        stored=9_000_000,
        rejected=7,
        reasons={"no_json": 23, "unknown_user": 20, "invalid": 7},
    )


def table(
    width: int | None, resume: str = SAME_JOB, next_steps: Sequence[NextStep] = (), name: str = "tracking.log"
) -> str:
    objects = [
        ObjectResult(name, 999_900_000, counts(), Activity(), True),
        ObjectResult(LONG_NAME, 12, Counts(), Activity(), False, ["truncated gzip data after 123,456,789 bytes of it"]),
    ]
    destination = DestinationResult("lrs", "http://ralph:8100/xAPI", counts(), False, STOPPED)
    plan = Plan(1, 0.0, (), (), (), OutputFormat("single", "none", 1))
    result = Result(plan, "key", counts(), Activity(), [destination], objects, [], [])
    result.next_steps = next_steps
    result.path = "/openedx/data/transform-logs/3f2a9c41d0be/0001/result.json"
    return summary(schema.load({}), result, width, resume)


@pytest.mark.parametrize("width", [100, 80, 56, 55, 50, 40])
def test_it_fits_the_terminal(width: int) -> None:
    lines = table(width).splitlines()
    too_long = [line for line in lines if len(line) > width and "/xAPI/" not in line]
    # A path stays in one piece, to be copied.
    assert too_long == ([line for line in lines if line.startswith("Result: ")] if width < 66 else [])
    assert " ".join(table(width).split()).count(STOPPED) == 1


def test_off_a_terminal_nothing_is_wrapped_or_cut() -> None:
    lines = table(None).splitlines()
    assert f"  stopped: {STOPPED}" in lines
    assert any(line.startswith(f"{LONG_NAME}  ") for line in lines)
    assert lines[0].startswith("object  ")


@pytest.mark.parametrize("width", [None, 100, 40])
def test_a_very_long_name_is_cut_in_the_middle(width: int | None) -> None:
    name = "logs.tar!/" + "\u6570" * 300 + "/tracking.log"
    lines = table(width, name=name).splitlines()
    [cut] = [line for line in lines if line.startswith("logs.tar!/")]
    assert "..." in cut
    assert "/tracking.log" in cut
    heading, *_ = lines
    longest = MOST_NAME_COLUMNS + len(heading) - heading.index("size") if width is None else width
    assert columns_of(cut) <= longest + 10


@given(st.text("ab\u6570\u00e9/ ", max_size=60), st.integers(3, 40))
def test_what_is_cut_keeps_its_ends(text: str, width: int) -> None:
    cut = cut_middle(text, width)
    if columns_of(text) <= width:
        assert cut == text
        return
    begin, end = cut.split("...")
    assert text.startswith(begin)
    assert text.endswith(end)
    assert width - 1 <= columns_of(cut) <= width
    assert 0 <= len(end) - len(begin) <= 1


def test_it_says_what_to_do_after_the_command_that_was_given() -> None:
    assert table(None, SAME_COMMAND).endswith(f"\n{SAME_COMMAND}")
    assert table(None).endswith(f"\n{SAME_JOB}")


def test_after_a_backfill_of_aspects_the_command_that_rebuilds_is_in_one_piece() -> None:
    *_, text, command = table(60, next_steps=FOR_ASPECTS).splitlines()
    assert text.endswith("which may show older states now:")
    assert command == f"  {FOR_ASPECTS[-1].command}"
    assert REBUILD not in table(60)
