"""A lock in an object store: an object of its own for each process that wants it, with a heartbeat.

An object store may have no atomic operation but to write an object whole. So each process writes an object that no
other one writes, and then lists those of the others: of two that do this at the same time, one at least sees the other.
Of two that see each other wait, the one with the lower token gets the lock: it waits until the other one has given up,
or has got the lock before it saw this one. The store has to list what was written: S3 and its like do.

Who gets the lock also writes down that it has. A process that was suspended within the request that writes its
heartbeat may bring its deleted lock back, once another one has had the lock, finished and released it: the note tells
it.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import posixpath
import struct
import time
import uuid
from collections.abc import Iterator
from typing import Any

from ..storage.base import ObjectChanged, Storage, join_name, read_all, write_all
from ..util.errors import JobError, ObjectGone
from .lease import lease_lost
from .observer import Observer, may_be_alive
from .owner import Group, LeaseOwner, parsed, refused, this_process

LOCK = "lock"
TAKEN = "taken"
SHARE_DIGITS = 5
# While the last heartbeat is younger than this, nobody can have taken the lock: it need not be read again.
SURE_SECS = 60.0
# A process that waits for the same lock gives up, or has it, within a few requests.
RIVAL_SECS = 20.0
RIVAL_POLL_SECS = 0.2
# Several processes of one run may send a heartbeat at the same time.
RENEWALS = 5


def share_name(share: int) -> str:
    """What the lock of a share of the work is called, without its ending."""
    return _name_of(LOCK, share)


def _name_of(what: str, share: int | None) -> str:
    return what if share is None else f"{what}-{share:0{SHARE_DIGITS}d}"


def remote_owners(storage: Storage, directory: str, watch: bool = False) -> Iterator[LeaseOwner]:
    """Who holds a lock of the job in ``directory``, or waits for one, and may be alive.

    ``watch``: wait, where only that tells, until it is certain. Otherwise a heartbeat from the future may be alive.
    """
    observer = Observer()
    for name, text in _locks(storage, directory):
        if observer.is_alive(storage, name, text) if watch else may_be_alive(text):
            yield LeaseOwner.of(text)


def _locks(storage: Storage, directory: str) -> Iterator[tuple[str, str]]:
    """The locks of a job: their names, and what is in them."""
    for stored in list(storage.listing(join_name(directory, LOCK))):
        with contextlib.suppress(ObjectGone):
            yield stored.name, read_all(storage, stored.name).decode("utf-8", "replace")


class _LastBeat:
    """When the last heartbeat was sent, for all processes of the run: what is forked later shares it."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8)

    def set(self, moment: float) -> None:
        self._memory[:8] = struct.pack("d", moment)

    def age_secs(self) -> float:
        """Time in which the machine slept counts, too."""
        moment: float = struct.unpack("d", self._memory[:8])[0]
        return time.clock_gettime(time.CLOCK_BOOTTIME) - moment


