"""A thread that does one thing after the other, and keeps what that has opened."""

from __future__ import annotations

import threading
from itertools import repeat

import pytest

from tests.harness.process import wait_for
from tutor_transform_logs.lms_job.util.prefetch import Prefetcher
from tutor_transform_logs.lms_job.util.threads import KeptThread

SECS = 30.0


def test_all_is_done_in_one_thread_which_ends_when_it_is_closed() -> None:
    ended = threading.Event()
    used: list[int] = []

    def end() -> None:
        used.append(threading.get_ident())
        ended.set()

    thread = KeptThread(at_end=end)
    for _ in range(3):
        done = thread.start(lambda: used.append(threading.get_ident()))
        assert done is not None
        assert done.wait(SECS)
    assert not ended.is_set()
    thread.close()
    assert ended.wait(SECS)
    assert used == list(repeat(used[0], 4))
    assert used[0] != threading.get_ident()


def test_what_has_not_ended_keeps_nobody_waiting() -> None:
    """The next one has a thread of its own; the first thread ends behind what it does."""
    thread, go_on = KeptThread(), threading.Event()
    slow = thread.start(lambda: go_on.wait(SECS))
    next_one = thread.start(lambda: None)
    assert next_one is not None
    assert next_one.wait(SECS)
    assert slow is not None
    assert not slow.is_set()
    before = threading.active_count()
    go_on.set()
    assert slow.wait(SECS)
    wait_for(lambda: threading.active_count() < before)
    thread.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_after_an_error_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is shown as that of any thread is."""
    shown: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda error: shown.append(str(error.exc_value)))
    thread = KeptThread()
    idents: list[int] = []
    for body in (lambda: 1 / 0, lambda: idents.append(threading.get_ident())):
        done = thread.start(body)
        assert done is not None
        assert done.wait(SECS)
    thread.close()
    assert shown == ["division by zero"]
    assert idents


def test_the_items_of_several_are_made_in_it() -> None:
    thread = KeptThread()
    used: set[int] = set()
    for _ in range(3):
        made = Prefetcher((used.add(threading.get_ident()) or number for number in range(3)), thread=thread)  # type: ignore[func-returns-value]  # for its effect
        assert list(made) == [0, 1, 2]
        made.close()
    thread.close()
    assert len(used) == 1
