"""Who may run beside whom: whole phases alone, shares of the work beside other shares, each share once.

The lock of an object store is tried on a folder: to it they are the same few calls.
"""

from __future__ import annotations

import contextlib
import json
import logging
import random
import re
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from tutor_transform_logs.lms_job.ledger import lock as lock_module
from tutor_transform_logs.lms_job.ledger import observer as observer_module
from tutor_transform_logs.lms_job.ledger import remote_lock as remote_lock_module
from tutor_transform_logs.lms_job.ledger.lease import Lease, LeaseLost
from tutor_transform_logs.lms_job.ledger.lock import check_unlocked, current_owner, local_lock, remote_lock
from tutor_transform_logs.lms_job.ledger.owner import DEAD_AFTER_SECS, NO_GROUP, Group
from tutor_transform_logs.lms_job.ledger.remote_lock import RemoteLease
from tutor_transform_logs.lms_job.storage.local import LocalStorage
from tutor_transform_logs.lms_job.util.console import LOGGER
from tutor_transform_logs.lms_job.util.errors import JobError

Take = Callable[[int | None], contextlib.AbstractContextManager[Lease]]
KINDS = ["local", "remote"]


@pytest.fixture(params=KINDS)
def take(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Take:
    """Takes the whole job's lock, or that of a share."""
    monkeypatch.setattr(lock_module, "GRACE_SECS", 0.0)
    if request.param == "local":
        return lambda share: local_lock(str(tmp_path / "job"), share)
    return lambda share: remote_lock(LocalStorage(str(tmp_path)), "job", share)


def is_refused(lock: contextlib.AbstractContextManager[Lease]) -> bool:
    try:
        with lock:
            return False
    except JobError as error:
        return str(error).startswith("This job is already running (")


def test_the_whole_job_is_held_by_one(take: Take) -> None:
    with take(None):
        assert is_refused(take(None))
        assert is_refused(take(3))
    assert not is_refused(take(None))


def test_shares_run_beside_each_other_but_each_once(take: Take) -> None:
    with take(0), take(1):
        assert is_refused(take(1))
        assert is_refused(take(None))
        assert not is_refused(take(2))
    assert not is_refused(take(1))
    assert not is_refused(take(None))


def locks(folder: Path) -> list[Path]:
    return sorted((folder / "job").glob("lock*"))


def remote(
    folder: Path, share: int | None, group: Group, lost: Callable[[], None] = pytest.fail
) -> contextlib.AbstractContextManager[Lease]:
    return remote_lock(LocalStorage(str(folder)), "job", share, group, lost, beat_secs=0.02)


@pytest.mark.parametrize("share", [7, None])
def test_the_pod_that_replaces_another_takes_its_lock_over_at_once(tmp_path: Path, share: int | None) -> None:
    """And the former, should it be alive after all (on a node that was cut off), is told so and leaves it alone."""
    lost = threading.Event()
    with remote(tmp_path, share, Group("job-a"), lost.set):
        former = locks(tmp_path)
        with remote(tmp_path, share, Group("job-a")):
            assert lost.wait(30)
            assert len(locks(tmp_path)) == 1
            assert locks(tmp_path) != former
    assert locks(tmp_path) == []


@pytest.mark.parametrize("groups", [("job-a", "job-b"), ("", "")])
def test_nobody_else_takes_a_lock_over(tmp_path: Path, groups: tuple[str, str]) -> None:
    with remote(tmp_path, 7, Group(groups[0])):
        assert is_refused(remote(tmp_path, 7, Group(groups[1])))
        assert is_refused(remote(tmp_path, None, Group(groups[0])))
        assert is_refused(remote(tmp_path, None, NO_GROUP))
    with remote(tmp_path, None, Group(groups[0])):
        assert is_refused(remote(tmp_path, 7, Group(groups[0])))


def test_what_a_killed_pod_of_a_job_that_has_ended_left_is_in_nobodys_way(tmp_path: Path) -> None:
    with remote(tmp_path, 7, Group("work"), lambda: None), remote(tmp_path, 8, Group("other"), lambda: None):
        ended = Group("report", frozenset({"work", "plan"}))
        assert is_refused(remote(tmp_path, None, ended))
        assert not is_refused(remote(tmp_path, 7, ended))
        assert not is_refused(remote(tmp_path, None, Group("report", frozenset({"work", "other"}))))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"beat": "x"}', '{"token": 1}'])
def test_half_a_lock_is_nobodys(tmp_path: Path, text: str) -> None:
    (tmp_path / "job").mkdir()
    for name in ("lock.json", "lock-00007.json"):
        (tmp_path / "job" / name).write_text(text)
    assert not is_refused(remote(tmp_path, 7, NO_GROUP))
    assert not is_refused(remote_lock(LocalStorage(str(tmp_path)), "job"))


