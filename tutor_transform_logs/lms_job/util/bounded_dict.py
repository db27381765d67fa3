"""A dictionary with a limited number of entries."""

from __future__ import annotations

import itertools
from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class BoundedDict(dict[Key, Value]):
    """Holds at most ``most`` entries. When it is full, the oldest quarter is dropped."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def put(self, key: Key, value: Value) -> None:
        """Keep ``value`` under ``key``."""
        if len(self) >= self._most:
            for oldest in list(itertools.islice(self, self._most // 4 + 1)):
                del self[oldest]
        self[key] = value
