"""The runs of a round's jobs: killed, interrupted, suspended, started twice; and those that nothing disturbs."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.harness.forked_site import ForkedSite
from tests.harness.job import JobRun, Process
from tests.harness.locks import expired, pid_of
from tests.harness.oracle.destinations import Target
from tests.harness.oracle.places import Place, StoreFaults
from tests.harness.oracle.reference import Job
from tests.harness.steps import ANY

DONE = frozenset({0, 3})
STOPPED = frozenset({4})
KILLED = frozenset({-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT})
# What ends a run that shares its job with another one, or whose LRS has answered what no LRS does, or a verification
# of nothing.
REFUSALS = ("This job is already running (", "this is not an LRS", "there is nothing to verify")
# Before these, a run asks for its lock. Within a request it can't: see "What is not promised".
SLEEPS = (
    "save plan: before",
    "batch: before",
    "deliver: after",
    "joining write: before",
    "finish plan: before",
    "source read: after",
)
# Where one more, or one less, has been delivered than is recorded.
TURNS = (
    "batch: before",
    "deliver: after",
    "entry write: before",
    "entry write: after",
    "dead batch write: after",
    "joining write: after",
    "output write: half",
    "part delete: after",
    "result write: after",
    "plan rename: before",
    "finish plan: before",
    "finish plan: after",
)
# A machine with other things to do may need long for a run of a second.
LONGEST_SECS = 120.0


class Surprise(AssertionError):
    """A run that ended as none should."""


@dataclass
class Runs:
    """Starts the jobs of a round, and checks how their runs end.

    :param change: changes the logs, also while a job reads them.
    """

    world: ForkedSite
    source: Place
    ledger: Place
    target: Target
    dice: random.Random
    change: Callable[[], str]
    store_faults: StoreFaults | None = None
    counts: Counter[str] = field(default_factory=Counter)
    usual_secs: float = 0.5
    """How long a run takes that nothing disturbs."""
    steps: dict[str, Any] = field(default_factory=dict)
    """For every run: see ``tests/harness/steps.py``."""
    settings: dict[str, Any] = field(default_factory=dict)
    """For every run, in place of those that are drawn."""
    _tokens: Iterator[int] = field(default_factory=itertools.count)

    def start(self, job: Job, command: str = "run", workers: int = 0, **steps: Any) -> Process:
        """Start a run of a job, with settings that may be others than those of its last run.

        ``workers``: drawn if 0.
        """
        dice = self.dice
        settings = {
            **self.source.settings("source", job.prefix),
            **self.target.settings(job.type),
            **self.ledger.settings("ledger"),
            **job.filters,
            "transformer_type": job.type,
            "workers": workers or dice.choice([1, 1, 2, 3]),
            "max_requests_in_flight": dice.choice([1, 4, 16, 16]),
            "batch_size": dice.choice([2, 3, 3, 10, 40, 1000]),
            "segment_bytes": dice.choice([65536, 65536, 256 * 1024**2]),
            "output_layout": dice.choice(["single", "batches"]),
            "output_compression": dice.choice(["none", "none", "gzip"]),
            "output_max_bytes": dice.choice([20_000, 32 * 1024**3]),
            "lrs_timeout_secs": 5,
            "lrs_max_wait_secs": 2,
            **self.settings,
        }
        self.counts["runs"] += 1
        return self.world.start(settings, command=command, steps={**self.steps, **steps})

    def _disturb(self) -> None:
        self.target.disturb(self.dice)
        if self.store_faults is not None:
            self.store_faults.disturb(self.dice)

    def _calm(self) -> None:
        self.target.calm()
        if self.store_faults is not None:
            self.store_faults.calm()

    def verified(self, job: Job) -> None:
        """The job itself has to find what it has delivered. Raises :class:`Surprise` if it does not."""
        if self.target.can_be_read(job.type):
            self.wait(self.start(job, "verify"), frozenset({0, 1}))

    def undisturbed(self, job: Job, allowed: frozenset[int] = DONE) -> JobRun:
        """A run to its end."""
        self._calm()
        began = time.monotonic()
        ran = self.wait(self.start(job), allowed)
        self.usual_secs = 0.5 * (self.usual_secs + time.monotonic() - began)
        return ran

    def wait(self, process: Process, allowed: frozenset[int]) -> JobRun:
        """The end of a run. Raises :class:`Surprise` for another status, or a traceback."""
        ran = process.wait(LONGEST_SECS)
        refused = 1 in allowed and ran.status == 1 and any(text in ran.detail for text in REFUSALS)
        if (ran.status not in allowed - {1} and not refused) or "Traceback" in ran.detail:
            raise Surprise(f"a run ended with status {ran.status}:\n{ran.detail[-3000:]}")
        return ran

    # What may happen to a run. Each returns what was done.

    def disturbed(self, job: Job) -> str:
        """The logs change while it runs, the LRS fails, and it is killed or interrupted, or not."""
        self._disturb()
        where = self._at_a_step() if self.dice.random() < 0.7 else {}
        process = self.start(job, **where)
        steps = self._change_while(process)
        if not where:
            steps.append(self._end(process))
        ran = self.wait(process, DONE | STOPPED | KILLED | {1})
        if where and Path(where["token"]).exists():
            self.counts["kills"] += 1
            steps.append(f"{where['signal']} at {where['label']} {where['number']}{' to all' * where['group']}")
        return f"{', '.join(filter(None, steps))}: {ran.status}"

    def two_jobs(self, first: Job, second: Job) -> str:
        """Two jobs, or two runs of one, at the same time."""
        self._disturb()
        processes = [self.start(first), self.start(second)]
        steps = self._change_while(self.dice.choice(processes))
        steps += [self._end(process) for process in processes]
        ran = [self.wait(process, DONE | STOPPED | KILLED | {1}) for process in processes]
        return f"{', '.join(filter(None, steps))}: {[each.status for each in ran]}"

    def suspended(self, job: Job) -> str:
        """It sleeps for longer than its lock holds, while others do the work.

        Outside a request that writes: that one is finished, see ``promises.rst``. With several workers, one could be
        within it, whatever the other does.
        """
        assert not self.ledger.local  # the kernel knows that it lives
        self._calm()
        label, number = self.dice.choice(SLEEPS), self.dice.choice([1, 1, 2, 3])
        steps: dict[str, Any] = {
            "label": label,
            "number": number,
            "signal": "SIGSTOP",
            "group": True,
            "sure_secs": -1.0,
        }
        process = self.start(job, workers=1, **steps)
        if not _stops(process):
            return f"{label} {number}: {self.wait(process, DONE | {1}).status}"
        self.counts["suspended"] += 1
        for name, lock in self.ledger.contents("/lock").items():
            if pid_of(lock) == process.pid:
                self.ledger.put(name, expired(lock))
        others = []
        for _ in range(self.dice.choice([1, 1, 2])):
            others.append(self.change())
            # The database may stay locked by the suspended one.
            others.append(str(self.undisturbed(job, DONE | STOPPED).status))
        os.killpg(process.pid, signal.SIGCONT)
        ran = self.wait(process, DONE | STOPPED)
        return f"{label} {number}, meanwhile {', '.join(others)}: {ran.status}"

    def _at_a_step(self) -> dict[str, Any]:
        """What ends a run, or one of its processes, at any of its steps: they are many more than moments can hit."""
        anywhere = self.dice.random() < 0.5
        return {
            "label": ANY if anywhere else self.dice.choice(TURNS),
            "number": int(2 ** self.dice.uniform(0, 7.5 if anywhere else 2)),
            "signal": self.dice.choice(["SIGKILL", "SIGKILL", "SIGKILL", "SIGTERM", "SIGINT"]),
            "group": self.dice.random() < 0.7,
            "token": str(self.world.folder / f"token-{next(self._tokens)}"),
        }

    def _change_while(self, process: Process) -> list[str]:
        """Change the logs now and then."""
        steps = []
        for _ in range(self.dice.choice([0, 1, 1, 2, 4])):
            if process.ended(self.dice.uniform(0, 0.6 * self.usual_secs)):
                break
            steps.append(self.change())
        return steps

    def _end(self, process: Process) -> str:
        """At a random moment, or not at all."""
        how = self.dice.choice(["", "TERM", "INT", "KILL all", "KILL all", "KILL parent", "KILL worker"])
        if not how or process.ended(self.dice.uniform(0, 1.2 * self.usual_secs)):
            return ""
        self.counts["kills"] += 1
        workers = process.workers()
        if how in ("TERM", "INT"):
            process.send(signal.Signals[f"SIG{how}"])
        elif how == "KILL worker" and workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.dice.choice(workers), signal.SIGKILL)
        else:
            process.kill(group=how != "KILL parent")
        return how


def _stops(process: Process) -> bool:
    """Wait until it sleeps, or has ended."""
    state = Path(f"/proc/{process.pid}/stat")
    deadline = time.monotonic() + LONGEST_SECS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if state.read_text().rpartition(")")[2].split()[0] == "T":
                return True
        time.sleep(0.01)
    return False
