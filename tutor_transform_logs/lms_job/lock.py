"""One run of a job at a time."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from pathlib import Path
from typing import IO

from .errors import JobError

# Held until the process ends, however it ends.
_held: list[IO[str]] = []


def lock_directory(directory: str) -> None:
    """Take the lock of a job whose ledger is a local directory.

    Raises :class:`~.errors.JobError` if another run holds it. The kernel lets go of it when the holder dies, so a
    killed run never leaves it behind.
    """
    Path(directory).mkdir(parents=True, exist_ok=True)
    file = open(Path(directory) / "lock", "a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        holder = file.read().strip() or "another process"
        file.close()
        raise JobError(f"This job is running already ({holder}). Wait for it to end, or stop it.") from None
    file.truncate(0)
    started = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    file.write(f"pid {os.getpid()} on {socket.gethostname()}, since {started} UTC\n")
    file.flush()
    _held.append(file)