def test_a_lock_of_an_earlier_version_is_respected(tmp_path: Path) -> None:
    """Its name is the same for every process, and it does not say whether its owner has it or waits for it."""
    (tmp_path / "job").mkdir()
    owner = {"pid": 1, "host": "another", "since": 0.0, "beat": time.time(), "token": "a"}
    (tmp_path / "job/lock.json").write_text(json.dumps(owner))
    assert is_refused(remote(tmp_path, None, NO_GROUP))
    assert is_refused(remote(tmp_path, 7, NO_GROUP))
    (tmp_path / "job/lock.json").rename(tmp_path / "job/lock-00007.json")
    assert is_refused(remote(tmp_path, 7, NO_GROUP))
    assert not is_refused(remote(tmp_path, 8, NO_GROUP))


@pytest.mark.parametrize("share", [None, 7])
def test_a_lock_that_was_deleted_is_lost(take: Take, tmp_path: Path, share: int | None) -> None:
    storage = LocalStorage(str(tmp_path))
    with take(share) as lease:
        lease.ensure(storage, certain=True)
        for path in locks(tmp_path):
            path.unlink()
        with pytest.raises(LeaseLost, match="no longer holds the lock of its job"):
            lease.ensure(storage, certain=True)
        with take(share) as other:
            other.ensure(storage, certain=True)
            # The kernel lets a local lock's file be locked again once it is another file.
            with pytest.raises(LeaseLost):
                lease.ensure(storage, certain=True)
    assert not is_refused(take(share))


def test_the_heartbeat_of_a_lock_that_was_deleted_does_not_make_it_again(tmp_path: Path) -> None:
    lost = threading.Event()
    with remote(tmp_path, None, NO_GROUP, lost.set):
        locks(tmp_path)[0].unlink()
        assert lost.wait(30)
        assert locks(tmp_path) == []


def age(path: Path) -> None:
    """Make the lock one of another machine's process whose last heartbeat is too old."""
    owner = json.loads(path.read_text())
    path.write_text(json.dumps(owner | {"beat": owner["beat"] - DEAD_AFTER_SECS - 1, "host": "another", "kernel": ""}))


def suspended_lease(folder: Path, monkeypatch: pytest.MonkeyPatch) -> RemoteLease:
    """That of a run whose last heartbeat is too old, as it knows itself."""
    lease = RemoteLease(LocalStorage(str(folder)), "job", None, NO_GROUP)
    monkeypatch.setattr(remote_lock_module, "SURE_SECS", -1.0)
    monkeypatch.setattr(observer_module, "OLD_WATCH_SECS", 0.1)
    age(locks(folder)[0])
    return lease


@pytest.mark.parametrize("released", [False, True])
def test_who_was_suspended_while_another_had_the_lock_has_lost_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, released: bool
) -> None:
    lease, storage = suspended_lease(tmp_path, monkeypatch), LocalStorage(str(tmp_path))
    other = RemoteLease(storage, "job", None, NO_GROUP)
    if released:
        other.release(storage)
    for _ in range(2):
        with pytest.raises(LeaseLost):
            lease.ensure(storage)
        with pytest.raises(LeaseLost):
            lease.beat(storage)
    assert len(locks(tmp_path)) == (0 if released else 1)


@pytest.mark.parametrize(("mine", "others"), [(None, None), (7, 7), (7, None), (None, 7)])
def test_a_heartbeat_that_was_suspended_does_not_bring_a_lost_lock_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mine: int | None, others: int | None
) -> None:
    """In a store without conditional writes: the lock is written again when its next owner is gone."""
    storage = LocalStorage(str(tmp_path))
    lease = RemoteLease(storage, "job", mine, NO_GROUP)
    [lock] = locks(tmp_path)
    as_it_was = lock.read_bytes()
    monkeypatch.setattr(remote_lock_module, "SURE_SECS", -1.0)
    monkeypatch.setattr(observer_module, "OLD_WATCH_SECS", 0.1)
    age(lock)
    RemoteLease(storage, "job", others, NO_GROUP).release(storage)
    lock.write_bytes(as_it_was)
    with pytest.raises(LeaseLost):
        lease.ensure(storage)
    assert not locks(tmp_path)


def test_the_shares_of_a_job_do_not_take_each_others_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = LocalStorage(str(tmp_path))
    RemoteLease(storage, "job", None, NO_GROUP).release(storage)
    lease = RemoteLease(storage, "job", 1, NO_GROUP)
    RemoteLease(storage, "job", 2, NO_GROUP).release(storage)
    monkeypatch.setattr(remote_lock_module, "SURE_SECS", -1.0)
    lease.ensure(storage)


def test_who_was_suspended_alone_still_has_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lease, storage = suspended_lease(tmp_path, monkeypatch), LocalStorage(str(tmp_path))
    lease.ensure(storage)
    assert is_refused(remote(tmp_path, None, NO_GROUP))
    lease.release(storage)


