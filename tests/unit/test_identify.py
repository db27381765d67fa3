"""How a log ends: read from plain and compressed objects, in as few requests as possible."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.contents import cut
from tutor_transform_logs.lms_job.model.plan import Tail
from tutor_transform_logs.lms_job.read.identify import NEAR_BYTES, StoredLog, TailRecorder

LOG = b"".join(b"%07d\n" % number for number in range(3000))
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


class Store:
    """Holds one object, and counts requests."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.requests = 0

    def read(self, name: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        self.requests += 1
        yield from cut(self.content[start:end], range(0, len(self.content), 1000))


@given(st.integers(0, len(LOG)), st.lists(st.integers(1, len(LOG)), max_size=4), st.sampled_from(sorted(PACKED)))
def test_tails_are_those_of_the_decompressed_bytes(length: int, ends: list[int], kind: str) -> None:
    log = LOG[:length]
    store = Store(PACKED[kind](log))
    stored = StoredLog(store, "a", len(store.content), kind)
    stored.load(ends)
    assert stored.readable == stored.length == length
    for end in (*ends, length):
        assert stored.tail(end) == (Tail.of(end, log[:end]) if end <= length else None)
    assert store.requests <= 1 or not kind


def test_a_damaged_object_is_known_as_far_as_it_can_be_read() -> None:
    store = Store(gzip.compress(LOG, 0)[:-3000])
    stored = StoredLog(store, "a", len(store.content), "gzip")
    assert 0 < stored.readable < len(LOG)
    assert stored.tail(stored.readable) == Tail.of(stored.readable, LOG[: stored.readable])
    assert stored.length is None
    assert stored.problem == "truncated gzip data"


@pytest.mark.parametrize(("grown", "requests"), [(0, 1), (NEAR_BYTES, 1), (NEAR_BYTES + 1, 2)])
def test_a_plain_log_takes_one_request_unless_it_has_grown_much(grown: int, requests: int) -> None:
    store = Store(LOG + b"x" * grown)
    stored = StoredLog(store, "a", len(store.content), "")
    stored.load({len(LOG)})
    assert stored.tail(len(LOG)) == Tail.of(len(LOG), LOG)
    assert stored.tail(len(store.content)) == Tail.of(len(store.content), store.content)
    assert store.requests == requests


@given(st.integers(0, len(LOG)), st.lists(st.integers(0, len(LOG)), max_size=6))
def test_what_was_read_from_an_offset_on_has_a_tail_if_it_is_long_enough(offset: int, points: list[int]) -> None:
    recorder = TailRecorder(offset)
    assert b"".join(recorder.watch(cut(LOG[offset:], points))) == LOG[offset:]
    whole = Tail.of(len(LOG), LOG)
    assert recorder.tail(len(LOG)) == (whole if offset == 0 or len(LOG) - offset >= 4096 else None)
    assert recorder.tail(len(LOG) - 1) is None
