"""How much one run may do: a number of events, and a time. What is left is for the next run."""

from __future__ import annotations

import math
import multiprocessing
import time

from ..config.schema import JobConfig
from ..util.errors import LimitReached
from ..util.formatting import count, duration


class Allowance:
    """What all workers of a run may do together; forked workers share it."""

    def __init__(self, events: int, secs: float) -> None:
        """0 for either: no limit. The time begins now."""
        self._events = events
        self._secs = secs
        self._ends = time.monotonic() + secs if secs else math.inf
        self._taken = multiprocessing.get_context("fork").Value("q", 0)

    @classmethod
    def of(cls, config: JobConfig, shares: int = 1) -> Allowance:
        """That of a run, or of one of its ``shares``, which run beside each other."""
        return cls(-(-config.limit // shares), config.max_duration)

    def take(self, number: int) -> None:
        """Called before a batch with this ``number`` of events is delivered.

        Raises :class:`~.errors.LimitReached` if it may not be. Since batches are delivered whole, less than one batch
        more than the limit may be delivered.
        """
        self.check_time()
        with self._taken.get_lock():
            if self._events and self._taken.value >= self._events:
                events = count(self._events, "event")
                raise LimitReached(f"The limit is reached (TRANSFORM_LOGS_LIMIT: {events}). Run again to resume.")
            self._taken.value += number

    def check_time(self) -> None:
        """Raises :class:`~.errors.LimitReached` if the time is up."""
        if self.secs_left() <= 0:
            taken = duration(self._secs)
            raise LimitReached(f"The time is up (TRANSFORM_LOGS_MAX_DURATION: {taken}). Run again to resume.")

    def secs_left(self) -> float:
        """How long the run may go on."""
        return self._ends - time.monotonic()

    def events_per_batch(self, most: int) -> int:
        """How many events a batch has, at ``most`` that many: a whole number of batches makes the limit."""
        if not self._events:
            return most
        batches = -(-self._events // most)
        return -(-self._events // batches)
