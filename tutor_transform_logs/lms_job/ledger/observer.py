"""Whether the owner of a lock with heartbeats lives: by the time of its last heartbeat, or by watching it.

That time is of the owner's clock. Where it is too far from this machine's, it says nothing: a clock that is a day ahead
would hold a dead run's lock for a day, and one that is behind would have a running job taken for dead. A heartbeat that
changes while it is watched is alive, whatever the clocks say.
"""

from __future__ import annotations

import logging
import time

from ..storage.base import Storage, read_all
from ..util.errors import ObjectGone
from ..util.formatting import duration, printable
from .owner import DEAD_AFTER_SECS, LeaseOwner, is_dead, is_recent, parsed

log = logging.getLogger(__name__)

# A heartbeat comes every 20 s, if the store answers. By a clock that is right, an old one is dead.
OLD_WATCH_SECS = 30.0
FUTURE_WATCH_SECS = DEAD_AFTER_SECS
LOOK_EVERY_SECS = 2.0


def may_be_alive(text: str) -> bool:
    """May the owner in this lock be alive, as far as its text alone tells?"""
    owner = parsed(text)
    return bool(owner) and (is_recent(owner["beat"]) or owner["beat"] > time.time()) and not is_dead(owner)


class Observer:
    """Tells which locks are of processes that live. It watches each heartbeat once."""

    def __init__(self) -> None:
        self._motionless: set[str] = set()
        """The texts of the locks that did not change while they were watched."""

    def is_alive(self, storage: Storage, name: str, text: str) -> bool:
        """Is the owner of the lock ``name``, which holds ``text``, alive? It may take as long as it is watched."""
        owner = parsed(text)
        if not owner or text in self._motionless or is_dead(owner):
            return False
        if is_recent(owner["beat"]):
            return True
        ahead = owner["beat"] - time.time()
        changes = _changes(storage, name, text, FUTURE_WATCH_SECS if ahead > 0 else OLD_WATCH_SECS, ahead)
        if not changes:
            self._motionless.add(text)
        return changes


def _changes(storage: Storage, name: str, text: str, secs: float, ahead: float) -> bool:
    """Does the lock get another heartbeat within ``secs``? One that is deleted is not held any more."""
    clock = f"{duration(abs(ahead))} {'in the future' if ahead > 0 else 'old'} by this machine's clock"
    log.info(
        "The lock of the job (%s, %s) has a heartbeat that is %s: watching for up to %s if it changes.",
        printable(storage.where(name)),
        printable(str(LeaseOwner.of(text)).partition(", for ")[0]),
        clock,
        duration(secs),
    )
    deadline = time.monotonic() + secs
    while time.monotonic() < deadline:
        time.sleep(LOOK_EVERY_SECS)
        try:
            if read_all(storage, name).decode("utf-8", "replace") != text:
                return True
        except ObjectGone:
            return False
    return False
