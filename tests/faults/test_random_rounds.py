"""The random oracle: whatever happens to logs, runs, stores and LRSs, what must arrive has arrived, and nothing twice.

``TRANSFORM_LOGS_FAULTS_SEED=N`` runs the round of this seed alone.
"""

from __future__ import annotations

import contextlib
import itertools
import random
from pathlib import Path

import pytest

from tests.harness import tally
from tests.harness.demo_lms import DemoLms
from tests.harness.forked_site import ForkedSite
from tests.harness.object_store import Bucket, ObjectStore
from tests.harness.oracle.campaign import SECS, Campaign
from tests.harness.oracle.destinations import Files
from tests.harness.oracle.logs import Logs
from tests.harness.oracle.places import Folder
from tests.harness.oracle.reference import Job, Reference
from tests.harness.oracle.rounds import Difference, Services, compare
from tests.harness.oracle.runs import KILLED, Runs

_numbers = itertools.count()


@pytest.fixture
def services(request: pytest.FixtureRequest, nanio: ObjectStore, demo_lms_template: DemoLms) -> Services:
    """What the rounds share. ClickHouse takes its time: it is part of the long form."""
    client = nanio.client()

    def new_bucket() -> Bucket:
        bucket = Bucket(nanio, f"oracle-{next(_numbers)}")
        client.create_bucket(Bucket=bucket.name)
        return bucket

    table = request.getfixturevalue("clickhouse_server") if tally.LONG else None
    return Services(demo_lms_template, new_bucket, table)


@pytest.mark.timeout(SECS + 300)
def test_nothing_is_lost_and_nothing_arrives_twice(tmp_path: Path, services: Services) -> None:
    campaign = Campaign(tmp_path, services)
    campaign.run()
    tally.say(campaign.summary())
    tally.add("kills", campaign.counts["kills"])
    tally.add("accounting_errors", len(campaign.differences))
    assert not campaign.differences, "\n\n".join(campaign.differences)


@pytest.mark.parametrize("broken", [False, True])
def test_a_ledger_that_is_wrong_by_one_batch_is_found(tmp_path: Path, demo_lms_template: DemoLms, broken: bool) -> None:
    """The oracle itself: with the one-line mistake in ``steps._break_ledger``, a kill makes a difference."""
    dice, reference, job = random.Random(1), Reference(), Job()
    source, ledger, target = (Folder(tmp_path / name) for name in ("source", "ledger", "destination"))
    logs = Logs(source, dice, reference, most_lines=100)
    runs = Runs(ForkedSite(tmp_path / "jobs", demo_lms_template), source, ledger, Files(target), dice, logs.change)
    runs.steps, runs.settings = {"broken": broken}, {"batch_size": 3, "workers": 1}
    runs.wait(runs.start(job, label="deliver: before", number=3), KILLED)
    runs.undisturbed(job)
    with pytest.raises(Difference) if broken else contextlib.nullcontext():
        compare(reference.arrives([job], once=False), runs.target.arrived())
