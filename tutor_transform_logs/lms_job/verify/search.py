"""What VERIFY needs of a destination that can be searched for statements."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Protocol

from ..model.delivery import Held, OutgoingStatement


class Search(Protocol):
    """Searches one destination, one request at a time."""

    requests: int
    """How many there were so far."""
    surplus_rows: array[int]
    """A hash of each row beyond the first of a statement; more than once if the statement was searched for again."""

    def held(self, statements: Sequence[OutgoingStatement]) -> list[Held]:
        """What the destination has of each of these. Raises :class:`~.errors.JobError` if it does not answer."""
