"""One run of a job at a time: a file lock beside a local ledger, a heartbeat in a ledger in an object store.

The work may be divided into shares, for the pods of a Kubernetes Job. Each share has a lock of its own: shares run at
the same time, but each only once, and never at the same time as a phase that needs the whole job.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from ..config.schema import JobConfig
from ..storage.base import Storage, join_name, read_all, write_all
from ..storage.factory import open_storage
from ..storage.local import raise_unreadable, raise_unwritable
from ..util.errors import JobError, ObjectGone
from ..util.formatting import duration
from .ledger import Ledger

BEAT_SECS = 20.0
# An owner without a heartbeat for this long is dead: without its ledger, it would have ended its run.
DEAD_AFTER_SECS = 120.0
# The workers of a killed run hold its local lock until the kernel has ended them, too.
GRACE_SECS = 3.0
LOOK_SECS = 0.2
LOCAL_LOCK = "lock"
# What reading a lock raises that is half written or damaged.
BAD_LOCK = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)

# The Kubernetes Job that this process is a pod of, and those of this job that have ended: see Group.
GROUP_VARIABLE = "TRANSFORM_LOGS_K8S_JOB"
ENDED_VARIABLE = "TRANSFORM_LOGS_K8S_ENDED_JOBS"


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


def _share_name(share: int) -> str:
    return f"{LOCAL_LOCK}-{share:05d}"


def _this_process() -> dict[str, object]:
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


def _started(pid: int) -> str:
    """When the process was started, in the kernel's ticks; ``""`` if it is not alive."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    state, *fields = stat.rpartition(")")[2].split()
    return "" if state in "ZX" else fields[18]


def _is_dead(owner: Mapping[str, Any]) -> bool:
    """Is it certain, whatever its heartbeat says, that the owner is not alive?"""
    kernel = _kernel()
    return bool(kernel) and owner.get("kernel") == kernel and _started(owner["pid"]) != owner.get("started")


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
            beat = float(values["beat"]) if "beat" in values else None
            return cls(int(values["pid"]), str(values["host"]), float(values["since"]), beat)
        except BAD_LOCK:
            return cls()

    def __str__(self) -> str:
        if self.pid is None:
            return "another process"
        now = time.time()
        detail = f"pid {self.pid} on {self.host}, for {duration(now - self.since)}"
        return detail if self.beat is None else f"{detail}, last heartbeat {duration(now - self.beat)} ago"

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def current_owner(storage: Storage, directory: str, local: bool) -> LeaseOwner | None:
    """Who holds the lock of the job in this directory of a ledger; changes nothing."""
    if not local:
        texts = (_remote_text(storage, stored.name) for stored in storage.listing(join_name(directory, LOCAL_LOCK)))
        return next((LeaseOwner.of(text) for text in texts if _is_alive(_parsed(text))), None)
    try:
        file = _open_lock(Path(storage.where(join_name(directory, LOCAL_LOCK))), "r")
    except FileNotFoundError:
        return None  # the job has never run
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return LeaseOwner.of(file.read())
    return None


def _open_lock(path: Path, mode: str) -> IO[str]:
    """Raises ``FileNotFoundError``, and :class:`~.errors.JobError` for a lock that can't be opened, or is a link."""
    try:
        return open(path, mode, encoding="utf-8", errors="replace", opener=_open_no_link)
    except FileNotFoundError:
        raise
    except OSError as error:
        if mode == "r" or os.path.exists(path):
            raise_unreadable(path, error)
        raise_unwritable(path, error)


