"""Counts distinct statements by day, more of them than memory holds."""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from datetime import date

from ..util.temporary import HashedFiles

_RECORD = struct.Struct(">QI")


class DistinctByDay(HashedFiles):
    """A statement is known by a number, and counted once a day. Its files are gone at the end of the context.

    Each is written as 12 bytes to one of many small files, chosen by its number; then the files are counted one by one.
    """

    def add(self, number: int, day: date) -> None:
        """Count the statement of this number, unless it was counted on this day before."""
        self.write(number, _RECORD.pack(number, day.toordinal()))

    def counts(self) -> dict[date, int]:
        """Day -> statements."""
        days: Counter[int] = Counter()
        for records in self.contents():
            days.update(ordinal for _, ordinal in set(_RECORD.iter_unpack(records)))
        return {date.fromordinal(ordinal): count for ordinal, count in sorted(days.items())}


def number_of(*parts: object) -> int:
    """A 64-bit number that stands for these."""
    text = "\0".join(map(str, parts)).encode("utf-8", "replace")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
