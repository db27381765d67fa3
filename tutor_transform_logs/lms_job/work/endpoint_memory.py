"""What was found out about an endpoint, kept in the ledger for the other workers and later runs."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress

from ..ledger import names
from ..ledger.json_objects import LedgerError
from ..ledger.ledger import Ledger
from ..storage.base import join_name
from ..util import temporary
from ..util.errors import Unavailable


class LedgerMemory:
    """An :class:`~.caliper_arrays.EndpointMemory`. Workers take turns by a file in the folder for temporary files.

    The kernel lets go of the lock of a process that dies. On Kubernetes, each pod has a folder of its own: then each
    may try once what it does not find in the ledger.
    """

    def __init__(self, ledger: Ledger, destination: str) -> None:
        self._ledger = ledger
        self._destination = destination
        self._has_turn = False

    @contextmanager
    def turn(self) -> Iterator[None]:
        if self._has_turn:
            # To open the file once more and close it would end the lock.
            yield
            return
        name = f"transform-logs-{os.getuid()}-{self._ledger.key}-{self._destination}.lock"
        with temporary.explained():
            path = os.path.join(tempfile.gettempdir(), name)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with temporary.explained():
                fcntl.lockf(file, fcntl.LOCK_EX)
            self._has_turn = True
            yield
        finally:
            self._has_turn = False
            os.close(file)

    def was_reached(self) -> bool:
        return any(batches for _, batches in self._ledger.batches_of(self._destination, 1))

    def takes_arrays(self) -> bool | None:
        try:
            return self._ledger.takes_arrays(self._destination)
        except LedgerError:
            # It is an observation, which can be made again: that it can't be read ends nothing.
            return None

    def remember(self, takes_arrays: bool) -> None:
        # A pod may write it at the same time. What was observed is not worth ending the run for.
        with self.turn(), suppress(Unavailable):
            self._ledger.save_takes_arrays(self._destination, takes_arrays)

    def forget(self) -> None:
        with self.turn(), suppress(Unavailable):
            self._ledger.delete(join_name(self._ledger.directory, names.endpoint_name(self._destination)))

    def sent(self, batch: str) -> Collection[str]:
        return self._ledger.load_sent(batch, self._destination)

    def remember_sent(self, batch: str, ids: Sequence[str]) -> None:
        self._ledger.save_sent(batch, self._destination, ids)
