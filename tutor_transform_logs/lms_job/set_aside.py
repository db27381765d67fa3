"""What need not be at its destination: the lines and statements that are dead letters."""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable

from . import dead_letters
from .dead_letters import DeadLetter
from .delivery import Made
from .errors import JobError
from .ledger import Ledger
from .plan_model import Plan
from .reader import split_lines
from .report import Entries

LONGEST_LETTER = 256 * 1024**2


class SetAside:
    """Knows dead letters by what is in them, whatever their object is called now. Takes 8 bytes for each."""

    def __init__(self, letters: Iterable[DeadLetter]) -> None:
        keys = array("Q", (_key(one.raw, one.statement, one.destination) for one in letters))
        self._keys = array("Q", sorted(keys))

    def holds(self, made: Made, destination: str) -> bool:
        """Is this statement, or the line that it is made of, a dead letter of ``destination`` (its name)?"""
        raw = made.letter.raw if made.letter else made.line.raw
        return self._has(_key(raw, "", "")) or self._has(_key(raw, made.statement.id, destination))

    def _has(self, key: int) -> bool:
        at = bisect_left(self._keys, key)
        return at < len(self._keys) and self._keys[at] == key


def _key(raw: bytes, statement: str, destination: str) -> int:
    text = b"\0".join((raw, statement.encode(), destination.encode()))
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def letters_of(ledger: Ledger, plan: Plan, entries: Entries) -> Iterable[DeadLetter]:
    """All dead letters of the job: those that REPORT has joined, and those of the plan in hand.

    Raises :class:`~.errors.JobError` for a file that is damaged.
    """
    for file in ledger.dead_letter_files():
        for line in split_lines(ledger.storage.read(file.name), limit=LONGEST_LETTER):
            try:
                yield from dead_letters.parse(line.raw)
            except (ValueError, KeyError) as error:
                raise JobError(
                    f"{ledger.storage.where(file.name)} is damaged at byte {line.offset} ({error}): remove that line."
                ) from None
    if plan.finished:
        return
    for segment in plan.segments:
        for destination, entry in entries[segment.id].items():
            yield from ledger.load_dead_letters(plan, segment, destination, entry)
