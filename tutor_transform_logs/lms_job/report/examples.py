"""A few dead letters for each reason, as examples for the report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ..model.dead_letters import DeadLetter

MAX_EXAMPLES = 3
# Of the line of an example.
EXAMPLE_BYTES = 64 * 1024


class Examples:
    """Keeps the first few dead letters of each reason. Adding the same ones again changes nothing."""

    def __init__(self) -> None:
        self.by_reason: dict[str, list[DeadLetter]] = {}

    def collect(self, letters: Iterable[DeadLetter]) -> Iterator[DeadLetter]:
        """Pass ``letters`` through, and keep examples of them."""
        for letter in letters:
            kept = self.by_reason.setdefault(letter.reason, [])
            if len(kept) < MAX_EXAMPLES:
                example = replace(letter, raw=letter.raw[:EXAMPLE_BYTES])
                if example not in kept:
                    kept.append(example)
            yield letter
