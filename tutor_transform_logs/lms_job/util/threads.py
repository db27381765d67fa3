"""Threads and processes, where the system may have none left: for lack of memory, or at a pod's limit of processes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from .errors import Unavailable


def start_thread(body: Callable[[], object]) -> threading.Thread | None:
    """Do ``body`` in a thread that keeps no process from ending. ``None`` if the system starts no further thread."""
    thread = threading.Thread(target=body, daemon=True)
    try:
        thread.start()
    except (RuntimeError, MemoryError):
        return None
    return thread


_Bodies: TypeAlias = queue.SimpleQueue[tuple[Callable[[], object], threading.Event] | None]
"""What a thread does next, and what is set when that has ended; ``None``: nothing more."""


class KeptThread:
    """Does one thing after the other in the same thread, so that what that has opened stays open for the next one.

    Where the one before has not ended, the next one gets a new thread.
    """

    def __init__(self, at_end: Callable[[], object] = lambda: None) -> None:
        """``at_end``: called in the thread when it ends, for what it has opened."""
        self._at_end = at_end
        self._bodies: _Bodies | None = None
        self._thread: threading.Thread | None = None
        self._last = threading.Event()
        """Has the thread done all that it was given?"""

    def start(self, body: Callable[[], object]) -> threading.Event | None:
        """Do ``body``. The event is set when it has ended.

        ``None`` if the system starts no further thread.
        """
        if self._bodies is None or not self._last.is_set():
            self.close()
            bodies: _Bodies = queue.SimpleQueue()
            self._thread = start_thread(partial(self._work, bodies))
            if self._thread is None:
                return None
            self._bodies = bodies
        self._last = threading.Event()
        self._bodies.put((body, self._last))
        return self._last

    def close(self, wait_secs: float = 0.0) -> None:
        """End the thread once it has done what it was given; wait for that, but not longer."""
        if self._bodies is not None and self._thread is not None:
            self._bodies.put(None)
            self._bodies = None
            self._thread.join(wait_secs)

    def _work(self, bodies: _Bodies) -> None:
        """The life of a thread."""
        try:
            while (given := bodies.get()) is not None:
                body, ended = given
                del given
                try:
                    body()
                except BaseException as error:  # shown as that of any thread is; but the thread goes on
                    shown = (type(error), error, error.__traceback__, threading.current_thread())
                    threading.excepthook(threading.ExceptHookArgs(shown))
                finally:
                    # Nothing of it is kept until the next one.
                    del body
                    ended.set()
        finally:
            self._at_end()


def none_left(what: str) -> Unavailable:
    """The error for a thread or a process that the system does not start, and without which a run can't go on."""
    return Unavailable(
        f"The system starts no further {what}: give the job more memory, or raise the limit of processes (ulimit -v, "
        "ulimit -u, a pod's pids limit). Run again to resume."
    )
