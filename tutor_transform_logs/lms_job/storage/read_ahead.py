"""Reads small objects before they are asked for, in a known order: several requests are on their way at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from ..util.errors import ObjectGone
from ..util.threads import start_thread
from .base import AT_ONCE

T = TypeVar("T")

# The number of objects, for each thread, that may have been read, or be on their way, and not have been taken.
AHEAD_PER_THREAD = 2
# What was read before that is read again: another object may have its name by now.
MOST_SECS = 10.0
# Threads that are reading when they are ended have this long. They keep no process from ending.
LAST_READ_SECS = 1.0


class ReadAhead(Generic[T]):
    """Objects that threads read a bit ahead of the one who takes them, who goes through them in order.

    Where the system starts fewer threads, these do. Without any, nothing is read ahead.
    """

    def __init__(self, names: Sequence[str], connect: Callable[[], Callable[[str], T]], at_once: int = AT_ONCE) -> None:
        """``connect``: called by each thread for what it reads with, over a connection of its own."""
        self._most_ahead = AHEAD_PER_THREAD * at_once
        self._names = names
        self._places = {name: place for place, name in enumerate(names)}
        self._connect = connect
        self._changed = threading.Condition()
        self._found: dict[int, tuple[float, T | ObjectGone | None]] = {}
        """Place -> when it was read, and what was read, or that it is gone; ``None``: it could not be read."""
        self._next = 0
        """The place that a thread reads next, and the first that may still be taken."""
        self._at = 0
        self._closed = False
        self._threads: list[threading.Thread] = []
        for _ in names[:at_once]:
            if (thread := start_thread(self._work)) is None:
                break
            self._threads.append(thread)
        if not self._threads:
            # Whoever takes an object reads it.
            self._closed = True

    def take(self, name: str) -> T | None:
        """What was read of an object; ``None`` if it has to be read again. Those before it are dropped.

        Waits for it if it is being read. Raises :class:`~.errors.ObjectGone` if it does not exist.
        """
        place = self._places.get(name, -1)
        with self._changed:
            if place < self._at:
                return None
            self._move_to(place)
            self._changed.wait_for(lambda: place in self._found or self._closed)
            read_at, found = self._found.get(place, (0.0, None))
            self._move_to(place + 1)
        if found is None or time.monotonic() - read_at > MOST_SECS:
            return None
        if isinstance(found, ObjectGone):
            raise found
        return found

    def _move_to(self, place: int) -> None:
        for old in range(self._at, place):
            self._found.pop(old, None)
        self._at, self._next = place, max(place, self._next)
        self._changed.notify_all()

    def _work(self) -> None:
        """The life of a thread."""
        read: Callable[[str], T] | None = None
        while (place := self._place_to_read()) is not None:
            found: T | ObjectGone | None = None
            try:
                read = read or self._connect()
                found = read(self._names[place])
            except ObjectGone as error:
                found = error.with_traceback(None)
            except BaseException:  # whoever takes it reads it again, and says what is wrong
                found = None
            with self._changed:
                if place >= self._at and not self._closed:
                    self._found[place] = (time.monotonic(), found)
                    self._changed.notify_all()

    def _place_to_read(self) -> int | None:
        """``None``: there is no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._next < self._at + self._most_ahead)
            if self._closed or self._next >= len(self._names):
                return None
            self._next += 1
            return self._next - 1

    def close(self) -> None:
        """End the threads: they read nothing more."""
        with self._changed:
            self._closed = True
            self._found.clear()
            self._changed.notify_all()
        deadline = time.monotonic() + LAST_READ_SECS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
