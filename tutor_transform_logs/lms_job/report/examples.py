"""A few dead letters for each reason, to show what they are like."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..model.dead_letters import DeadLetter

OF_EACH = 3


class Examples:
    """Sees dead letters pass, and keeps the first few of each reason. Seeing the same ones again changes nothing."""

    def __init__(self) -> None:
        self.by_reason: dict[str, list[DeadLetter]] = {}

    def taking(self, letters: Iterable[DeadLetter]) -> Iterator[DeadLetter]:
        """``letters``, each looked at as it passes."""
        for letter in letters:
            kept = self.by_reason.setdefault(letter.reason, [])
            if len(kept) < OF_EACH and letter not in kept:
                kept.append(letter)
            yield letter
