"""Turns that the processes of one machine take with days of a table of ClickHouse."""

from __future__ import annotations

import fcntl
import os
import struct
import tempfile
import threading
import time
import weakref
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..util import temporary

QUERY_ID_BYTES = 35
# How many inserts of one day the file has places for: a process has no more of them in flight.
PLACES_A_DAY = 16
# More days than a table can hold.
DAYS_IN_FILE = 200_000
# A process whose threads keep days in use lets others have them after this time, and for that long.
LONGEST_SECS = 10.0
GIVEN_SECS = 0.02


@dataclass(frozen=True)
class _Claim:
    """What one thread has of the days, first and last included."""

    first: int
    last: int
    place: int


class LockedDays:
    """Days that no other process works on now, and the inserts of their rows that nobody saw the end of."""

    def __init__(self, owner: DayLocks, file: int, days: Collection[int], place: int) -> None:
        self._owner = owner
        self._file = file
        self._days = days
        self._place = place

    def unanswered(self) -> set[str]:
        """The query ids of inserts that were sent and not answered: they may still be running.

        Not those of other threads of this process, which have no row in common with this one.
        """
        found = {self._read(day, place) for day in self._days for place in range(PLACES_A_DAY)}
        return {query_id for query_id in found if query_id} - self._owner.of_other_threads()

    def sent(self, query_id: str) -> None:
        """An insert with this id (of ``QUERY_ID_BYTES``) is about to be sent."""
        self._write(query_id.encode("ascii"), [(day, self._place) for day in self._days])

    def ended(self) -> None:
        """The insert that was sent has ended."""
        self._write(bytes(QUERY_ID_BYTES), [(day, self._place) for day in self._days])

    def all_ended(self, query_ids: Collection[str]) -> None:
        """None of these inserts is running any more."""
        with self._owner.mutex:
            every = ((day, place) for day in self._days for place in range(PLACES_A_DAY))
            self._write(bytes(QUERY_ID_BYTES), [each for each in every if self._read(*each) in query_ids])

    def _read(self, day: int, place: int) -> str:
        return os.pread(self._file, QUERY_ID_BYTES, _offset(day, place)).strip(b"\0").decode("ascii")

    def _write(self, content: bytes, places: Collection[tuple[int, int]]) -> None:
        with temporary.explained(), self._owner.mutex:
            for day, place in places:
                os.pwrite(self._file, content, _offset(day, place))


def _offset(day: int, place: int) -> int:
    """Where the file has the id of the insert of this day that has this place."""
    return (place * DAYS_IN_FILE + day) * QUERY_ID_BYTES


class DayLocks:
    """Keeps other processes on this machine away from days of the table. One object belongs to one process.

    Each day is a byte of a file in the folder for temporary files: a range of days is locked in one call, so there is
    no order to get wrong, and the kernel lets go of the locks of a process that dies. What the process had sent then
    may still be stored later. So the file holds, for each day, the ids of the last inserts until they are answered.

    Threads of the process do not exclude each other: they have no rows in common.
    """

    def __init__(self, name: str) -> None:
        self._file_name = f"transform-logs-{os.getuid()}-{name}.lock"
        self._file: int | None = None
        self._changed = threading.Condition()
        self._claims: list[_Claim] = []
        self._since = 0.0
        """When the days that are in use were empty the last time (monotonic clock)."""
        self._live: Counter[str] = Counter()
        self._own = threading.local()
        self.mutex = threading.RLock()
        """Held while the ids in the file are changed."""

    @contextmanager
    def delivering(self, query_id: str) -> Iterator[None]:
        """For the whole delivery of a batch by this thread: it takes care of the inserts with this id by itself."""
        with self.mutex:
            self._live[query_id] += 1
        self._own.query_id = query_id
        try:
            yield
        finally:
            self._own.query_id = ""
            with self.mutex:
                self._live[query_id] -= 1

    def of_other_threads(self) -> set[str]:
        """The query ids of what other threads of this process deliver now."""
        own = getattr(self._own, "query_id", "")
        with self.mutex:
            return {query_id for query_id, times in self._live.items() if times > 0} - {own}

    @contextmanager
    def locked(self, days: Collection[int]) -> Iterator[LockedDays]:
        """Hold these days (numbers from 0) and those between them, waiting for whoever has them now.

        Raises :class:`~.errors.JobError` if the file can't be used.
        """
        file = self._opened()
        claim = self._claim(min(days), max(days))
        try:
            with temporary.explained():
                _lock(file, fcntl.F_WRLCK, claim.first, claim.last)
            yield LockedDays(self, file, days, claim.place)
        finally:
            self._release(file, claim)

    def _opened(self) -> int:
        with self._changed:
            if self._file is None:
                with temporary.explained():
                    path = os.path.join(tempfile.gettempdir(), self._file_name)
                    self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
                weakref.finalize(self, os.close, self._file)
            return self._file

    def _claim(self, first: int, last: int) -> _Claim:
        with self._changed:
            if self._claims and time.monotonic() - self._since > LONGEST_SECS:
                # The turn of others, should some be waiting.
                self._changed.wait_for(lambda: not self._claims)
                time.sleep(GIVEN_SECS)
            self._changed.wait_for(lambda: len(self._claims) < PLACES_A_DAY)
            if not self._claims:
                self._since = time.monotonic()
            taken = {claim.place for claim in self._claims}
            claim = _Claim(first, last, next(place for place in range(PLACES_A_DAY) if place not in taken))
            self._claims.append(claim)
            return claim

    def _release(self, file: int, claim: _Claim) -> None:
        """Let go of the days of a claim that no other thread has claimed."""
        with self._changed:
            self._claims.remove(claim)
            first = claim.first
            for other in sorted(self._claims, key=lambda other: other.first):
                if other.last < first or other.first > claim.last:
                    continue
                if other.first > first:
                    _lock(file, fcntl.F_UNLCK, first, other.first - 1)
                first = max(first, other.last + 1)
            if first <= claim.last:
                _lock(file, fcntl.F_UNLCK, first, claim.last)
            self._changed.notify_all()


def _lock(file: int, kind: int, first: int, last: int) -> None:
    """Wait for a lock of these bytes, or let go of it.

    It is one of the open file and not of the process, which would lose all of them as soon as it closed the file
    somewhere else, and of which the kernel would take threads that wait for each other for a deadlock.
    """
    command = fcntl.F_OFD_SETLK if kind == fcntl.F_UNLCK else fcntl.F_OFD_SETLKW
    fcntl.fcntl(file, command, struct.pack("hhqqi", kind, os.SEEK_SET, first, last - first + 1, 0))
