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
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from .errors import JobError, ObjectGone
from .storage import Storage, join_name, read_all, write_all
from .text import duration

BEAT_SECS = 20.0
# A holder that has not been heard of for so long is dead: it would have ended its run for want of its ledger.
DEAD_AFTER_SECS = 120.0
# The workers of a killed run hold its local lock until the kernel has ended them too.
GRACE_SECS = 3.0
LOOK_SECS = 0.2
LOCAL_LOCK, REMOTE_LOCK = "lock", "lock.json"


def _holder() -> dict[str, object]:
    pid = os.getpid()
    return {
        "pid": pid,
        "host": socket.gethostname(),
        "since": time.time(),
        "kernel": _kernel(),
        "started": _started(pid),
    }


def _kernel() -> str:
    """Which running kernel's process ids are meant, and which container's; ``""`` where that can't be told."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """When the process was started, in the kernel's ticks; ``""`` if it is not alive."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    state, *fields = stat.rpartition(")")[2].split()
    return "" if state in "ZX" else fields[18]


def _is_dead(holder: Mapping[str, Any]) -> bool:
    """Is it certain, without waiting for a heartbeat, that the holder is not alive?"""
    kernel = _kernel()
    return bool(kernel) and holder.get("kernel") == kernel and _started(holder["pid"]) != holder.get("started")


@dataclass(frozen=True)
class Holder:
    """Who holds a lock, as far as it is known. Times are seconds since 1970."""

    pid: int | None = None
    host: str = ""
    since: float = 0.0
    beat: float | None = None
    """When it was last heard of; ``None`` for a local lock, which the kernel guards."""

    @classmethod
    def of(cls, text: str) -> Holder:
        """What a lock says of its holder; it may be half written."""
        try:
            values = json.loads(text)
            beat = float(values["beat"]) if "beat" in values else None
            return cls(int(values["pid"]), str(values["host"]), float(values["since"]), beat)
        except (ValueError, KeyError, TypeError):
            return cls()

    def __str__(self) -> str:
        if self.pid is None:
            return "another process"
        now = time.time()
        words = f"pid {self.pid} on {self.host}, for {duration(now - self.since)}"
        return words if self.beat is None else f"{words}, last heard of {duration(now - self.beat)} ago"

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def who_runs(storage: Storage, directory: str, local: bool) -> Holder | None:
    """Who holds the lock of the job in this directory of a ledger; changes nothing."""
    if not local:
        text = _remote_text(storage, join_name(directory, REMOTE_LOCK))
        return Holder.of(text) if _is_held(text) else None
    try:
        with open(storage.where(join_name(directory, LOCAL_LOCK)), encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return Holder.of(file.read())
    except FileNotFoundError:
        pass  # it has never run
    return None


def _refuse(text: str) -> JobError:
    holder = Holder.of(text)
    what_to_do = "Wait for it to end, or stop it."
    if holder.beat is not None:
        left = duration(max(0.0, holder.beat + DEAD_AFTER_SECS - time.time()))
        what_to_do = f"Wait for it to end, or stop it; if it was killed, its lock is free in {left}."
    return JobError(f"This job is running already ({holder if holder.pid else 'by another process'}). {what_to_do}")


@contextlib.contextmanager
def local_lock(directory: str) -> Iterator[None]:
    """Hold the lock of a job whose ledger is a local directory.

    Raises :class:`~.errors.JobError` if another run holds it. The kernel lets go of it when the holder dies, so a
    killed run never leaves it behind.
    """
    path = Path(directory) / LOCAL_LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        _lock(file)
        file.truncate(0)
        file.write(json.dumps(_holder()))
        file.flush()
        yield


def see_whether_free(storage: Storage, local: bool, directory: str) -> None:
    """Raises :class:`~.errors.JobError` if another run holds the lock of the job in ``directory``; changes nothing."""
    if not local:
        _check_remote(storage, join_name(directory, "lock.json"), "")
        return
    try:
        with open(storage.where(join_name(directory, "lock")), encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                raise _refuse(file.read()) from None
    except FileNotFoundError:
        pass  # it has never run


def _lock(file: IO[str]) -> None:
    deadline = time.monotonic() + GRACE_SECS
    # Somebody who looks who runs the job has the lock for a moment.
    sure_at = time.monotonic() + LOOK_SECS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError:
            file.seek(0)
            text = file.read()
        now = time.monotonic()
        if now > deadline or (now > sure_at and not _holder_is_dead(text)):
            raise _refuse(text)
        time.sleep(0.05)


def _holder_is_dead(text: str) -> bool:
    try:
        return _is_dead(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError):
        return True  # not written yet, or half written


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
    text = _remote_text(storage, name)
    if _is_held(text, token):
        raise _refuse(text)


def _remote_text(storage: Storage, name: str) -> str:
    try:
        return read_all(storage, name).decode("utf-8", "replace")
    except ObjectGone:
        return ""


def _is_held(text: str, token: str = "") -> bool:
    """Is this the lock of someone who is alive, and has another token?"""
    try:
        holder = json.loads(text)
        alive = time.time() - holder["beat"] < DEAD_AFTER_SECS and not _is_dead(holder)
        return bool(alive and holder["token"] != token)
    except (ValueError, KeyError, TypeError):
        return False  # half a lock is nobody's
