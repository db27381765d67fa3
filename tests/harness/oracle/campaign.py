"""Rounds, two at a time, each with the next seed: a number of them in the long form, a minute of them in the short."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.harness import tally
from tests.harness.oracle.rounds import Difference, Round, Services

VARIABLE = "TRANSFORM_LOGS_FAULTS_SEED"
"""The environment variable that names the seed of the one round to run."""
# The short form is part of all tests, which must not fail by the luck of the draw.
FIRST_SEED = random.SystemRandom().randrange(10**8) if tally.LONG else 20_261_130
ROUNDS = 500 if tally.LONG else None
# Longer than the rounds of the long form take on a machine that does nothing else: about half an hour.
SECS = 7200 if tally.LONG else 60
AT_ONCE = 2
_KINDS = ("runs", "kills", "suspended", "statements")


@dataclass
class Campaign:
    """Some rounds, and what was counted in them."""

    folder: Path
    services: Services
    steps: dict[str, Any] = field(default_factory=dict)
    """For every run: see ``tests/harness/steps.py``."""
    first_seed: int = FIRST_SEED
    counts: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, secs: float = SECS) -> None:
        """Run :data:`ROUNDS`, for this long at most, or the one round that the environment names.

        A difference ends it.
        """
        named = os.environ.get(VARIABLE)
        if named:
            self.first_seed = int(named)
            self._rounds(iter([self.first_seed]), time.monotonic() + secs)
            return
        seeds = itertools.islice(itertools.count(self.first_seed), ROUNDS)
        deadline = time.monotonic() + secs
        with ThreadPoolExecutor(AT_ONCE) as threads:
            for done in [threads.submit(self._rounds, seeds, deadline) for _ in range(AT_ONCE)]:
                done.result()

    def _rounds(self, seeds: Iterator[int], deadline: float) -> None:
        while time.monotonic() < deadline and not self.differences:
            with self._lock:
                seed = next(seeds, None)
            if seed is None:
                return
            folder = self.folder / str(seed)
            round_ = Round(seed, folder, self.services, self.steps)
            try:
                round_.run()
                shutil.rmtree(folder, ignore_errors=True)
            except Difference as difference:
                form = "TRANSFORM_LOGS_FAULTS=long " * tally.LONG
                again = f"{form}{VARIABLE}={seed} pytest tests/faults/test_random_rounds.py"
                self.differences.append(f"{difference}\nIts files are in {folder}. To run it again: {again}")
            with self._lock:
                self.counts += round_.counts

    def summary(self) -> str:
        """One line for people."""
        counted = ", ".join(f"{self.counts[kind]:,} {kind}" for kind in _KINDS)
        rounds = f"{self.counts['rounds']:,} rounds from seed {self.first_seed}"
        return f"random oracle: {rounds}, {counted}; differences found: {len(self.differences)}"
