"""Counts distinct statements by day, more of them than memory holds."""

from __future__ import annotations

import contextlib
import hashlib
import struct
import tempfile
from collections import Counter
from datetime import date
from types import TracebackType
from typing import IO

HASH_FILES = 256
_RECORD = struct.Struct(">QI")


class DistinctByDay:
    """A statement is known by a number, and counted once a day. Its files are removed at the end of the context.

    Each is written as 12 bytes to one of many small files, chosen by its number; then the files are counted one by one.
    """

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._files: list[IO[bytes]] = []

    def __enter__(self) -> DistinctByDay:
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="transform-logs-gaps-"))
        self._files = [
            self._stack.enter_context(open(f"{folder}/{number:03d}", "w+b", buffering=16384))
            for number in range(HASH_FILES)
        ]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def add(self, number: int, day: date) -> None:
        """Count the statement of this number, unless it was counted on this day before."""
        self._files[number % HASH_FILES].write(_RECORD.pack(number, day.toordinal()))

    def counts(self) -> dict[date, int]:
        """Day -> statements."""
        days: Counter[int] = Counter()
        for file in self._files:
            file.seek(0)
            days.update(ordinal for _, ordinal in set(_RECORD.iter_unpack(file.read())))
        return {date.fromordinal(ordinal): count for ordinal, count in sorted(days.items())}


def number_of(*parts: object) -> int:
    """A 64-bit number that stands for these."""
    text = "\0".join(map(str, parts)).encode("utf-8", "replace")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
