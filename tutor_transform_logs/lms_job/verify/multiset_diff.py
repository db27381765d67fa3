"""Compares two sets of statements, each of which may be larger than memory: what is in one and not in the other.

Each statement is written as 24 bytes to one of many small files, chosen by its id; then the files are compared one by
one. A statement may be in a set more than once.
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

FILE_COUNT = 256
_RECORD = struct.Struct(">QQq")
_IS_FOUND = -1


@dataclass
class DiffCounts:
    """How the expected statements compare with those that were found."""

    found: int = 0
    missing: int = 0
    different: int = 0
    """Found under this id, but with other content."""
    surplus: int = 0
    """Found more often than expected."""


class MultisetDiff:
    """The expected and the found statements. Its files are removed at the end of the context."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._files: list[IO[bytes]] = []

    def __enter__(self) -> MultisetDiff:
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="transform-logs-verify-"))
        self._files = [
            self._stack.enter_context(open(f"{folder}/{number:03d}", "w+b", buffering=16384))
            for number in range(FILE_COUNT)
        ]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def expect(self, fields: Mapping[str, Any], number: int) -> None:
        """Add a statement that should be found; ``number`` (0 or more) is returned if it is not."""
        self._write(fields, number)

    def add_found(self, fields: Mapping[str, Any]) -> None:
        """Add a statement that was found."""
        self._write(fields, _IS_FOUND)

    def _write(self, fields: Mapping[str, Any], number: int) -> None:
        statement_hash = hashed(statement_id(fields).lower())
        self._files[statement_hash % FILE_COUNT].write(_RECORD.pack(statement_hash, _hash(canonical(fields)), number))

    def compare(self, counts: DiffCounts) -> Iterator[tuple[int, int, bool]]:
        """Add to ``counts``; yields those that were not found: number, :func:`hashed` id, was another one found."""
        for file in self._files:
            file.seek(0)
            found: Counter[tuple[int, int]] = Counter()
            expected: list[tuple[int, int, int]] = []
            for statement_hash, content, number in _RECORD.iter_unpack(file.read()):
                if number == _IS_FOUND:
                    found[statement_hash, content] += 1
                else:
                    expected.append((statement_hash, content, number))
            unmatched = []
            for statement_hash, content, number in expected:
                if found[statement_hash, content] > 0:
                    found[statement_hash, content] -= 1
                    counts.found += 1
                else:
                    unmatched.append((statement_hash, number))
            surplus: Counter[int] = Counter()
            for (statement_hash, _), times in found.items():
                surplus[statement_hash] += times
            for statement_hash, number in unmatched:
                another = surplus[statement_hash] > 0
                if another:
                    surplus[statement_hash] -= 1
                    counts.different += 1
                else:
                    counts.missing += 1
                yield number, statement_hash, another
            counts.surplus += surplus.total()


def hashed(statement: str) -> int:
    """A statement's id, in lower case, as a number."""
    return _hash(statement.encode())


def _hash(content: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big")
