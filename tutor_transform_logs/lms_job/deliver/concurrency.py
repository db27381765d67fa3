"""How many requests an endpoint can use at the same time, found out from its answers alone. Pure: no threads, no clock.

The model is the adaptive request concurrency of Vector: additive increase, multiplicative decrease. What an endpoint
uses of the requests in flight follows from the time of its answers: as long as it works on all of them, an answer takes
as long as it takes by itself; beyond that, requests wait in a queue of the endpoint's and add nothing but time.

It begins with a slow start, as that of TCP: in the time that one answer takes, each server of the endpoint can give one
answer, so that the number of answers in that time is the least that it works on at once, in whatever order they come.
Twice that may be in flight, and so on, until a round shows that requests wait; from then on, the limit grows by one.
After a time in which the endpoint took nothing at all, it begins so again, from half of what it was.
"""

from __future__ import annotations

import statistics
from collections import deque
from typing import NamedTuple

FIRST_LIMIT = 2
# The share of the requests in flight that the endpoint works on: above the first, more are tried, below the second,
# there are too many. Between the two, some wait there, so that it never has to wait for the job.
USED_ENOUGH = 0.8
USED_TOO_LITTLE = 0.65
# In this share of the shortest time, no server gives two answers: the shortest of a few is not the shortest there is.
SURE = 0.8
# How much a round counts beside those before it.
NEWS = 0.25
# How many answers show what one takes where no other request is in flight.
ANSWERS_ALONE = 3
# How many show it where there are others: of fewer, the order in which they come decides.
FEWEST_ANSWERS = 4
# How many mean deviations above the usual time are not late.
DEVIATIONS = 2.0
SHORTEST_SECS = 1e-6
# The number of rounds without a change after which is measured again, with half of the requests, what one takes alone.
ROUNDS_UNTIL_LOOK = 128
# After an endpoint has refused a number of requests (429, 503), that number is not tried again for some rounds: each
# time for twice as many as the last time, up to the second number.
ROUNDS_UNTIL_FIRST_RETRY = 4
ROUNDS_UNTIL_RETRY = 32


class Ticket(NamedTuple):
    """What is to be remembered of a request while it is in flight."""

    round: int
    tells: bool
    """Was it sent when as many requests were in flight as the current limit lets be?"""


