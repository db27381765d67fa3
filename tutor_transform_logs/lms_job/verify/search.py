"""What VERIFY needs of a destination that can be searched for statements."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Protocol

from ..model.delivery import OutgoingStatement


class Held(enum.Enum):
    """What a destination has of a statement that was sent to it."""

    SAME = "the same statement"
    DIFFERENT = "another statement with its id"
    VOIDED = "the statement, voided by another one"
    NOTHING = "nothing"


class Search(Protocol):
    """Searches one destination, one request at a time."""

    requests: int
    """How many there were so far."""
    surplus: int
    """How many statements were found once more than they should be there."""

    def held(self, statements: Sequence[OutgoingStatement]) -> list[Held]:
        """What the destination has of each of these. Raises :class:`~.errors.JobError` if it does not answer."""
