"""Compares two sets of statements, each of which may be larger than memory: what is in one and not in the other.

Each statement is written as 24 bytes to one of many small files, chosen by its id; then the files are compared one by
one. A statement may be in a set more than once.
"""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..model.equivalence import canonical
from ..model.records import statement_id
from ..util.temporary import HashedFiles

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


class MultisetDiff(HashedFiles):
    """The expected and the found statements. Its files are gone at the end of the context."""

    def expect(self, fields: Mapping[str, Any], number: int) -> None:
        """Add a statement that should be found; ``number`` (0 or more) is returned if it is not."""
        self._write(fields, number)

    def add_found(self, fields: Mapping[str, Any]) -> None:
        """Add a statement that was found."""
        self._write(fields, _IS_FOUND)

    def _write(self, fields: Mapping[str, Any], number: int) -> None:
        statement_hash = hashed(statement_id(fields).lower())
        self.write(statement_hash, _RECORD.pack(statement_hash, _hash(canonical(fields)), number))

    def compare(self, counts: DiffCounts) -> Iterator[tuple[int, int, bool]]:
        """Add to ``counts``; yields those that were not found: number, :func:`hashed` id, was another one found."""
        for records in self.contents():
            found: Counter[tuple[int, int]] = Counter()
            expected: list[tuple[int, int, int]] = []
            for statement_hash, content, number in _RECORD.iter_unpack(records):
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
