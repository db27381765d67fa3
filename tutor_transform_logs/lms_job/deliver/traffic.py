"""The requests of one process to one endpoint, from several threads: how many at once, and when none.

An endpoint that does not answer, or is busy, is left alone by all: one request at a time tries whether that has passed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from ..util import backoff
from ..util.backoff import Waiting
from ..util.errors import TransientError
from .concurrency import Concurrency, Ticket

log = logging.getLogger(__name__)

# An answer to a body that is smaller, beside the largest of late, says little about how long answers take.
COMPARABLE = 0.5
# The largest of late shrinks so with each request.
SHRINKING = 0.99

# After this number of rejections, most of what an endpoint rejects is known.
REJECTIONS_ALONE = 32

T = TypeVar("T")


class Closed(Exception):
    """No more requests may be sent."""


@dataclass
class _Outage:
    """A time in which the endpoint takes no requests. ``until`` and ``deadline`` are times of the monotonic clock."""

    waits: Iterator[float]
    deadline: float
    until: float = 0.0
    """Until when nobody tries."""
    probing: bool = False
    """Does somebody try now?"""
    last: TransientError | None = None
    """What the last try ended with, where the waiting was of no use."""


class _Pass:
    """One try of a request, from when it may be sent to its end."""

    def __init__(self, ticket: Ticket, outage: _Outage | None) -> None:
        self.ticket = ticket
        self.outage = outage
        """The outage of which it may be the end."""
        self.began = time.monotonic()


class EndpointTraffic:
    """Lets requests to one endpoint pass, and waits between the tries of those that fail."""

    def __init__(self) -> None:
        """One request at a time, until :meth:`allow`."""
        self._condition = threading.Condition()
        self._concurrency = Concurrency(1)
        self._outage: _Outage | None = None
        self._largest = 0.0
        self._closed = False
        self._rejections = 0

    @property
    def has_answered(self) -> bool:
        """Has the endpoint rejected statements so often that other batches need not wait for the end of the first?"""
        return self._rejections >= REJECTIONS_ALONE

    @property
    def limit(self) -> int:
        """How many requests are of use at the same time, as far as is known."""
        return self._concurrency.limit

    def allow(self, most: int) -> None:
        """Allow up to this number of requests at the same time. Called before the first one."""
        self._concurrency = Concurrency(most)

    def rejected(self) -> None:
        """The endpoint has rejected statements for what is in them.

        So it is there; but until it is known which it rejects, each further batch costs some more requests.
        """
        with self._condition:
            self._rejections += 1
            self._concurrency.grow_slowly()

    def close(self) -> None:
        """Let no more requests pass: from now on they raise :class:`Closed`."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def retrying(self, attempt: Callable[[], T], max_wait_secs: float, size: int = 0) -> T:
        """What ``attempt`` returns; it is called again after each :class:`~.errors.TransientError`.

        ``size``: of the body in bytes; 0: how long the answer takes says nothing about others.

        Raises :class:`~.errors.Unavailable` once the waits of an outage, or of this request, add up to
        ``max_wait_secs``, or if the server asks for a wait that would end later than that. 0: after one try, whatever
        other requests wait for. Any other exception is raised at once.
        """
        if not max_wait_secs:
            return backoff.retrying(attempt, 0.0)
        failed, waited = False, 0.0
        while True:
            asked = time.monotonic()
            allowed = self._enter()
            waited += time.monotonic() - asked if failed else 0.0
            try:
                result = attempt()
            except TransientError as error:
                failed = True
                self._fail(allowed, error, max_wait_secs, waited)
            except BaseException:
                self._leave(allowed, 0)
                raise
            else:
                self._leave(allowed, size)
                return result

    def _enter(self) -> _Pass:
        """Wait until a request may be sent."""
        outage = None
        with self._condition:
            while True:
                if self._closed:
                    raise Closed
                if outage is not None and outage.last is not None:
                    raise backoff.given_up(outage.last)
                outage, timeout = self._outage, None
                if outage is None:
                    if self._concurrency.has_room:
                        return _Pass(self._concurrency.sent(), None)
                elif not outage.probing:
                    timeout = outage.until - time.monotonic()
                    if timeout <= 0:
                        outage.probing = True
                        return _Pass(self._concurrency.sent(), outage)
                self._condition.wait(timeout)

    def _leave(self, allowed: _Pass, size: int) -> None:
        """The endpoint has answered."""
        now = time.monotonic()
        with self._condition:
            self._largest = max(size, self._largest * SHRINKING)
            if size and size >= self._largest * COMPARABLE:
                self._concurrency.answered(allowed.ticket, now - allowed.began, now)
            else:
                self._concurrency.ended(allowed.ticket)
            # The answer to an earlier request does not end the wait that was asked for meanwhile.
            if allowed.outage is not None and allowed.outage is self._outage:
                self._outage = None
            self._condition.notify_all()

    def _fail(self, allowed: _Pass, error: TransientError, max_wait_secs: float, waited: float) -> None:
        """The endpoint could not take a request: wait with all others. Raises :class:`~.errors.Unavailable`."""
        with self._condition:
            if allowed.outage is None:
                self._concurrency.overloaded(allowed.ticket)
            else:
                self._concurrency.away(allowed.ticket)
                if allowed.outage.last is not None:
                    raise backoff.given_up(allowed.outage.last) from None
            outage = self._outage
            if outage is not None and outage is not allowed.outage:
                # Sent before that was known.
                if time.monotonic() + error.retry_after_secs <= outage.deadline:
                    outage.until = max(outage.until, time.monotonic() + error.retry_after_secs)
                    return
            elif outage is None:
                outage = self._outage = _Outage(backoff.delays(max_wait_secs), allowed.began + max_wait_secs)
            delay = next(outage.waits, None)
            too_late = time.monotonic() + error.retry_after_secs > outage.deadline
            self._condition.notify_all()
            if delay is None or too_late or waited >= max_wait_secs:
                outage.last, self._outage = error, None
                raise backoff.given_up(error) from None
            waiting = Waiting(str(error), max(delay, error.retry_after_secs))
            outage.until, outage.probing = time.monotonic() + waiting.secs, False
        log.info("%s", waiting, extra={"waiting": waiting})