class Concurrency:
    """The limit of requests in flight to one endpoint.

    It begins with two and is doubled as long as the endpoint uses all; then it grows by one, up to twice of what the
    endpoint works on at once. A round is as many answers as say something about the current limit; after each, the
    limit is changed or kept.
    """

    def __init__(self, most: int) -> None:
        """``most``: what the limit never exceeds."""
        self._most = max(1, most)
        self.limit = min(FIRST_LIMIT, self._most)
        """How many requests may be in flight."""
        self.in_flight = 0
        self._round = 0
        self._earlier = 0
        """How many of those in flight were sent under an earlier limit: until they end, the limit is not in use."""
        self._times: list[float] = []
        """Of the answers of this round, in seconds."""
        self._alone: float | None = None
        """How long an answer takes, in seconds, where no request waits for another one."""
        self._answers: deque[float] = deque()
        """When they came, those of the time that one takes: this number is what the endpoint worked on at once."""
        self._worked = 0
        """The most of them in this round."""
        self._deviation = 0.0
        """How far the times of a round are from their mean, in seconds: as much as that says nothing of a queue."""
        self._reached = False
        """Were as many in flight as the current limit lets be?"""
        self._wanted = 0
        """While it is doubled: what the answers say that the limit should be."""
        self._doubles = True
        self._proven = self.limit
        """The greatest limit of which the endpoint used enough."""
        self._refused = 0
        """A limit that was too much for the endpoint; 0: none."""
        self._until_retry = 0
        """For how many rounds it is not tried again."""
        self._unchanged = 0
        """Rounds since the limit was changed, or since the endpoint has refused one."""
        self._looking = 0
        """The limit to return to after a look."""

    @property
    def has_room(self) -> bool:
        """May another request be sent?"""
        return self.in_flight < self.limit

    def sent(self) -> Ticket:
        """A request is sent. Each ends with one of the methods below."""
        self.in_flight += 1
        self._reached = self._reached or self.in_flight >= self.limit
        ticket = Ticket(self._round, not self._earlier and self.in_flight >= self.limit)
        # Answers that have come one right after the other may have asked for more than this.
        self._double()
        return ticket

    def answered(self, ticket: Ticket, secs: float, now: float) -> None:
        """The request was answered, after this time. ``now``: of any clock in seconds."""
        self.ended(ticket)
        if self._alone is None or (self._doubles and secs < self._alone):
            self._alone = secs
        self._answers.append(now)
        while len(self._answers) > 1 and self._answers[0] < now - SURE * self._alone:
            self._answers.popleft()
        self._worked = max(self._worked, len(self._answers))
        self._wanted = min(2 * len(self._answers), self._most)
        self._double()
        if ticket.round != self._round or not ticket.tells:
            return
        self._times.append(secs)
        if len(self._times) >= self._needed:
            times, self._times = self._times, []
            # One in three that comes late does not show what they take.
            mean = statistics.median(times) if self.limit == 1 else statistics.fmean(times)
            # What comes late because it waits, or in a stall, is not a deviation of the usual kind.
            if self.limit > 1 and len(times) > 1 and mean * USED_TOO_LITTLE <= self._alone:
                deviation = sum(abs(each - mean) for each in times) / len(times)
                self._deviation += (NEWS if self._deviation else 1) * (deviation - self._deviation)
            self._end_round(mean)

    def overloaded(self, ticket: Ticket) -> None:
        """The endpoint could not take it now: 429, 503, no answer in time."""
        self.ended(ticket)
        if ticket.round != self._round:
            # Sent under an earlier limit, which was changed since.
            return
        self._unchanged = 0
        if self.limit > 1:
            self._refused = self.limit
            self._until_retry = min(2 * self._until_retry or ROUNDS_UNTIL_FIRST_RETRY, ROUNDS_UNTIL_RETRY)
            self._proven = min(self._proven, self.limit - 1)
            self._decrease(self.limit // 2)

    def away(self, ticket: Ticket) -> None:
        """Not even this request alone was taken: what was refused before it was not too much, it came at a bad time."""
        self.ended(ticket)
        self._refused, self._doubles, self._wanted = 0, True, 0

    def grow_slowly(self) -> None:
        """From now on, the limit grows by one at a time."""
        self._doubles = False

    def ended(self, ticket: Ticket) -> None:
        """The request has ended in a way that says nothing about the endpoint's load."""
        self.in_flight -= 1
        if ticket.round != self._round:
            self._earlier -= 1

    def _double(self) -> None:
        if self._doubles and self._reached and self.limit < self._wanted:
            self._set(self._wanted)

    @property
    def _needed(self) -> int:
        """How many answers a round has."""
        if self.limit == 1:
            return ANSWERS_ALONE
        return max(FEWEST_ANSWERS, self.limit if self._doubles else self.limit // 2)

    def _end_round(self, secs: float) -> None:
        assert self._alone is not None
        self._unchanged += 1
        if self._looking or self.limit == 1:
            # None waits for another one.
            self._alone = secs
        elif secs < self._alone:
            self._alone += NEWS * (secs - self._alone)
        if self._looking:
            self._set(self._looking)
            return
        usual = max(self._alone, SHORTEST_SECS)
        used = usual / max(secs - DEVIATIONS * self._deviation, usual)
        worked, self._worked = self._worked, 0
        used = max(used, worked / self.limit)
        if used >= USED_ENOUGH:
            self._proven = max(self._proven, self.limit)
            self._increase(2 * worked)
            return
        self._doubles = False
        if used < USED_TOO_LITTLE:
            self._decrease(max(worked, self.limit // 2))
        elif self._unchanged >= ROUNDS_UNTIL_LOOK:
            self._look()

    def _increase(self, useful: int) -> None:
        """``useful``: more is certainly too much."""
        if self._refused and self._unchanged >= self._until_retry:
            self._refused = 0
        most = min(self._most, self._refused - 1) if self._refused else self._most
        most = min(most, max(useful, self.limit))
        wanted = min(2 * self.limit, self._proven) if self.limit < self._proven else self.limit + 1
        wanted = max(1, min(wanted, most))
        if wanted > self.limit:
            self._set(wanted)
        elif self._unchanged >= ROUNDS_UNTIL_LOOK:
            self._look()

    def _decrease(self, limit: int) -> None:
        self._doubles, self._looking = False, 0
        limit = max(1, limit)
        if self.limit <= self._proven:
            # What it used before, it does not use now: it is tried again, but each time less of it at once.
            self._proven = max(limit, (self._proven + limit) // 2)
        self._set(limit)

    def _look(self) -> None:
        """Measure how long an answer takes by itself: it may have become more, or less, since."""
        self._unchanged = 0
        if self.limit > 1:
            limit, self._looking = self.limit, 0
            self._set(limit // 2)
            self._looking = limit

    def _set(self, limit: int) -> None:
        if limit != self.limit or self._looking:
            self.limit, self._looking = limit, 0
            self._round += 1
            self._earlier = self.in_flight
            self._worked, self._reached = 0, False
            self._times = []
            if not self._refused:
                self._unchanged = 0
