"""One run of a job at a time: a file lock beside a local ledger, a heartbeat in a ledger in an object store.

The work may be divided into shares, for the pods of a Kubernetes Job. Each share has a lock of its own: shares run at
the same time, but each only once, and never at the same time as a phase that needs the whole job.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from ..config.schema import JobConfig
from ..storage.base import Storage, join_name
from ..storage.factory import open_storage
from ..storage.local import open_regular, raise_unreadable, raise_unwritable
from ..util.errors import JobError
from ..util.threads import none_left, start_thread
from .lease import Lease, LeaseLost, LocalLease
from .ledger import Ledger
from .owner import BAD_LOCK, NO_GROUP, Group, LeaseOwner, is_dead, refused, this_process
from .remote_lock import LOCK, RemoteLease, remote_owners, share_name

BEAT_SECS = 20.0
# The workers of a killed run hold its local lock until the kernel has ended them, too.
GRACE_SECS = 3.0
LOOK_SECS = 0.2

# The Kubernetes Job that this process is a pod of, and those of this job that have ended: see Group.
GROUP_VARIABLE = "TRANSFORM_LOGS_K8S_JOB"
ENDED_VARIABLE = "TRANSFORM_LOGS_K8S_ENDED_JOBS"


def current_owner(storage: Storage, directory: str, local: bool, watch: bool = False) -> LeaseOwner | None:
    """Who holds the lock of the job in this directory of a ledger; changes nothing. ``watch``: until it is certain."""
    if not local:
        return next(remote_owners(storage, directory, watch), None)
    try:
        file = _open_lock(Path(storage.where(join_name(directory, LOCK))), "r")
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
        if error.errno != errno.EROFS and (mode == "r" or os.path.exists(path)):
            raise_unreadable(path, error)
        raise_unwritable(path, error)


def _open_no_link(path: str, flags: int) -> int:
    """The owner is written into the lock: not into a file that somebody has put a link to in its place."""
    return open_regular(path, flags | os.O_NOFOLLOW)


@contextlib.contextmanager
def local_lock(directory: str, share: int | None = None) -> Iterator[Lease]:
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
        held = [(path / LOCK, files.enter_context(_open_lock(path / LOCK, "a+")))]
        _lock(held[0][1], fcntl.LOCK_EX if share is None else fcntl.LOCK_SH)
        if share is not None:
            own = path / share_name(share)
            held.append((own, files.enter_context(_open_lock(own, "a+"))))
            _lock(held[1][1], fcntl.LOCK_EX)
        yield LocalLease(held)


def check_unlocked(storage: Storage, local: bool, directory: str) -> None:
    """Raises :class:`~.errors.JobError` if another run holds the lock of the job in ``directory``; changes nothing."""
    owner = current_owner(storage, directory, local, watch=True)
    if owner is not None:
        raise refused(owner)


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
            raise refused(LeaseOwner.of(text))
        time.sleep(0.05)
    file.truncate(0)
    file.write(json.dumps(this_process()))
    file.flush()


def _owner_is_dead(text: str) -> bool:
    try:
        return is_dead(json.loads(text))
    except BAD_LOCK:
        return True  # not written yet, or half written


def end_this_process() -> None:
    """End this process as SIGTERM does: it has lost its lock."""
    print("This run has lost its lock to another one, or the lock was deleted. It ends.", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)


@contextlib.contextmanager
def remote_lock(
    storage: Storage,
    directory: str,
    share: int | None = None,
    group: Group = NO_GROUP,
    lost: Callable[[], None] = end_this_process,
    beat_secs: float = BEAT_SECS,
) -> Iterator[Lease]:
    """Hold the lock of a job whose ledger is ``directory``, or of a ``share`` of its work.

    A thread uses ``storage``, and calls ``lost`` once the lock is lost. Raises :class:`~.errors.JobError` if another
    run holds it and is alive.

    Six parameters: the last two are for tests, which can't wait for a heartbeat.
    """
    lease = RemoteLease(storage, directory, share, group)
    ended = threading.Event()

    def keep_beating() -> None:
        while not ended.wait(beat_secs):
            try:
                lease.beat(storage)
            except LeaseLost:
                lost()
                return
            except JobError:
                pass  # the run itself deals with an unavailable store; the next heartbeat may succeed

    thread = start_thread(keep_beating)
    try:
        if thread is None:
            raise none_left("thread, and one has to keep the lock of the job")
        yield lease
    finally:
        ended.set()
        if thread is not None:
            thread.join(timeout=1.0)
        with contextlib.suppress(JobError):
            lease.release(storage)


@contextlib.contextmanager
def job_lock(config: JobConfig, ledger: Ledger, share: int | None = None) -> Iterator[None]:
    """Hold the lock of a job: one run at a time, or one ``share`` of the work beside other shares.

    While it is held, nothing is written to ``ledger`` without asking whether it still is.
    """
    with _lock_of(config, ledger, share) as ledger.lease:
        try:
            yield
        finally:
            ledger.lease = None


def _lock_of(config: JobConfig, ledger: Ledger, share: int | None) -> contextlib.AbstractContextManager[Lease]:
    if config.ledger.is_local:
        return local_lock(ledger.where(), share)
    own = open_storage(config.ledger, config.lrs_max_wait_secs)
    group = Group(os.environ.get(GROUP_VARIABLE, ""), frozenset(os.environ.get(ENDED_VARIABLE, "").split()))
    return remote_lock(own, ledger.directory, share, group)
