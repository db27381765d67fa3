"""One round: what its seed draws, what happens in it, and what has arrived at its end."""

from __future__ import annotations

import contextlib
import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.harness.clickhouse import ClickHouse
from tests.harness.demo_lms import DemoLms
from tests.harness.faulty_store import faulty
from tests.harness.forked_site import ForkedSite
from tests.harness.object_store import Bucket
from tests.harness.oracle import destinations
from tests.harness.oracle.destinations import Table, Target
from tests.harness.oracle.events import TYPES, time_of
from tests.harness.oracle.logs import FAMILIES, Logs
from tests.harness.oracle.places import BucketFolder, Folder, Place, StoreFaults
from tests.harness.oracle.reference import Arrived, Job, Reference
from tests.harness.oracle.runs import Runs
from tests.harness.runs import check_sums
from tutor_transform_logs.demo.lms.tutor_demo_lms import roster

MOST_LINES = 600
STEPS = ("change", "run", *["disturbed"] * 4, "two", "suspended", "settled")
# In the names of what no finished job leaves in its ledger.
LEFT_OVER = ("/dead/", "/sent/", ".unfinished")
NOTHING_NEW = "Nothing new"
FILTERS: tuple[Callable[[random.Random], dict[str, Any]], ...] = (
    lambda dice: {},
    lambda dice: {},
    lambda dice: {"event": ["edx.*", "*_video"]},
    lambda dice: {"exclude_event": ["*video*"]},
    lambda dice: {"course": [roster.course(dice.randrange(3)).key]},
    lambda dice: {"until": time_of(dice.randrange(20, 200)).isoformat()},
)


class Difference(AssertionError):
    """What has arrived is not what must have arrived, or a run ended as none should."""


@dataclass
class Services:
    """What all rounds share."""

    lms: DemoLms
    new_bucket: Callable[[], Bucket]
    clickhouse: ClickHouse | None = None
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    @contextlib.contextmanager
    def table(self) -> Iterator[Table]:
        """The table of ClickHouse, empty, for one round at a time."""
        assert self.clickhouse is not None
        with self._one_at_a_time:
            yield Table(self.clickhouse)


