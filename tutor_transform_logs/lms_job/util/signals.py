"""SIGTERM and SIGINT end a run at once, but not between a delivery and the ledger entry that records it.

Unless the ledger does not answer: then the run leaves without that entry, and the next one delivers the batch again.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from .errors import ExitStatus

# The run has so long to leave by itself (to write its ledger, to report); docker stop waits ten seconds.
LEAVE_SECS = 7.0
# Long enough for a finalizer to end.
AGAIN_SECS = 0.01


ENDING = (signal.SIGTERM, signal.SIGINT)


class Interrupted(BaseException):
    """The run was asked to end. Not an ``Exception``, so that nothing on the way takes it for one event's error."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def exit_on_signals() -> None:
    """Until :meth:`Interruptions.install`, a signal ends the process at once: it has only imported modules so far."""

    def leave(number: int, _frame: FrameType | None) -> None:
        message = f"Interrupted ({signal.Signals(number).name}). Run the same command again.\n"
        # Nothing that is half imported takes part in this.
        os.write(2, message.encode())
        os._exit(ExitStatus.STOPPED)

    for number in ENDING:
        signal.signal(number, leave)


@contextmanager
def held() -> Iterator[None]:
    """The signals that arrive within the block are handled at its end, and in a process that it forks not before
    :func:`let_through`.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def let_through() -> Iterator[None]:
    """The signals are handled within the block, also those that were held before it, and no more behind it."""
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)


class Interruptions:
    """Turns the signals into :class:`Interrupted`, at once or at the end of a :meth:`deferred` block."""

    def __init__(self) -> None:
        self._deferring = False
        self._pending = ""
        self._leaving = False

    def install(self) -> None:
        for number in ENDING:
            signal.signal(number, self._on_signal)
        sys.unraisablehook = self._on_unraisable

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        # One is enough: a second one, as from a terminal and from docker or from the parent of a worker, would only
        # disturb the leaving. Not SIG_IGN: Python complains if a signal has arrived and is set to be ignored.
        if not self._leaving:
            self._leaving = True
            self._interrupt(signal.Signals(number).name)

    def _interrupt(self, name: str) -> None:
        # Whatever it is that does not answer then: the ledger, the lock, a report of very many segments.
        signal.signal(signal.SIGALRM, lambda *_: self._on_alarm(name))
        signal.setitimer(signal.ITIMER_REAL, LEAVE_SECS)
        if self._deferring:
            self._pending = name
        else:
            raise Interrupted(name)

    def _on_alarm(self, name: str) -> None:
        raise Interrupted(name)

    def _on_unraisable(self, unraisable: sys.UnraisableHookArgs) -> None:
        """A signal that arrives in a finalizer raises there, where Python ignores every exception: raise it again."""
        interrupted = unraisable.exc_value
        if not isinstance(interrupted, Interrupted):
            sys.__unraisablehook__(unraisable)
            return
        name = interrupted.name
        signal.signal(signal.SIGALRM, lambda *_: self._interrupt(name))
        signal.setitimer(signal.ITIMER_REAL, AGAIN_SECS)

    def uninstall(self) -> None:
        """The run has ended; nothing is left to be interrupted."""
        self._leaving = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.unraisablehook = sys.__unraisablehook__
        # Python puts the default back for a handler of its own while it exits, and not for this.
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)

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
