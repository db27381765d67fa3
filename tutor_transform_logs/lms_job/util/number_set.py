"""A set of numbers that takes little memory: there may be one for each of millions of dead letters."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable


class NumberSet:
    """64-bit numbers, as good as random; 8 bytes each. Nothing can be added later."""

    def __init__(self, numbers: Iterable[int]) -> None:
        # Sorting makes a list, which takes five times as much: of a 256th at a time.
        self._parts = [array("Q") for _ in range(256)]
        for number in numbers:
            self._parts[number >> 56].append(number)
        for index, part in enumerate(self._parts):
            self._parts[index] = array("Q", sorted(part))

    def __contains__(self, number: int) -> bool:
        part = self._parts[number >> 56]
        at = bisect_left(part, number)
        return at < len(part) and part[at] == number

    def __len__(self) -> int:
        return sum(map(len, self._parts))
