"""Two heaps of statements compared, each larger than memory: what is in one and not in the other.

A statement is noted as 24 bytes in one of many small files on disk, which one its id says; then one file after the
other is looked at.
"""

from __future__ import annotations

import contextlib
import hashlib
import struct
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any

from ..model.records import statement_id
from .equivalence import canonical

PARTS = 256
_NOTE = struct.Struct(">QQq")
_FOUND = -1


@dataclass
class Compared:
    """How the statements that should be there compare with those that are."""

    there: int = 0
    missing: int = 0
    different: int = 0
    """There under this id, but with another content."""
    surplus: int = 0
    """There more often than they should be."""


class MultisetDiff:
    """The two heaps. A context: what is on disk goes with it. What is there may be more than what was looked for."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._parts: list[IO[bytes]] = []

    def __enter__(self) -> MultisetDiff:
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="transform-logs-verify-"))
        self._parts = [
            self._stack.enter_context(open(f"{folder}/{number:03d}", "w+b", buffering=16384)) for number in range(PARTS)
        ]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def expect(self, fields: Mapping[str, Any], number: int) -> None:
        """Note a statement that should be there; ``number`` (0 or more) is handed back if it is not."""
        self._note(fields, number)

    def find(self, fields: Mapping[str, Any]) -> None:
        """Note a statement that is there."""
        self._note(fields, _FOUND)

    def _note(self, fields: Mapping[str, Any], number: int) -> None:
        one = hashed(statement_id(fields).lower())
        self._parts[one % PARTS].write(_NOTE.pack(one, _hash(canonical(fields)), number))

    def compare(self, compared: Compared) -> Iterator[tuple[int, int, bool]]:
        """Count into ``compared``; gives those that are not there: number, :func:`hashed` id, is another there."""
        for part in self._parts:
            part.seek(0)
            found: Counter[tuple[int, int]] = Counter()
            expected: list[tuple[int, int, int]] = []
            for one, content, number in _NOTE.iter_unpack(part.read()):
                if number == _FOUND:
                    found[one, content] += 1
                else:
                    expected.append((one, content, number))
            left = []
            for one, content, number in expected:
                if found[one, content] > 0:
                    found[one, content] -= 1
                    compared.there += 1
                else:
                    left.append((one, number))
            surplus: Counter[int] = Counter()
            for (one, _), times in found.items():
                surplus[one] += times
            for one, number in left:
                another = surplus[one] > 0
                if another:
                    surplus[one] -= 1
                    compared.different += 1
                else:
                    compared.missing += 1
                yield number, one, another
            compared.surplus += surplus.total()


def hashed(statement: str) -> int:
    """A statement's id, in lower case, as a number."""
    return _hash(statement.encode())


def _hash(content: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big")
