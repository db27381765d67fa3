"""Threads and processes, where the system may have none left: for lack of memory, or at a pod's limit of processes."""

from __future__ import annotations

import threading
from collections.abc import Callable

from .errors import Unavailable


def start_thread(body: Callable[[], object]) -> threading.Thread | None:
    """Do ``body`` in a thread that keeps no process from ending. ``None`` if the system starts no further thread."""
    thread = threading.Thread(target=body, daemon=True)
    try:
        thread.start()
    except (RuntimeError, MemoryError):
        return None
    return thread


def none_left(what: str) -> Unavailable:
    """The error for a thread or a process that the system does not start, and without which a run can't go on."""
    return Unavailable(
        f"The system starts no further {what}: give the job more memory, or raise the limit of processes (ulimit -v, "
        "ulimit -u, a pod's pids limit). Run again to resume."
    )
