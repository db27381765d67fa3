"""Who holds a lock: what a process writes into it, and whether that process may still be alive."""

from __future__ import annotations

import json
import math
import os
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..util.errors import JobError
from ..util.formatting import duration

# An owner without a heartbeat for this long is dead: without its ledger, it would have ended its run.
DEAD_AFTER_SECS = 120.0
# The name of a host that is a container, unless it was given another one.
CONTAINER_ID = re.compile("[0-9a-f]{12}")
# What reading a lock raises that is half written or damaged.
BAD_LOCK = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


@dataclass(frozen=True)
class Group:
    """Processes that replace each other: a new one is started only after the old one has ended.

    Kubernetes does so for the pods of a Job: the new pod need not wait until the old one's heartbeat expires, nor for
    the heartbeats of groups that have ``ended``.
    """

    name: str = ""
    ended: frozenset[str] = frozenset()

    def has_ended(self, owner: Mapping[str, Any], same_lock: bool) -> bool:
        """Is the ``owner`` of a lock known to have ended? ``same_lock``: its lock is the one to be taken now."""
        group = str(owner.get("group") or "")
        return group in self.ended or (same_lock and group != "" and group == self.name)


NO_GROUP = Group()


def this_process() -> dict[str, object]:
    """What a lock says of this process."""
    pid = os.getpid()
    return {
        "pid": pid,
        "host": socket.gethostname(),
        "since": time.time(),
        "kernel": _kernel(),
        "started": _started(pid),
    }


def _kernel() -> str:
    """Identifies the running kernel and the container, to which process ids belong; ``""`` if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _started(pid: object) -> str:
    """When the process was started, in the kernel's ticks; ``""`` if it is not alive."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    state, *fields = stat.rpartition(")")[2].split()
    return "" if state in "ZX" else fields[18]


def is_dead(owner: Mapping[str, Any]) -> bool:
    """Is it certain, whatever its heartbeat says, that the owner is not alive?"""
    kernel = _kernel()
    return bool(kernel) and owner.get("kernel") == kernel and _started(owner.get("pid")) != owner.get("started")


def is_recent(beat: float) -> bool:
    """Is a heartbeat of this time a recent one? The owner's clock and this machine's may differ a little."""
    return abs(time.time() - beat) < DEAD_AFTER_SECS


def finite(value: Any) -> float:
    """A time in a lock. Raises one of :data:`BAD_LOCK` for what is not a time."""
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("not a time")
    return number


def parsed(text: str) -> dict[str, Any]:
    """The owner in a lock with heartbeats; empty if there is none, or if the lock is half written."""
    try:
        owner: dict[str, Any] = json.loads(text)
        return {**owner, "beat": finite(owner["beat"]), "token": str(owner["token"])}
    except BAD_LOCK:
        return {}


@dataclass(frozen=True)
class LeaseOwner:
    """Who holds a lock, as far as known. Times are seconds since 1970."""

    pid: int | None = None
    host: str = ""
    since: float = 0.0
    beat: float | None = None
    """The time of its last heartbeat; ``None`` for a local lock, which has none."""

    @classmethod
    def of(cls, text: str) -> LeaseOwner:
        """Read the owner from a lock, which may be half written."""
        try:
            values = json.loads(text)
            beat = finite(values["beat"]) if "beat" in values else None
            return cls(int(values["pid"]), str(values["host"]), finite(values["since"]), beat)
        except BAD_LOCK:
            return cls()

    def __str__(self) -> str:
        if self.pid is None:
            return "another process"
        now = time.time()
        who = f"pid {self.pid} on {self.host}"
        if self.beat is None:
            return f"{who}, for {duration(now - self.since)}"
        # Both by the owner's clock.
        active = duration(max(0.0, self.beat - self.since))
        if self.beat - now >= DEAD_AFTER_SECS:
            return f"{who}, for {active}, whose heartbeat is {duration(self.beat - now)} ahead of this machine's clock"
        return f"{who}, for {duration(now - self.since)}, last heartbeat {duration(max(0.0, now - self.beat))} ago"

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def refused(owner: LeaseOwner) -> JobError:
    """What ends a run whose job another one, ``owner``, runs."""
    stop = f"stop it: docker stop {owner.host}" if CONTAINER_ID.fullmatch(owner.host) else "stop it"
    what_to_do = f"Wait for it to end, or {stop}."
    if owner.beat is not None and is_recent(owner.beat):
        left = duration(max(0.0, owner.beat + DEAD_AFTER_SECS - time.time()))
        what_to_do = f"Wait for it to end, or {stop}; if it was killed, its lock is free in {left}."
    elif owner.beat is not None:
        what_to_do = f"Its heartbeat changes, so it is alive: wait for it to end, set the clocks right, or {stop}."
    return JobError(f"This job is already running ({owner if owner.pid else 'by another process'}). {what_to_do}")
