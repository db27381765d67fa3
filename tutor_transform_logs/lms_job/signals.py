"""SIGTERM and SIGINT end a run at once, but never between a delivery and the ledger entry that remembers it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(BaseException):
    """The run was asked to end. Not an ``Exception``, so that nothing on the way takes it for one event's error."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Interruptions:
    """Turns the signals into :class:`Interrupted`, at once or at the end of a :meth:`deferred` block."""

    def __init__(self) -> None:
        self._deferring = False
        self._pending = ""

    def install(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        # One is enough: a second one, as from a terminal and from docker, would only disturb the leaving.
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)
        if self._deferring:
            self._pending = name
        else:
            raise Interrupted(name)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Let the block end before an interruption takes effect. For blocks that take milliseconds."""
        self._deferring = True
        try:
            yield
        finally:
            self._deferring = False
        if self._pending:
            raise Interrupted(self._pending)
