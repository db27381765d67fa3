"""One run of a job at a time: a file lock beside a local ledger, a heartbeat in a ledger in an object store."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from .errors import JobError, ObjectGone
from .progress import duration
from .storage import Storage, read_all, write_all

BEAT_SECS = 20.0
# A holder that has not been heard of for so long is dead: it would have ended its run for want of its ledger.
DEAD_AFTER_SECS = 120.0


def _holder() -> dict[str, object]:
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}


def _refuse(text: str) -> JobError:
    try:
        holder = json.loads(text)
        age = duration(time.time() - holder["since"])
        words = f"pid {holder['pid']} on {holder['host']}, for {age}"
    except (ValueError, KeyError, TypeError):
        words = "by another process"
    return JobError(f"This job is running already ({words}). Wait for it to end, or stop it.")


@contextlib.contextmanager
def local_lock(directory: str) -> Iterator[None]:
    """Hold the lock of a job whose ledger is a local directory.

    Raises :class:`~.errors.JobError` if another run holds it. The kernel lets go of it when the holder dies, so a
    killed run never leaves it behind.
    """
    path = Path(directory) / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise _refuse(file.read()) from None
        file.truncate(0)
        file.write(json.dumps(_holder()))
        file.flush()
        yield


@contextlib.contextmanager
def remote_lock(storage: Storage, name: str, beat_secs: float = BEAT_SECS) -> Iterator[None]:
    """Hold the lock of a job whose ledger is in an object store; ``storage`` is used by a thread of the lock's own.

    Object stores have no lock: two runs that start within the same second may both get it. What they do is then done
    twice, which costs time and no more. Raises :class:`~.errors.JobError` if another run holds it and is alive.
    """
    token = uuid.uuid4().hex
    _check_remote(storage, name, token)
    mine = {**_holder(), "token": token}

    def beat() -> None:
        write_all(storage, name, json.dumps({**mine, "beat": time.time()}).encode())

    beat()
    _check_remote(storage, name, token)
    ended = threading.Event()

    def keep_beating() -> None:
        while not ended.wait(beat_secs):
            # A store that is away is the run's own affair; the next beat may get through.
            with contextlib.suppress(JobError):
                beat()

    thread = threading.Thread(target=keep_beating, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=1.0)
        with contextlib.suppress(JobError):
            storage.delete(name)


def _check_remote(storage: Storage, name: str, token: str) -> None:
    try:
        text = read_all(storage, name).decode("utf-8", "replace")
    except ObjectGone:
        return
    try:
        holder = json.loads(text)
        alive = time.time() - holder["beat"] < DEAD_AFTER_SECS
        someone_else = holder["token"] != token
    except (ValueError, KeyError, TypeError):
        return  # half a lock is nobody's
    if alive and someone_else:
        raise _refuse(text)
