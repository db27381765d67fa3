"""Waiting for something that is out of reach: exponential, with jitter, bounded."""

from __future__ import annotations

import random
from collections.abc import Iterator

FIRST_DELAY = 0.5
LONGEST_DELAY = 60.0


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
