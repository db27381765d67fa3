"""Who may run beside whom: whole phases alone, shares of the work beside other shares, each share once.

The lock of an object store is tried on a folder: to it they are the same few calls.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tutor_transform_logs.lms_job.ledger import lock as lock_module
from tutor_transform_logs.lms_job.ledger.lock import NO_GROUP, Group, local_lock, remote_lock
from tutor_transform_logs.lms_job.storage.local import LocalStorage
from tutor_transform_logs.lms_job.util.errors import JobError

Take = Callable[[int | None], contextlib.AbstractContextManager[None]]
KINDS = ["local", "remote"]


@pytest.fixture(params=KINDS)
def take(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Take:
    """Takes the whole job's lock, or that of a share."""
    monkeypatch.setattr(lock_module, "GRACE_SECS", 0.0)
    if request.param == "local":
        return lambda share: local_lock(str(tmp_path / "job"), share)
    return lambda share: remote_lock(LocalStorage(str(tmp_path)), "job", share)


def is_refused(lock: contextlib.AbstractContextManager[None]) -> bool:
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


def remote(
    folder: Path, share: int | None, group: Group, lost: Callable[[], None] = pytest.fail
) -> contextlib.AbstractContextManager[None]:
    return remote_lock(LocalStorage(str(folder)), "job", share, group, lost, beat_secs=0.02)


@pytest.mark.parametrize("share", [7, None])
def test_the_pod_that_replaces_another_takes_its_lock_over_at_once(tmp_path: Path, share: int | None) -> None:
    """And the former, should it be alive after all (on a node that was cut off), is told so and leaves it alone."""
    lost, file = threading.Event(), tmp_path / "job" / ("lock.json" if share is None else "lock-00007.json")
    with remote(tmp_path, share, Group("job-a"), lost.set):
        former = json.loads(file.read_text())["token"]
        with remote(tmp_path, share, Group("job-a")):
            assert lost.wait(30)
            assert json.loads(file.read_text())["token"] != former
    # Neither's lock is left, and it was not the former that removed the later one's.
    assert not file.exists()


@pytest.mark.parametrize("groups", [("job-a", "job-b"), ("", "")])
def test_nobody_else_takes_a_lock_over(tmp_path: Path, groups: tuple[str, str]) -> None:
    with remote(tmp_path, 7, Group(groups[0])):
        assert is_refused(remote(tmp_path, 7, Group(groups[1])))
        assert is_refused(remote(tmp_path, None, Group(groups[0])))
        assert is_refused(remote(tmp_path, None, NO_GROUP))
    with remote(tmp_path, None, Group(groups[0])):
        assert is_refused(remote(tmp_path, 7, Group(groups[0])))


def test_what_a_killed_pod_of_a_job_that_has_ended_left_is_in_nobodys_way(tmp_path: Path) -> None:
    with remote(tmp_path, 7, Group("work"), lambda: None), remote(tmp_path, 8, Group("other")):
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
