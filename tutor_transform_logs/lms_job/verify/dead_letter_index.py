"""The lines and statements that are dead letters: VERIFY does not expect them at their destination."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from ..model.dead_letters import DeadLetter
from ..model.delivery import SourcedStatement
from ..util.number_set import NumberSet


class DeadLetterIndex:
    """Recognises dead letters by their content, whatever their object is called now. Takes 8 bytes for each."""

    def __init__(self, letters: Iterable[DeadLetter]) -> None:
        self._keys = NumberSet(_key(letter.raw, letter.statement, letter.destination) for letter in letters)

    def contains(self, made: SourcedStatement, destination: Iterable[str]) -> bool:
        """Is this statement, or the line it was made of, a dead letter of ``destination`` (by any of these names)?"""
        if not self._keys:
            return False
        raw = made.letter.raw if made.letter else made.line.raw
        return _key(raw, "", "") in self._keys or any(
            _key(raw, made.statement.id, name) in self._keys for name in destination
        )


def _key(raw: bytes, statement: str, destination: str) -> int:
    text = b"\0".join((raw, statement.encode(), destination.encode()))
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