def _open_no_link(path: str, flags: int) -> int:
    """The owner is written into the lock: not into a file that somebody has put a link to in its place."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)


def _refuse(owner: LeaseOwner) -> JobError:
    what_to_do = "Wait for it to end, or stop it."
    if owner.beat is not None:
        left = duration(max(0.0, owner.beat + DEAD_AFTER_SECS - time.time()))
        what_to_do = f"Wait for it to end, or stop it; if it was killed, its lock is free in {left}."
    return JobError(f"This job is already running ({owner if owner.pid else 'by another process'}). {what_to_do}")


@contextlib.contextmanager
def local_lock(directory: str, share: int | None = None) -> Iterator[None]:
    """Hold the lock of a job whose ledger is a local directory, or of a ``share`` of its work.

    Raises :class:`~.errors.JobError` if another run holds it. The kernel releases it when the owner dies, so a killed
    run never leaves it locked.
    """
    path = Path(directory)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise_unwritable(path, error)
    with contextlib.ExitStack() as files:
        common = files.enter_context(_open_lock(path / LOCAL_LOCK, "a+"))
        _lock(common, fcntl.LOCK_EX if share is None else fcntl.LOCK_SH)
        if share is not None:
            _lock(files.enter_context(_open_lock(path / _share_name(share), "a+")), fcntl.LOCK_EX)
        yield


def check_unlocked(storage: Storage, local: bool, directory: str) -> None:
    """Raises :class:`~.errors.JobError` if another run holds the lock of the job in ``directory``; changes nothing."""
    owner = current_owner(storage, directory, local)
    if owner is not None:
        raise _refuse(owner)


def _lock(file: IO[str], kind: int) -> None:
    """Take the lock and write the owner into it."""
    deadline = time.monotonic() + GRACE_SECS
    # A process that only asks who runs the job has the lock for a moment.
    certain_at = time.monotonic() + LOOK_SECS
    while True:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
            break
        except OSError:
            file.seek(0)
            text = file.read()
        now = time.monotonic()
        if now > deadline or (now > certain_at and not _owner_is_dead(text)):
            raise _refuse(LeaseOwner.of(text))
        time.sleep(0.05)
    file.truncate(0)
    file.write(json.dumps(_this_process()))
    file.flush()


def _owner_is_dead(text: str) -> bool:
    try:
        return _is_dead(json.loads(text))
    except BAD_LOCK:
        return True  # not written yet, or half written


def end_this_process() -> None:
    """End this process as SIGTERM does: another process has taken its lock."""
    print("Another process has taken over this job. This one ends.", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)


@contextlib.contextmanager
def remote_lock(
    storage: Storage,
    directory: str,
    share: int | None = None,
    group: Group = NO_GROUP,
    lost: Callable[[], None] = end_this_process,
    beat_secs: float = BEAT_SECS,
) -> Iterator[None]:
    """Hold the lock of a job whose ledger is ``directory``, or of a ``share`` of its work.

    A thread uses ``storage`` and calls ``lost`` once another process has the lock. Object stores have no
    atomic locks: two runs that start within the same second may both get it. Then the work is done twice,
    which only costs time. Raises :class:`~.errors.JobError` if another run holds it and is alive.

    Six parameters: the last two are for tests, which can't wait for a heartbeat.
    """
    lock = _RemoteLock(storage, directory, share, group)
    lock.check()
    lock.beat()
    lock.check()
    ended = threading.Event()

    def keep_beating() -> None:
        while not ended.wait(beat_secs):
            # The run itself deals with an unavailable store; the next heartbeat may succeed.
            with contextlib.suppress(JobError):
                if lock.is_taken_over():
                    lost()
                    return
                lock.beat()

    thread = threading.Thread(target=keep_beating, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=1.0)
        with contextlib.suppress(JobError):
            lock.release()


def job_lock(config: JobConfig, ledger: Ledger, share: int | None = None) -> contextlib.AbstractContextManager[None]:
    """The lock of a job: one run at a time, or one ``share`` of the work beside other shares."""
    if config.ledger.is_local:
        return local_lock(ledger.where(), share)
    own = open_storage(config.ledger, config.lrs_max_wait_secs)
    group = Group(os.environ.get(GROUP_VARIABLE, ""), frozenset(os.environ.get(ENDED_VARIABLE, "").split()))
    return remote_lock(own, ledger.directory, share, group)


class _RemoteLock:
    def __init__(self, storage: Storage, directory: str, share: int | None, group: Group) -> None:
        self._storage = storage
        self._all = join_name(directory, LOCAL_LOCK)
        self._common = f"{self._all}.json"
        self._own = self._common if share is None else f"{join_name(directory, _share_name(share))}.json"
        self._group = group
        self._mine = {**_this_process(), "token": uuid.uuid4().hex, "group": group.name}

    def check(self) -> None:
        """Raise :class:`~.errors.JobError` if a live process holds a lock that excludes this one."""
        names = [self._common, self._own]
        if self._own == self._common:
            names = [stored.name for stored in self._storage.listing(self._all)]
        for name in names:
            text = _remote_text(self._storage, name)
            owner = _parsed(text)
            if not _is_alive(owner) or owner["token"] == self._mine["token"]:
                continue
            if not self._group.has_ended(owner, name == self._own):
                raise _refuse(LeaseOwner.of(text))

    def beat(self) -> None:
        write_all(self._storage, self._own, json.dumps({**self._mine, "beat": time.time()}).encode())

    def is_taken_over(self) -> bool:
        owner = _parsed(_remote_text(self._storage, self._own))
        return bool(owner) and owner["token"] != self._mine["token"]

    def release(self) -> None:
        if not self.is_taken_over():
            self._storage.delete(self._own)


def _remote_text(storage: Storage, name: str) -> str:
    try:
        return read_all(storage, name).decode("utf-8", "replace")
    except ObjectGone:
        return ""


def _parsed(text: str) -> dict[str, Any]:
    """The owner; empty if there is none, or if the lock is half written."""
    try:
        owner: dict[str, Any] = json.loads(text)
        return {**owner, "beat": float(owner["beat"]), "token": str(owner["token"])}
    except BAD_LOCK:
        return {}


def _is_alive(owner: Mapping[str, Any]) -> bool:
    try:
        return time.time() - owner["beat"] < DEAD_AFTER_SECS and not _is_dead(owner)
    except (KeyError, TypeError):
        return False
