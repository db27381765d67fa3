"""Ends a run that makes too many dead letters."""

from __future__ import annotations

from collections.abc import Callable

from ..model.progress_events import BatchDone
from ..util.errors import Unavailable

# Of fewer events, a percentage says little.
LEAST_EVENTS = 1000


class DeadLetterLimit:
    """Counts the dead letters of this run, or of one of its ``shares``."""

    def __init__(self, limit: str, shares: int) -> None:
        """``limit``: a number, a percentage, or ``""``."""
        self._limit = limit
        self._share = float(limit.rstrip("%")) / 100 if limit.endswith("%") else None
        self._most = int(limit) / shares if limit and self._share is None else None
        self._letters = self._events = 0

    def counting(self, emit: Callable[..., None]) -> Callable[..., None]:
        """``emit``, with an end to what is reported: :class:`~.errors.Unavailable` after a batch with too many."""
        if not self._limit:
            return emit

        def counted(event: object, *more: int) -> None:
            emit(event, *more)
            if isinstance(event, BatchDone):
                counts = event.counts
                self._letters += counts.dead_letters
                self._events += counts.transformed + counts.untransformable + counts.unparsable
                self._check()

        return counted

    def _check(self) -> None:
        if self._most is not None:
            over = self._letters > self._most
        else:
            over = self._events >= LEAST_EVENTS and self._letters > (self._share or 0.0) * self._events
        if over:
            raise Unavailable(
                f"{self._letters:,} dead letters of {self._events:,} events are more than max_dead_letters allows "
                f"({self._limit}): look at them in the report, and raise the limit. Run again to resume."
            )
