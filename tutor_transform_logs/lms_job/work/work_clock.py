"""Measures where a worker's time goes: to reading, to transforming, or to delivering."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


class WorkClock:
    """The clock of one segment's work.

    Batches are made in a thread while others are delivered. What counts is what the worker waits for: until a batch is
    there, for reading and transforming it, in the proportion that the making of batches takes; else for delivery.
    """

    def __init__(self) -> None:
        self._read_secs = self._made_secs = 0.0
        self._began = time.monotonic()
        self._waited_secs = 0.0

    def reading(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """``chunks``, with the time that each took measured."""
        source = iter(chunks)
        while True:
            began = time.monotonic()
            try:
                chunk = next(source, None)
            finally:
                self._read_secs += time.monotonic() - began
            if chunk is None:
                return
            yield chunk

    def making(self, batches: Iterable[T]) -> Iterator[T]:
        """``batches``, with the time that each took measured, reading included."""
        began = time.monotonic()
        for batch in batches:
            self._made_secs += time.monotonic() - began
            yield batch
            began = time.monotonic()

    def start(self) -> None:
        """The work on what is recorded next begins."""
        self._began = time.monotonic()
        self._waited_secs = 0.0

    def waited(self, since: float) -> None:
        """The worker has waited for a batch since then (monotonic clock)."""
        self._waited_secs += time.monotonic() - since

    def pause(self, secs: float) -> None:
        """The worker has rested for so long, which is not work."""
        self._began += secs

    def times(self) -> tuple[float, float, float]:
        """How long the worker has read, transformed and delivered since the start."""
        working = max(time.monotonic() - self._began, 0.0)
        waited = min(self._waited_secs, working)
        reading = waited * min(self._read_secs / self._made_secs, 1.0) if self._made_secs else 0.0
        return reading, waited - reading, working - waited


def worker_name() -> str:
    """What tells this process from the others of the job, in other containers and in other runs."""
    return f"{socket.gethostname()}-{os.getpid()}"
