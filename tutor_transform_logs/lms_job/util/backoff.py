"""Waiting for something that is out of reach: exponential, with jitter, bounded."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass

log = logging.getLogger(__name__)

FIRST_DELAY = 0.5
LONGEST_DELAY = 60.0


@dataclass(frozen=True)
class Waiting:
    """Something is out of reach: why, and how long it takes until the next try. A log record has it as ``waiting``."""

    why: str
    secs: float

    def __str__(self) -> str:
        return f"{self.why}; trying again in {max(self.secs, 1):.0f} s"


def delays(max_wait_secs: float, first: float = FIRST_DELAY) -> Iterator[float]:
    """Seconds to sleep before each next try: doubling from ``first``, jittered by half, their sum ``max_wait_secs``.

    Ends when the sum is used up. Jitter keeps many workers that lost the same server from coming back as one.
    """
    waited = 0.0
    delay = first
    while waited < max_wait_secs:
        jittered = min(delay * random.uniform(0.5, 1.0), max_wait_secs - waited)
        yield jittered
        waited += jittered
        delay = min(delay * 2, LONGEST_DELAY)


def wait(why: str, secs: float) -> None:
    """Sleep before the next try, and say why."""
    waiting = Waiting(why, secs)
    log.info("%s", waiting, extra={"waiting": waiting})
    time.sleep(secs)
