"""Turns that the processes of one machine take with days of a table of ClickHouse."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from ..util import temporary

QUERY_ID_BYTES = 35


class LockedDays:
    """Days that no other process works on now, and the inserts of their rows that nobody saw the end of."""

    def __init__(self, file: int, days: Collection[int]) -> None:
        self._file = file
        self._days = days

    def unanswered(self) -> set[str]:
        """The query ids of inserts that were sent and not answered: they may still be running."""
        found = (os.pread(self._file, QUERY_ID_BYTES, day * QUERY_ID_BYTES) for day in self._days)
        return {query_id.decode("ascii") for query_id in found if query_id.strip(b"\0")}

    def sent(self, query_id: str) -> None:
        """An insert with this id (of ``QUERY_ID_BYTES``) is about to be sent."""
        self._write(query_id.encode("ascii"))

    def ended(self) -> None:
        """None of the inserts of these days is running any more."""
        self._write(bytes(QUERY_ID_BYTES))

    def _write(self, content: bytes) -> None:
        with temporary.explained():
            for day in self._days:
                os.pwrite(self._file, content, day * QUERY_ID_BYTES)


class DayLocks:
    """Keeps other processes on this machine away from days of the table. One object belongs to one process.

    Each day is a byte of a file in the folder for temporary files: a range of days is locked in one call, so there is
    no order to get wrong, and the kernel lets go of the locks of a process that dies. What the process had sent then
    may still be stored later. So the file holds, for each day, the id of the last insert until that is answered.
    """

    def __init__(self, name: str) -> None:
        self._file_name = f"transform-logs-{os.getuid()}-{name}.lock"

    @contextmanager
    def locked(self, days: Collection[int]) -> Iterator[LockedDays]:
        """Hold these days (numbers from 0) and those between them, waiting for whoever has them now.

        Raises :class:`~.errors.JobError` if the file can't be used.
        """
        with temporary.explained():
            path = os.path.join(tempfile.gettempdir(), self._file_name)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with temporary.explained():
                fcntl.lockf(file, fcntl.LOCK_EX, max(days) - min(days) + 1, min(days))
            yield LockedDays(file, days)
        finally:
            os.close(file)
