"""An LRS that refuses the statements of some events for good: how many requests a real job sends it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness.forked_site import ForkedSite
from tests.harness.http_sinks import CaliperSink, ScriptedLrs
from tests.harness.job import JobRun
from tests.harness.runs import check_sums
from tutor_transform_logs.demo.log_writer import CALIPER_GOOD_NAMES, Mix
from tutor_transform_logs.lms_job.model.erb_faults import faults_of

pytestmark = pytest.mark.usefixtures("lms")

BATCH, BATCHES = 50, 200
EXAMS = [
    f"edx.special_exam.{kind}.attempt.{what}"
    for kind in ("practice", "proctored", "timed")
    for what in ("created", "submitted")
]


def is_invalid(statement: dict[str, Any]) -> bool:
    """As ADL's LRS: the attempts of exams, 6 of 66 types of events."""
    return bool(faults_of("xapi", statement))


@pytest.fixture
def sending(site: ForkedSite, scripted_lrs: ScriptedLrs) -> ForkedSite:
    """A site whose job sends 50 statements in a batch to an LRS that refuses some."""
    site.settings |= {**site.source(), "batch_size": BATCH, "workers": 1}
    site.to_lrs({"url": scripted_lrs.url})
    scripted_lrs.refuses = is_invalid
    return site


def in_order(run: JobRun) -> list[str]:
    """The ids of the statements that were rejected, after a look at where they were in the log."""
    letters = run.dead_letters()
    assert [letter["offset"] for letter in letters] == sorted(letter["offset"] for letter in letters)
    assert {letter["reason"] for letter in letters} == {"invalid_from_erb"}
    for letter in letters:
        # The text of the answer is about this statement, and not about another one like it.
        assert letter["statement"] in letter["detail"]
    return [letter["statement"] for letter in letters]


@pytest.mark.parametrize("in_flight", [1, 16])
def test_they_take_a_request_each_and_the_others_one_a_batch(
    sending: ForkedSite, scripted_lrs: ScriptedLrs, in_flight: int
) -> None:
    sending.log(Mix(good=BATCH * BATCHES), seed=7)
    scripted_lrs.latency_secs = 0.003 if in_flight > 1 else 0
    run = sending.run(max_requests_in_flight=in_flight)
    assert run.status == 3, run.detail
    rejected = in_order(run)
    assert 0.08 < len(rejected) / (BATCH * BATCHES) < 0.10
    result = sending.result()
    check_sums(result)
    [destination] = result["destinations"]
    assert (destination["stored"], destination["duplicates"], destination["rejected"]) == (
        len(scripted_lrs.statements),
        0,
        len(rejected),
    )
    assert not set(rejected) & scripted_lrs.statements.keys()
    assert (scripted_lrs.most_at_once > 1) == (in_flight > 1)
    assert len(scripted_lrs.requests) <= 1.2 * BATCHES + len(rejected)


def test_half_of_a_type_takes_a_request_for_each_statement_of_it_at_most(
    sending: ForkedSite, scripted_lrs: ScriptedLrs
) -> None:
    log = sending.log(Mix(good=2000), seed=7)
    scripted_lrs.refuses = lambda statement: is_invalid(statement) and int(statement["id"][:4], 16) % 2 == 0
    run = sending.run(max_requests_in_flight=1)
    assert run.status == 3, run.detail
    rejected = in_order(run)
    assert 0.035 < len(rejected) / 2000 < 0.055
    assert len(scripted_lrs.statements) == log.xapi.statements - len(rejected)
    # As many of these types are accepted as refused, and 40 batches.
    assert len(scripted_lrs.requests) <= 2 * len(rejected) + 1.2 * 40 + 6 * 12


def test_what_the_lrs_accepts_since_an_update_goes_in_whole_batches_again(
    sending: ForkedSite, scripted_lrs: ScriptedLrs
) -> None:
    log = sending.log(Mix(good=5000), names=[*EXAMS, *["play_video"] * 6], seed=7)
    scripted_lrs.refuses = lambda statement: is_invalid(statement) and len(scripted_lrs.statements) < 500
    run = sending.run(max_requests_in_flight=1)
    assert run.status == 3, run.detail
    rejected = in_order(run)
    assert 400 < len(rejected) < 600
    assert len(scripted_lrs.statements) == log.xapi.statements - len(rejected)
    # Each of the 6 types by one, two, four ... statements: then all types in one request.
    assert len(scripted_lrs.requests) <= len(rejected) + 100 + 6 * 8 * 2
    assert set(scripted_lrs.batch_sizes()[-40:]) == {BATCH}
    # What was refused before is accepted now, in whole batches.
    sent = len(scripted_lrs.requests)
    retried = sending.run(retry_failed=True)
    assert retried.status == 0, retried.detail
    assert len(scripted_lrs.requests) - sent <= len(rejected) / BATCH + 1
    assert (len(scripted_lrs.statements), scripted_lrs.repeated) == (log.xapi.statements, 0)


def test_a_caliper_endpoint_gets_arrays_of_what_it_takes(site: ForkedSite, caliper_sink: CaliperSink) -> None:
    """It refuses the events of videos, as one that requires an IRI where the specification does."""
    log = site.log(Mix(good=2000), names=CALIPER_GOOD_NAMES, seed=7)
    site.settings |= {**site.source(), "batch_size": BATCH, "workers": 1, "transformer_type": "caliper"}
    site.to_lrs({"url": caliper_sink.url})
    caliper_sink.refuses = lambda envelope: bool(faults_of("caliper", envelope))
    run = site.run()
    assert run.status == 3, run.detail
    check_sums(site.result())
    rejected = in_order(run)
    assert len(caliper_sink.envelopes) == log.caliper.statements - len(rejected)
    assert len(rejected) > 300
    # 40 batches, and a search for each of 13 types.
    assert len(caliper_sink.requests) <= len(rejected) + 40 + 13 * 6
    # Then there are no arrays of one, with which a search ends.
    assert 1 not in caliper_sink.sizes()[-500:]


def test_a_dry_run_sends_nothing_and_a_run_again_nothing_more(sending: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    sending.log(Mix(good=500), seed=7)
    assert sending.run(dry_run=True).status == 0
    assert scripted_lrs.requests == []
    assert sending.run().status == 3
    sent = len(scripted_lrs.requests)
    assert sending.run().status == 0
    assert len(scripted_lrs.requests) == sent
