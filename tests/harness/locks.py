"""Locks of runs in an object store, as they are when time has passed."""

from __future__ import annotations

import json

from tutor_transform_logs.lms_job.ledger.owner import DEAD_AFTER_SECS


def expired(lock: bytes) -> bytes:
    """The lock of a run that has slept for so long that its last heartbeat no longer counts, on another machine."""
    values = json.loads(lock)
    old = values | {"beat": values["beat"] - DEAD_AFTER_SECS - 1, "host": "another", "kernel": ""}
    return json.dumps(old).encode()


def pid_of(lock: bytes) -> int:
    """Whose lock it is."""
    return int(json.loads(lock)["pid"])
