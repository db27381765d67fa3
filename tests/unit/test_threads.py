"""Where the system starts fewer threads, or none, the work is done with those that there are."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tutor_transform_logs.lms_job.ledger.lock import remote_lock
from tutor_transform_logs.lms_job.read.unpack_ahead import BEGINNING_BYTES, unpack_ahead
from tutor_transform_logs.lms_job.storage.local import LocalStorage
from tutor_transform_logs.lms_job.storage.read_ahead import ReadAhead
from tutor_transform_logs.lms_job.util.errors import Unavailable
from tutor_transform_logs.lms_job.util.prefetch import Prefetcher
from tutor_transform_logs.lms_job.util.threads import start_thread

NAMES = [f"log-{number:03}" for number in range(100)]


@pytest.fixture
def no_threads() -> Iterator[None]:
    """No thread can have such a stack."""
    threading.stack_size(2**50)
    yield
    threading.stack_size(0)


@pytest.fixture
def three_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    start, started = threading.Thread.start, list[threading.Thread]()

    def start_three(self: threading.Thread) -> None:
        if len(started) == 3:
            raise RuntimeError("can't start new thread")
        started.append(self)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", start_three)


@pytest.mark.usefixtures("no_threads")
def test_none_is_started() -> None:
    assert start_thread(print) is None


@pytest.mark.usefixtures("no_threads")
def test_without_threads_nothing_is_read_ahead() -> None:
    ahead = ReadAhead(NAMES, lambda: str.upper)
    assert [ahead.take(name) for name in NAMES] == [None] * len(NAMES)
    ahead.close()


@pytest.mark.usefixtures("three_threads")
def test_the_threads_that_do_start_read_everything() -> None:
    before = threading.active_count()
    ahead = ReadAhead(NAMES, lambda: str.upper)
    assert threading.active_count() <= before + 3
    assert [ahead.take(name) for name in NAMES] == [name.upper() for name in NAMES]
    ahead.close()
    assert threading.active_count() == before


def items(count: int, used: list[int]) -> Iterator[int]:
    try:
        for number in range(count):
            used.append(threading.get_ident())
            yield number
        raise ValueError("behind the last one")
    finally:
        used.append(-1)


@pytest.mark.usefixtures("no_threads")
def test_items_are_made_by_their_reader_one_at_a_time() -> None:
    used: list[int] = []
    made = Prefetcher(items(3, used), depth=2, at_end=lambda: used.append(-2))
    assert made.next(0.001) == 0
    assert used == [threading.get_ident()]
    assert [made.next(), made.next()] == [1, 2]
    with pytest.raises(ValueError, match="behind the last one"):
        made.next()
    made.close()
    assert used == [threading.get_ident()] * 3 + [-1, -2]


@pytest.mark.usefixtures("no_threads")
def test_items_that_nobody_asks_for_are_not_made() -> None:
    used: list[int] = []
    made = Prefetcher(items(3, used), at_end=lambda: used.append(-2))
    assert made.next() == 0
    made.close()
    assert used == [threading.get_ident(), -1, -2]


@pytest.mark.usefixtures("no_threads")
def test_a_long_log_is_unpacked_by_its_reader() -> None:
    pieces = [bytes([number]) * 1024**2 for number in range(2 * BEGINNING_BYTES // 1024**2)]
    assert list(unpack_ahead(iter(pieces))) == pieces


@pytest.mark.usefixtures("no_threads")
def test_a_lock_that_can_not_be_kept_is_given_back(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="The system starts no further thread"):
        remote_lock(LocalStorage(str(tmp_path)), "job").__enter__()
    assert not list((tmp_path / "job").glob("lock*"))
