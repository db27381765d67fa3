"""Whether this run still holds the lock of its job.

It is asked before each change of the ledger and before each delivery: a run may be suspended for longer than its lock
lasts, and somebody may delete the lock. A lock that is missing is lost: another run may have taken it, finished the
plan and released it meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Protocol

from ..storage.base import Storage
from ..util.errors import Unavailable


class LeaseLost(Unavailable):
    """This run no longer holds its job's lock, and must not write anything more."""


def lease_lost(where: str) -> LeaseLost:
    """``where``: the lock, or the ledger."""
    return LeaseLost(
        f"This run no longer holds the lock of its job ({where}): it was suspended for too long and another run has "
        "taken its place, or the lock was deleted. It has written nothing since. Run again to resume."
    )


class Lease(Protocol):
    """The lock that this run holds. Forked workers have it, too."""

    def ensure(self, storage: Storage, certain: bool = False) -> None:
        """Raises :class:`LeaseLost` if the lock is not held any more.

        ``storage``: this process's own connection to the ledger. ``certain``: ask, even if a recent heartbeat says that
        nobody else can have the lock.
        """


class LocalLease:
    """Open files that the kernel has locked. Only one that was deleted or replaced can be locked by another, too."""

    def __init__(self, files: Sequence[tuple[Path, IO[str]]]) -> None:
        self._files = [(path, os.fstat(file.fileno())) for path, file in files]

    def ensure(self, storage: Storage, certain: bool = False) -> None:
        for path, opened in self._files:
            try:
                found = os.stat(path)
            except OSError:
                raise lease_lost(str(path)) from None
            if (found.st_dev, found.st_ino) != (opened.st_dev, opened.st_ino):
                raise lease_lost(str(path))
