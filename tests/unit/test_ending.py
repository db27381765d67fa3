"""What is said of how a run ended: it follows from the result, and is the same wherever it is said."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness import pages
from tutor_transform_logs.lms_job.model.activity import Activity
from tutor_transform_logs.lms_job.model.counts import Counts
from tutor_transform_logs.lms_job.report.ending import AFTER_WORK, ALL, SAME_COMMAND, SAME_JOB, ending
from tutor_transform_logs.lms_job.report.html_page import page
from tutor_transform_logs.lms_job.report.result import DestinationResult, ObjectResult, Result, exit_status
from tutor_transform_logs.lms_job.report.summary import summary
from tutor_transform_logs.lms_job.util.errors import ExitStatus

REJECTED = (
    "Done, but 7 statements were rejected by the destination. Every line and every statement is accounted for.",
    "What was rejected is in the dead letters: fix the cause and run the command again with --retry-failed.",
)
UNREAD = (
    "Done, but 1 log could not be read, or not to its end. All that was read is accounted for.",
    "The table says why a log was not read: fix the cause and run the command again.",
)


def result(rejected: int = 0, **values: Any) -> Result:
    """A result of one log, to one LRS that rejects this number of its statements."""
    counts = Counts(lines=9, transformed=9, made=9, stored=9 - rejected, rejected=rejected)
    if rejected:
        counts.add_dead_letters("invalid", rejected)
    made = pages.result([ObjectResult("a.log", 9, counts, Activity(), True)], Activity(), **values)
    made.destinations = [DestinationResult("lrs", "http://lrs", counts, values.pop("done", True))]
    return made


def said(of: Result, resume: str = SAME_JOB, **config: Any) -> tuple[str, ...]:
    """The ending's sentences, and a check that the terminal and the page have the same ones."""
    found = ending(pages.job_config(**config), of, resume)
    if resume == SAME_JOB:
        assert " ".join(found.sentences) in page(pages.job_config(**config), of, {})
    assert summary(pages.job_config(**config), of, None, resume).splitlines()[-len(found.sentences) :] == [
        *found.sentences
    ]
    return found.sentences


def test_all_is_well() -> None:
    assert said(result()) == (ALL,)


def test_rejected_statements_are_dead_letters_to_retry() -> None:
    assert said(result(rejected=7)) == REJECTED


def test_a_log_that_was_not_read_is_not_called_a_rejection_or_accounted_for() -> None:
    assert said(result(problems=["b.log: truncated gzip data"])) == UNREAD


def test_both_are_said_and_what_to_do_about_each() -> None:
    both = said(result(rejected=7, problems=["b.log: x", "c.log: y"]))
    assert both == (
        "Done, but 7 statements were rejected by the destination, and 2 logs could not be read, or not to their end. "
        "All that was read is accounted for.",
        REJECTED[1],
        UNREAD[1],
    )


def test_dead_letters_are_a_loss_where_the_setting_says_so() -> None:
    dead = result()
    dead.counts.add_dead_letters("no_json")
    assert said(dead) == (ALL,)
    assert said(dead, strict=True) == (
        "Done, but there is 1 dead letter (TRANSFORM_LOGS_STRICT is on). Every line and every statement is accounted "
        "for.",
    )


@pytest.mark.parametrize("resume", [SAME_COMMAND, SAME_JOB, AFTER_WORK])
def test_what_is_not_finished_is_resumed_by_the_command_that_fits(resume: str) -> None:
    assert said(result(status=ExitStatus.STOPPED), resume) == (resume,)


def test_other_endings() -> None:
    assert said(result(status=ExitStatus.FAILED)) == (f"Failed before the end. {ExitStatus.FAILED.next_step}",)
    assert said(result(), dry_run=True) == (ALL, "Dry run. Nothing was delivered.")
    wrong = ending(pages.job_config(), result(accounting_errors=["lines is 1, but the sum is 2"]))
    assert wrong.sentences == ("NOT everything is accounted for; please report this.",)


@pytest.mark.parametrize("rejected", [0, 7])
@pytest.mark.parametrize("problems", [[], ["b.log: x"]])
@pytest.mark.parametrize("strict", [False, True])
def test_it_is_good_exactly_where_the_status_is_0(rejected: int, problems: list[str], strict: bool) -> None:
    found = result(rejected=rejected, problems=problems)
    assert ending(pages.job_config(strict=strict), found).is_good == (exit_status(found, [], strict) == ExitStatus.DONE)


@pytest.mark.parametrize(("dead", "share"), [(0, ""), (10, ""), (11, "1% of the events"), (500, "50% of the events")])
def test_many_dead_letters_are_noticed(dead: int, share: str) -> None:
    """More than one in a hundred events."""
    counts = Counts(lines=1000, transformed=1000 - dead, unparsable=dead, reasons={"no_json": dead} if dead else {})
    found = result(counts=counts)
    assert found.status == ExitStatus.DONE
    assert found.dead_share == share
    config = pages.job_config()
    assert ("status good" in page(config, found, {})) == (not share)