@dataclass
class Round:
    """What a seed draws: places, jobs, steps, moments. At the same moment, a busy machine is elsewhere in a run."""

    seed: int
    folder: Path
    services: Services
    steps: dict[str, Any] = field(default_factory=dict)
    """For every run: see ``tests/harness/steps.py``."""
    counts: Counter[str] = field(default_factory=Counter)
    said: list[str] = field(default_factory=list)
    """What was done, step by step."""

    def run(self) -> None:
        """Raises :class:`Difference`."""
        self.counts["rounds"] += 1
        try:
            with contextlib.ExitStack() as servers:
                self._run(servers)
        except AssertionError as error:
            raise Difference(f"{error}\nThe round of seed {self.seed}:\n" + "\n".join(self.said)) from error

    def _run(self, servers: contextlib.ExitStack) -> None:
        dice = random.Random(self.seed)
        faults = StoreFaults(self.seed)
        source, ledger, target = self._places(dice, servers, faults)
        reference = Reference()
        logs = Logs(source, dice, reference, dice.choice([100, 300, MOST_LINES]))
        jobs = self._jobs(dice, target)
        self.folder.mkdir(parents=True, exist_ok=True)
        # Of its own: a suspended run may hold the lock of a SQLite database.
        world = ForkedSite(self.folder / "jobs", self.services.lms.copy_to(self.folder / "lms.sqlite3"))
        runs = Runs(world, source, ledger, target, dice, logs.change, faults, self.counts, steps=self.steps)
        for _ in range(dice.randint(2, 6)):
            self._step(dice, logs, runs, jobs)
        self._finish(logs, runs, jobs)
        expected = reference.arrives(jobs, target.once)
        self.counts["statements"] += expected.total()
        compare(expected, target.arrived())
        self._check_ends(runs, jobs)

    def _places(
        self, dice: random.Random, servers: contextlib.ExitStack, faults: StoreFaults
    ) -> tuple[Place, Place, Target]:
        """The source, the ledger and the destination."""
        bucket: Bucket | None = None
        through: Bucket | None = None

        def place(name: str, in_bucket: bool) -> Place:
            nonlocal bucket, through
            if not in_bucket:
                return Folder(self.folder / name)
            if bucket is None:
                bucket = self.services.new_bucket()
                if dice.random() < 0.3:
                    through, _ = servers.enter_context(faulty(bucket, faults))
            return BucketFolder(bucket, name, through)

        source = place("source", dice.random() < 0.25)
        ledger = place("ledger", dice.random() < 0.35)
        target: Target
        drawn = dice.random()
        if drawn < 0.1 and self.services.clickhouse is not None:
            target = servers.enter_context(self.services.table())
        elif drawn < 0.45:
            target = servers.enter_context(destinations.http())
        else:
            target = destinations.Files(place("destination", dice.random() < 0.35))
        where = ["a folder" if each.local else "nanio" for each in (source, ledger)]
        reliable = "" if through is None else ", unreliable store"
        self.said.append(f"source in {where[0]}, ledger in {where[1]}, destination {target.name}{reliable}")
        return source, ledger, target

    def _jobs(self, dice: random.Random, target: Target) -> list[Job]:
        """One to three different ones. Of a table it is not promised that two jobs can send it the same statements."""
        jobs: list[Job] = []
        single = isinstance(target, Table)
        for _ in range(1 if single else dice.choice([1, 1, 2, 3])):
            kind = TYPES[not single and dice.random() < 0.3]
            job = Job(kind, dice.choice(["", "", *FAMILIES]), dice.choice(FILTERS)(dice))
            if job not in jobs:
                jobs.append(job)
        self.said += [f"job {number}: {job}" for number, job in enumerate(jobs)]
        return jobs

    def _step(self, dice: random.Random, logs: Logs, runs: Runs, jobs: list[Job]) -> None:
        job = dice.choice(jobs)
        kind = dice.choice(STEPS)
        if kind == "change":
            self.said.append("; ".join(logs.change() for _ in range(dice.randint(1, 4))))
        elif kind == "run":
            self._say(job, jobs, runs.undisturbed(job).status)
        elif kind == "two":
            other = dice.choice(jobs)
            self._say(job, jobs, f"and job {jobs.index(other)} at once: {runs.two_jobs(job, other)}")
        elif kind == "suspended" and not runs.ledger.local:
            self._say(job, jobs, f"suspended at {runs.suspended(job)}")
        elif kind == "settled":
            self._settle(logs, runs, jobs)
            self.said.append(f"restore {logs.restore()}" if dice.random() < 0.6 else f"retire {logs.retire()}")
        else:
            if dice.random() < 0.8:
                self.said.append(f"append {logs.append()}")
            for _ in range(dice.choice([1, 2, 3])):
                self._say(job, jobs, runs.disturbed(job))

    def _say(self, job: Job, jobs: list[Job], what: object) -> None:
        self.said.append(f"job {jobs.index(job)} {what}")

    def _settle(self, logs: Logs, runs: Runs, jobs: list[Job]) -> None:
        """Let every job deliver all that there is."""
        logs.complete()
        for number, job in enumerate(jobs):
            # The first may finish what was begun when a log was not there.
            statuses = [runs.undisturbed(job).status]
            if statuses[0]:
                statuses.append(runs.undisturbed(job).status)
            self.said.append(f"complete, job {number}: {statuses}")
            if statuses[-1]:
                raise Difference(f"job {number} does not come to an end with status 0")

    def _finish(self, logs: Logs, runs: Runs, jobs: list[Job]) -> None:
        """A last run that nothing disturbs."""
        logs.complete()
        for number, job in enumerate(jobs):
            ran = runs.undisturbed(job)
            self.said.append(f"last run of job {number}: {ran.status}")

    def _check_ends(self, runs: Runs, jobs: list[Job]) -> None:
        """All sums are right, nothing is left to do, and nothing lies about."""
        for name, content in runs.ledger.contents("/result.json").items():
            try:
                check_sums(json.loads(content))
            except AssertionError as error:
                raise Difference(f"{name}: {error}") from None
        for number, job in enumerate(jobs):
            ran = runs.undisturbed(job, frozenset({0}))
            if not ran.stdout.startswith(NOTHING_NEW):
                raise Difference(f"job {number} has something new:\n{ran.detail[-2000:]}")
            if runs.dice.random() < 0.4:
                self.said.append(f"verify job {number}")
                runs.verified(job)
        left = [
            name
            for name in runs.ledger.contents()
            if "/dead/" in name or "/sent/" in name or name.endswith(".unfinished")
        ]
        left += runs.target.left_over()
        if left:
            raise Difference(f"left over: {left}")


def compare(expected: Arrived, found: Arrived) -> None:
    """Raises :class:`Difference` unless both are the same."""
    lost, surplus = expected - found, found - expected
    if lost or surplus:
        raise Difference(f"of {expected.total()} statements\nlost: {_text(lost)}\ntoo often: {_text(surplus)}")


def _text(arrived: Arrived) -> str:
    """The first of them."""
    some = ", ".join(f"{count} x {kind} {number}" for (kind, number), count in sorted(arrived.items())[:20])
    return f"{arrived.total()} ({some})" if arrived else "nothing"
