"""Objects that threads read ahead: each once, in order, not too many, and as whoever reads them would find them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from tutor_transform_logs.lms_job.storage import read_ahead
from tutor_transform_logs.lms_job.storage.base import AT_ONCE
from tutor_transform_logs.lms_job.storage.read_ahead import AHEAD_PER_THREAD, ReadAhead
from tutor_transform_logs.lms_job.util.errors import ObjectGone, Unavailable

NAMES = [f"log-{number:03}" for number in range(200)]
Read = Callable[[str], str]
MOST_AHEAD = AT_ONCE * AHEAD_PER_THREAD


def over(read: Read, names: list[str] = NAMES) -> ReadAhead[str]:
    return ReadAhead(names, lambda: read)


def threads() -> int:
    return threading.active_count()


def test_each_is_read_once_and_taken_in_order() -> None:
    before, names = threads(), list[str]()

    def read(name: str) -> str:
        names.append(name)
        return name.upper()

    ahead = over(read)
    assert [ahead.take(name) for name in NAMES] == [name.upper() for name in NAMES]
    ahead.close()
    assert sorted(names) == NAMES
    assert threads() == before


def test_many_are_read_at_the_same_time() -> None:
    """None would end without the others."""
    together = threading.Barrier(AT_ONCE)

    def read(name: str) -> str:
        together.wait(timeout=20)
        return name

    ahead = over(read, NAMES[: 2 * AT_ONCE])
    assert [ahead.take(name) for name in NAMES[: 2 * AT_ONCE]] == NAMES[: 2 * AT_ONCE]
    ahead.close()


def test_no_more_than_the_bound_wait_to_be_taken() -> None:
    names: list[str] = []

    def read(name: str) -> str:
        names.append(name)
        return name

    ahead = over(read)
    for taken, name in enumerate(NAMES[:20], 1):
        assert ahead.take(name) == name
        assert len(names) <= taken + MOST_AHEAD
    time.sleep(0.1)
    assert len(names) == 20 + MOST_AHEAD
    ahead.close()


def test_what_is_left_out_is_dropped_and_nothing_is_taken_twice() -> None:
    ahead = over(str)
    assert ahead.take(NAMES[150]) == NAMES[150]
    for name in (NAMES[150], NAMES[3], "another"):
        assert ahead.take(name) is None
    assert ahead.take(NAMES[199]) == NAMES[199]
    ahead.close()
    assert ahead.take(NAMES[199]) is None


def test_what_could_not_be_read_is_read_again_and_what_is_gone_is_gone() -> None:
    def read(name: str) -> str:
        if name == NAMES[1]:
            raise Unavailable("busy")
        if name == NAMES[2]:
            raise ObjectGone("it does not exist any more")
        if name == NAMES[3]:
            raise RuntimeError("a bug")
        return name

    ahead = over(read, NAMES[:5])
    assert [ahead.take(NAMES[0]), ahead.take(NAMES[1])] == [NAMES[0], None]
    with pytest.raises(ObjectGone, match="does not exist"):
        ahead.take(NAMES[2])
    assert [ahead.take(NAMES[3]), ahead.take(NAMES[4])] == [None, NAMES[4]]
    ahead.close()


def test_a_thread_that_can_not_connect_leaves_its_object_to_its_reader() -> None:
    def connect() -> Read:
        raise RuntimeError("no driver")

    ahead = ReadAhead(NAMES[:40], connect)
    assert [ahead.take(name) for name in NAMES[:40]] == [None] * 40
    ahead.close()


def test_what_was_read_long_ago_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_ahead, "MOST_SECS", -1.0)

    def read(name: str) -> str:
        if name == NAMES[1]:
            raise ObjectGone("it does not exist any more")
        return name

    ahead = over(read, NAMES[:2])
    assert [ahead.take(NAMES[0]), ahead.take(NAMES[1])] == [None, None]
    ahead.close()


def test_a_read_that_does_not_end_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_ahead, "LAST_READ_SECS", 0.1)
    before, names, answer = threads(), list[str](), threading.Event()

    def read(name: str) -> str:
        names.append(name)
        answer.wait(timeout=30)
        return name

    ahead = over(read)
    began = time.monotonic()
    ahead.close()
    assert time.monotonic() - began < 5
    answer.set()
    while threads() > before and time.monotonic() - began < 20:
        time.sleep(0.01)
    assert threads() == before
    assert len(names) <= AT_ONCE