def test_a_recent_heartbeat_needs_no_look_at_the_store(tmp_path: Path) -> None:
    storage = LocalStorage(str(tmp_path))
    lease = RemoteLease(storage, "job", None, NO_GROUP)
    locks(tmp_path)[0].unlink()
    lease.ensure(storage)
    with pytest.raises(LeaseLost):
        lease.ensure(storage, certain=True)


DAY = 24 * 3600.0


def shift(path: Path, secs: float) -> None:
    """Make the lock one of a process on another machine, whose clock is ahead by ``secs``."""
    owner = json.loads(path.read_text())
    times = {name: owner[name] + secs for name in ("beat", "since")}
    path.write_text(json.dumps(owner | times | {"host": "another", "kernel": ""}))


@pytest.fixture
def other_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[float, bool], None]:
    """Leaves a lock of a process whose clock differs by seconds; it may send heartbeats from now on."""
    # A job in this process may have turned it off.
    monkeypatch.setattr(logging.getLogger(LOGGER), "propagate", True)
    monkeypatch.setattr(observer_module, "OLD_WATCH_SECS", 1.0)
    monkeypatch.setattr(observer_module, "FUTURE_WATCH_SECS", 1.0)
    monkeypatch.setattr(observer_module, "LOOK_EVERY_SECS", 0.05)

    def leave(secs: float, alive: bool) -> None:
        RemoteLease(LocalStorage(str(tmp_path)), "job", None, NO_GROUP)
        [lock] = locks(tmp_path)
        shift(lock, secs)
        if alive:
            threading.Timer(0.3, shift, (lock, 20.0)).start()

    return leave


@pytest.mark.parametrize("secs", [DAY, -DAY, 10 * DAY, -DEAD_AFTER_SECS - 5])
def test_a_heartbeat_that_changes_is_alive_whatever_its_clock_says(
    tmp_path: Path, other_clock: Callable[[float, bool], None], secs: float
) -> None:
    other_clock(secs, True)
    with pytest.raises(JobError, match=r"This job is already running \(.*\)\. Its heartbeat changes, so it is alive"):
        RemoteLease(LocalStorage(str(tmp_path)), "job", None, NO_GROUP)
    assert len(locks(tmp_path)) == 1


@pytest.mark.parametrize("secs", [DAY, -DAY, DEAD_AFTER_SECS + 5])
def test_a_heartbeat_that_does_not_change_is_dead_whatever_its_clock_says(
    tmp_path: Path, other_clock: Callable[[float, bool], None], secs: float, caplog: pytest.LogCaptureFixture
) -> None:
    other_clock(secs, False)
    former = locks(tmp_path)
    with caplog.at_level("INFO"):
        assert not is_refused(remote(tmp_path, None, NO_GROUP))
    [said] = [record.getMessage() for record in caplog.records]
    clock = "in the future" if secs > 0 else "old"
    assert re.fullmatch(
        rf"The lock of the job \(.*/lock-\w+\.json, pid \d+ on another\) has a heartbeat that is .* {clock} by this "
        r"machine's clock: watching for up to 1 s if it changes\.",
        said,
    )
    assert locks(tmp_path) == [] != former


def test_a_verification_watches_a_heartbeat_too_and_changes_nothing(
    tmp_path: Path, other_clock: Callable[[float, bool], None]
) -> None:
    storage = LocalStorage(str(tmp_path))
    other_clock(DAY, False)
    former = locks(tmp_path)
    check_unlocked(storage, False, "job")
    assert locks(tmp_path) == former
    owner = current_owner(storage, "job", local=False)
    assert re.fullmatch(
        r"pid \d+ on another, for 0 s, whose heartbeat is 1 d ahead of this machine's clock", str(owner)
    )
    threading.Timer(0.3, shift, (former[0], 20.0)).start()
    with pytest.raises(JobError, match="so it is alive"):
        check_unlocked(storage, False, "job")


class Slow(LocalStorage):
    """What is written appears only after a while, as in an object store that is far away."""

    def write(self, name: str, chunks: Callable[[], Iterable[bytes]], private: bool = False) -> None:
        time.sleep(random.uniform(0, 0.03))
        super().write(name, chunks, private)
        time.sleep(random.uniform(0, 0.03))


@pytest.mark.parametrize("shares", [(None, None), (None, 1, None), (1, 1), (None, None, None, None)])
def test_of_those_that_start_at_once_one_gets_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shares: tuple[int | None, ...]
) -> None:
    monkeypatch.setattr(remote_lock_module, "RIVAL_POLL_SECS", 0.01)
    for number in range(10):
        got: list[RemoteLease] = []
        refused: list[JobError] = []

        def start(share: int | None, job: str, got: list[Any] = got, refused: list[JobError] = refused) -> None:
            try:
                got.append(RemoteLease(Slow(str(tmp_path)), job, share, NO_GROUP))
            except JobError as refusal:
                refused.append(refusal)

        threads = [threading.Thread(target=start, args=(share, f"job{number}")) for share in shares]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert (len(got), len(refused)) == (1, len(shares) - 1)
        assert all("already running" in str(error) for error in refused)
