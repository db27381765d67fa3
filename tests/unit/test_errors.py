"""Exit statuses and the errors that lead to them."""

from __future__ import annotations

import json

import pytest

from tutor_transform_logs.lms_job.model.work_outcome import WorkOutcome
from tutor_transform_logs.lms_job.util import errors
from tutor_transform_logs.lms_job.util.errors import (
    ExitStatus,
    JobError,
    NoContainer,
    PermanentError,
    Unavailable,
    without_resuming,
)


def test_the_numbers_are_those_that_scripts_know() -> None:
    assert {status.name: int(status) for status in ExitStatus} == {"DONE": 0, "FAILED": 1, "REJECTED": 3, "STOPPED": 4}
    assert [f"{status} {json.dumps(status)}" for status in ExitStatus] == ["0 0", "1 1", "3 3", "4 4"]


@pytest.mark.parametrize("status", ExitStatus)
def test_each_says_what_it_means_and_what_to_do_next(status: ExitStatus) -> None:
    assert status.summary
    assert status.meaning.endswith(".")
    assert status.next_step.endswith(".") or status == ExitStatus.DONE
    assert ExitStatus(int(status)) is status


def test_an_error_of_a_kind_leads_to_one_status() -> None:
    kinds = (JobError, PermanentError, NoContainer, Unavailable)
    assert [kind.status.name for kind in kinds] == ["FAILED", "FAILED", "FAILED", "STOPPED"]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("LRS does not answer (x). Run again to resume.", "LRS does not answer (x)."),
        ("Make room and run again to resume.", "Make room."),
        ("Run again to resume. It is said here.", "Run again to resume. It is said here."),
        ("", ""),
    ],
)
def test_a_run_that_would_fail_again_is_not_to_be_run_again(text: str, left: str) -> None:
    assert without_resuming(text) == left


def test_what_another_run_does_not_fix_is_raised_first() -> None:
    first, second = Unavailable("not there"), PermanentError("wrong password")
    with pytest.raises(PermanentError):
        WorkOutcome({"a": first}, second).raise_first()
    with pytest.raises(Unavailable):
        WorkOutcome({"a": first}).raise_first()
    WorkOutcome().raise_first()


def test_the_tree_in_the_docstring_has_every_error() -> None:
    classes = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert {name for name in classes if name in (errors.__doc__ or "")} == classes
