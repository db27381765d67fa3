"""How fast a job is, and who has to be stopped, as ``--status`` and a refused run say it."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from tutor_transform_logs.lms_job.ledger.entries import Entry
from tutor_transform_logs.lms_job.ledger.owner import LeaseOwner, refused
from tutor_transform_logs.lms_job.ledger.status import job_status
from tutor_transform_logs.lms_job.model.activity import Activity, Throughput
from tutor_transform_logs.lms_job.model.counts import Counts
from tutor_transform_logs.lms_job.model.plan import OutputFormat, Plan, Segment
from tutor_transform_logs.lms_job.util.formatting import duration

OWNER = LeaseOwner(7, "0123456789ab", 0.0)
SEGMENT_BYTES = 10_000


def segment(number: int) -> Segment:
    begin = number * SEGMENT_BYTES
    return Segment(number, 1, "tracking.log", begin, begin + SEGMENT_BYTES, SEGMENT_BYTES)


def plan_of(*numbers: int) -> Plan:
    output = OutputFormat("single", "none", 0)
    return Plan(1, 0.0, (), (), tuple(map(segment, numbers)), output)


def entry(number: int, position: int, lines: int, secs_ago: float) -> Entry:
    throughput = Throughput()
    throughput.add(time.time() - secs_ago, lines, 0)
    activity = Activity(throughput=throughput)
    return Entry(number * SEGMENT_BYTES + position, counts=Counts(lines=lines), activity=activity)


def test_a_run_says_how_fast_it_is_and_what_is_left() -> None:
    plan = plan_of(0, 1)
    # Half of the bytes, 600 lines, within the last two minutes.
    entries = {0: {"lrs": entry(0, 5000, 300, 30)}, 1: {"lrs": entry(1, 5000, 300, 50)}}
    found = job_status(plan, entries, OWNER)
    assert found.lines_per_sec == pytest.approx(600 / 120, rel=0.1)
    assert found.secs_left == pytest.approx(120, rel=0.1)
    assert found.secs_left is not None
    assert f"Now: {found.lines_per_sec:,.0f} lines/s, about {duration(found.secs_left)} left." in str(found)
    assert found.to_json()["secs_left"] == pytest.approx(120, rel=0.1)
    # The slower destination is what the run waits for.
    entries[0]["other"] = entry(0, 2500, 150, 30)
    assert job_status(plan, entries, OWNER).bytes_done == 7500


def test_what_is_not_known_is_not_said() -> None:
    plan = plan_of(0)
    done = {0: {"lrs": entry(0, 5000, 300, 30)}}
    long_ago = {0: {"lrs": entry(0, 5000, 300, 600)}}
    nothing = {0: {"lrs": Entry(0)}}
    for entries, owner in ((done, None), (long_ago, OWNER), (nothing, OWNER)):
        found = job_status(plan, entries, owner)
        assert found.secs_left is None
        assert "left" not in str(found)


@pytest.mark.parametrize(
    ("owner", "said"),
    [
        (OWNER, "or stop it: docker stop 0123456789ab."),
        (replace(OWNER, host="mine.example"), "or stop it."),
        (LeaseOwner(), "(by another process). Wait for it to end, or stop it."),
    ],
)
def test_who_has_to_be_stopped_is_named(owner: LeaseOwner, said: str) -> None:
    assert said in str(refused(owner))


def test_an_owner_that_may_have_been_killed_is_waited_for() -> None:
    said = "or stop it: docker stop 0123456789ab; if it was killed, "
    assert said in str(refused(replace(OWNER, beat=time.time())))
