"""Estimates how long the rest will take, from the recent speed."""

from __future__ import annotations

import math

# The past that counts: a part of all the time so far, so that an estimate is neither nervous nor stubborn.
SHORTEST_MEMORY_SECS, LONGEST_MEMORY_SECS = 20.0, 600.0
MEMORY_SHARE = 0.25
# What is said before is a guess.
FIRST_SAID_SECS = 3.0
STEP_SECS = 1.0


class Eta:
    """A smoothed speed. Times are those of a monotonic clock, in seconds."""

    def __init__(self, now: float) -> None:
        self._begun = self._at = now
        self._new = 0.0
        self._speed: float | None = None

    def done(self, amount: float, now: float) -> None:
        """So much more is done."""
        self._new += amount
        if now - self._at >= STEP_SECS:
            self._take(now)

    def _take(self, now: float) -> None:
        secs = now - self._at
        speed = self._new / secs
        if self._speed is None:
            self._speed = speed if self._new else None
        else:
            memory = min(max((now - self._begun) * MEMORY_SHARE, SHORTEST_MEMORY_SECS), LONGEST_MEMORY_SECS)
            weight = 1 - math.exp(-secs / memory)
            self._speed += weight * (speed - self._speed)
        if self._speed is not None:
            # What comes late is part of the speed from the start.
            self._at, self._new = now, 0.0

    def secs_left(self, amount: float, now: float) -> float | None:
        """Seconds until so much more will be done; ``None`` while that can't be said."""
        if now - self._at >= STEP_SECS:
            self._take(now)
        if amount <= 0:
            return 0.0
        if self._speed is None or self._speed <= 0 or now - self._begun < FIRST_SAID_SECS:
            return None
        return amount / self._speed
