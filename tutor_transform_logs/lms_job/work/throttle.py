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
        self._lock = context.Lock()
        self._free_at = context.Value("d", now, lock=False)
        self._due_at = context.Value("d", now, lock=False)
        self._rested_at = now
        """When the pause after the last batch of this process is over."""

    def before_batch(self, events: int, sent: bool) -> float:
        """How many seconds to rest before a batch may begin. From now on it counts, for this and all other workers.

        ``events``: how many it has. ``sent``: is anything of it sent? A batch of nothing but skipped lines never waits.
        """
        begin, _ = self._take_turn(events, sent)
        return max(0.0, begin - time.monotonic())

    def after_batch(self, events: int, sent: bool) -> float:
        """How many seconds to rest after a batch that has not counted yet."""
        _, following = self._take_turn(events, sent)
        return max(0.0, following - time.monotonic())

    def batch_sent(self) -> None:
        """A batch of this process is delivered: its next one begins after a pause, however long the delivery took."""
        self._rested_at = time.monotonic() + self._sleep

    def _take_turn(self, events: int, sent: bool) -> tuple[float, float]:
        """When a batch may begin, and when the one after it."""
        rate = self._rates.at(time.time()) / self._shares if events else 0.0
        pauses = bool(self._sleep) and sent
        begin = time.monotonic()
        following = 0.0
        with self._lock:
            if pauses:
                begin = max(begin, self._free_at.value, self._rested_at)
            if rate:
                begin = max(begin, self._due_at.value)
            if pauses:
                self._free_at.value = following = begin + self._sleep
            if rate:
                self._due_at.value = max(self._due_at.value, begin - BURST_SECS) + events / rate
                following = max(following, self._due_at.value)
        return begin, following