class RemoteLease:
    """The lock of a job, or of a ``share`` of its work; held after :meth:`take`."""

    def __init__(self, storage: Storage, directory: str, share: int | None, group: Group) -> None:
        token = uuid.uuid4().hex
        self._directory = directory
        self._share = share
        self._group = group
        self._name = join_name(directory, f"{_name_of(LOCK, share)}-{token}.json")
        self._mine = {**this_process(), "token": token, "group": group.name, "held": False}
        self._version = ""
        self._last_beat = _LastBeat()
        self._observer = Observer()
        self._takers: dict[str, str] = {}
        """Who had the locks that exclude this one when it was taken, by the name of the note that says so."""
        self.take(storage)

    def take(self, storage: Storage) -> None:
        """Raises :class:`~.errors.JobError` if a live process holds a lock that excludes this one."""
        for values, owner in self._rivals(storage):
            if values.get("held", True):
                raise refused(owner)
        try:
            self._write(storage)
            self._wait_for_rivals(storage)
            self._mine["held"] = True
            self._write(storage)
            write_all(storage, self._note(self._share), str(self._mine["token"]).encode())
            self._takers = self._last_takers(storage)
        except BaseException as error:
            with contextlib.suppress(JobError):
                self.release(storage)
            if isinstance(error, ObjectChanged):
                raise lease_lost(storage.where(self._name)) from None
            raise

    def _rivals(self, storage: Storage) -> Iterator[tuple[dict[str, Any], LeaseOwner]]:
        """The locks of other live processes that must not run beside this one: what is in them, and their owners.

        The lock of a process that is dead, or that this one replaces, is deleted: should it live after all, it finds
        its lock lost.
        """
        for name, text in _locks(storage, self._directory):
            values = parsed(text)
            share = _share_of(name)
            if name == self._name or (None not in (share, self._share) and share != self._share):
                continue
            ended = self._group.has_ended(values, share == self._share)
            if not ended and self._observer.is_alive(storage, name, text):
                yield values, LeaseOwner.of(text)
            else:
                storage.delete(name)

    def _note(self, share: int | None) -> str:
        return join_name(self._directory, f"{_name_of(TAKEN, share)}.json")

    def _last_takers(self, storage: Storage) -> dict[str, str]:
        """Who took each of the locks that exclude this one last: its token, by the name of the note."""
        if self._share is None:
            notes = [stored.name for stored in storage.listing(join_name(self._directory, TAKEN))]
        else:
            notes = [self._note(None), self._note(self._share)]
        takers = {}
        for note in notes:
            with contextlib.suppress(ObjectGone):
                takers[note] = read_all(storage, note).decode("utf-8", "replace")
        return takers

    def _wait_for_rivals(self, storage: Storage) -> None:
        """Wait until nobody else wants the lock. Raises :class:`~.errors.JobError` if somebody else gets it."""
        deadline = time.monotonic() + RIVAL_SECS
        while rivals := list(self._rivals(storage)):
            for values, owner in rivals:
                before_this = values["token"] < str(self._mine["token"])
                if values.get("held", True) or before_this or time.monotonic() > deadline:
                    raise refused(owner)
            time.sleep(RIVAL_POLL_SECS)

    def _write(self, storage: Storage) -> None:
        began = time.clock_gettime(time.CLOCK_BOOTTIME)
        content = json.dumps({**self._mine, "beat": time.time()}).encode()
        self._version = storage.write_if(self._name, content, self._version)
        self._last_beat.set(began)

    def beat(self, storage: Storage) -> None:
        """Send a heartbeat. Raises :class:`LeaseLost` if the lock is gone, or another one has been taken."""
        late = self._last_beat.age_secs() > SURE_SECS
        for _ in range(RENEWALS):
            if not self._version:
                raise lease_lost(storage.where(self._name))
            try:
                self._write(storage)
                break
            except ObjectChanged:
                # Another process of this run has sent one; or the lock was deleted.
                self._version = storage.version_of(self._name)
        # Where the store can't write under a condition, it may have been deleted just before: by one that has the lock
        # now, or that has released it since.
        if late and (next(self._rivals(storage), None) or self._last_takers(storage) != self._takers):
            self.release(storage)
            raise lease_lost(storage.where(self._name))

    def ensure(self, storage: Storage, certain: bool = False) -> None:
        late = self._last_beat.age_secs() > SURE_SECS
        if (late or certain) and not storage.version_of(self._name):
            raise lease_lost(storage.where(self._name))
        if late:
            self.beat(storage)

    def release(self, storage: Storage) -> None:
        storage.delete(self._name)


def _share_of(name: str) -> int | None:
    """The share in the name of a lock; ``None``: the whole job. Earlier versions had no token in the name."""
    number = posixpath.basename(name).removesuffix(".json").split("-")[1:2]
    return int(number[0]) if number and number[0].isdecimal() and len(number[0]) == SHARE_DIGITS else None
