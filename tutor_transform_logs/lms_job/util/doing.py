"""What goes on inside a batch that takes long, told while it does: many requests one after the other, for example."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

log = logging.getLogger(__name__)

TELL_SECS = 1.0


@dataclass(frozen=True)
class Doing:
    """What is being done. A log record has it as ``doing``; it is progress, not a line of its own."""

    what: str


class Teller:
    """Tells at most once in :data:`TELL_SECS`, and nothing of what takes no longer than that."""

    def __init__(self) -> None:
        self._told = time.monotonic()

    def begin(self) -> None:
        """Something begins that may take long."""
        self._told = time.monotonic()

    def tell(self, what: str) -> None:
        now = time.monotonic()
        if now - self._told >= TELL_SECS:
            self._told = now
            log.info("%s", what, extra={"doing": Doing(what)})
