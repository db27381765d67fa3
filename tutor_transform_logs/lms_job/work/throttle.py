"""The throttle: how fast batches may follow each other, over all workers of a run together."""

from __future__ import annotations

import multiprocessing
import time

from ..util.timetable import Timetable

# How far a run that was held up may catch up.
BURST_SECS = 1.0


class Throttle:
    """When batches may begin; forked workers share it. Its times are those of the monotonic clock, in seconds."""

    def __init__(
        self, sleep_between_batches_secs: float, max_events_per_second: float | Timetable, shares: int = 1
    ) -> None:
        """0 for either: no limit. ``shares``: how many runs beside each other have the limits together."""
        self._sleep = sleep_between_batches_secs * shares
        self._rates = Timetable.of(max_events_per_second)
        self._shares = shares
        context = multiprocessing.get_context("fork")
        now = time.monotonic()
        self._free_at = context.Value("d", now)
        self._due_at = context.Value("d", now)

    def after_batch(self, events: int, sent: bool) -> float:
        """How many seconds to rest before the next batch may begin, after one of ``events`` events."""
        until = 0.0
        if self._sleep and sent:
            with self._free_at.get_lock():
                self._free_at.value = max(self._free_at.value, time.monotonic()) + self._sleep
                until = self._free_at.value
        rate = self._rates.at(time.time()) / self._shares
        if rate:
            with self._due_at.get_lock():
                earliest = time.monotonic() - BURST_SECS
                self._due_at.value = max(self._due_at.value, earliest) + events / rate
                until = max(until, self._due_at.value)
        return max(0.0, until - time.monotonic())
