"""Waiting for a service that is unavailable: exponential, with jitter, bounded."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from .errors import TransientError, Unavailable

log = logging.getLogger(__name__)

FIRST_DELAY = 0.5
LONGEST_DELAY = 60.0

T = TypeVar("T")


@dataclass(frozen=True)
class Waiting:
    """A service is unavailable: why, and how long until the next try. A log record has it as ``waiting``."""

    why: str
    secs: float
    trouble: str = ""
    """``why`` without the object that it happened to, if it says one: many objects may have the same trouble."""

    def __str__(self) -> str:
        return f"{self.why}; trying again in {max(self.secs, 1):.0f} s"


def delays(max_wait_secs: float, first: float = FIRST_DELAY) -> Iterator[float]:
    """Seconds to sleep before each next try: doubling from ``first``, jittered by half, their sum ``max_wait_secs``.

    Ends when the sum is used up. Jitter keeps workers that lost the same server from all coming back at once.
    """
    waited = 0.0
    delay = first
    while waited < max_wait_secs:
        jittered = min(delay * random.uniform(0.5, 1.0), max_wait_secs - waited)
        yield jittered
        waited += jittered
        delay = min(delay * 2, LONGEST_DELAY)


def given_up(error: TransientError) -> Unavailable:
    """The error for what stays unavailable as ``error`` says."""
    return Unavailable(f"{error}. Run again to resume.", error.is_busy)


def retrying(
    attempt: Callable[[], T],
    max_wait_secs: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """What ``attempt`` returns; it is called again after each :class:`~.errors.TransientError`.

    Raises :class:`~.errors.Unavailable` once the waits add up to ``max_wait_secs``, or if the server asks for a wait
    that would end later than that. Any other exception is raised at once.
    """
    waits = delays(max_wait_secs)
    deadline = clock() + max_wait_secs
    while True:
        try:
            return attempt()
        except TransientError as error:
            delay = next(waits, None)
            if delay is None or clock() + error.retry_after_secs > deadline:
                raise given_up(error) from None
            waiting = Waiting(str(error), max(delay, error.retry_after_secs), error.trouble)
        log.info("%s", waiting, extra={"waiting": waiting})
        sleep(waiting.secs)
