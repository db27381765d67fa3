"""Makes items in a thread of its own, ahead of the one that uses them."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Generic, TypeVar

from .threads import KeptThread

T = TypeVar("T")

# How often a thread whose queue is full checks whether it was closed.
CHECK_SECS = 0.2
# How long closing waits for the item that is being made.
CLOSE_SECS = 5.0


class Prefetcher(Generic[T]):
    """``items`` that a thread keeps up to ``depth`` items ahead of its reader, besides the one that it is making.

    What delivers batches reads, and what makes them is in the thread, not the other way round: only the main thread can
    be interrupted by a signal, and delivery is what may wait long. An exception of ``items`` reaches the reader behind
    the items before it. Where the system starts no further thread, the reader makes each item as it asks for it.
    """

    def __init__(
        self,
        items: Iterator[T],
        depth: int = 1,
        at_end: Callable[[], object] = lambda: None,
        thread: KeptThread | None = None,
    ) -> None:
        """``at_end``: called in the thread when it ends, for what it has opened; without a thread, by :meth:`close`.

        ``thread``: in which they are made, and which stays; by default, in one of its own, which ends behind the last.
        """
        self._items = items
        self._at_end = at_end
        self._queue: queue.Queue[T | BaseException | None] = queue.Queue(depth)
        self._closed = threading.Event()
        made_in = thread or KeptThread()
        self._ended = made_in.start(self._make)
        """When they are all made; ``None``: without a thread."""
        if thread is None:
            made_in.close()

    def _make(self) -> None:
        try:
            for item in self._items:
                if not self._put(item):
                    return
            self._put(None)
        except BaseException as error:  # handed to the reader, who raises it
            self._put(error)
        finally:
            self._end()

    def _end(self) -> None:
        if isinstance(self._items, Generator):
            # What it has opened, and threads of its own, end in the thread that has used them.
            self._items.close()
        self._at_end()

    def _put(self, item: T | BaseException | None) -> bool:
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=CHECK_SECS)
                return True
            except queue.Full:
                continue
        return False

    def next(self, timeout: float | None = None) -> T | None:
        """The next item; ``None`` behind the last one. Raises ``queue.Empty`` if it takes longer than the time-out."""
        if self._ended is None:
            return next(self._items, None)
        item = self._queue.get(timeout=timeout)
        if isinstance(item, BaseException):
            raise item
        return item

    def __iter__(self) -> Iterator[T]:
        while (item := self.next()) is not None:
            yield item

    def close(self) -> None:
        """Make no more. Waits for the item that it is making, but a few seconds at most."""
        if self._ended is None:
            self._end()
            return
        self._closed.set()
        with contextlib.suppress(queue.Empty):
            # If it waits for a place, it has one.
            self._queue.get_nowait()
        self._ended.wait(CLOSE_SECS)
