"""How a log ends: read from plain and compressed objects, in as few requests as possible."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.contents import cut
from tutor_transform_logs.lms_job.model.plan import ContentIndex, Tail
from tutor_transform_logs.lms_job.plan.discovery import identify_objects
from tutor_transform_logs.lms_job.read.identify import NEAR_BYTES, StoredLog, TailRecorder
from tutor_transform_logs.lms_job.read.stream_tails import StreamTails
from tutor_transform_logs.lms_job.storage.base import StoredObject

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
def test_what_was_read_has_a_tail_where_it_is_used(begin: int, points: list[int]) -> None:
    recorder = TailRecorder()
    for chunk in cut(LOG, points):
        recorder.add(chunk)
    whole = Tail.of(len(LOG), LOG)
    assert recorder.tail(len(LOG)) == whole
    assert recorder.tail(len(LOG) - 1) is None

    at = Tail.of(begin, LOG[:begin])
    assert at is not None
    tails = StreamTails(begin, at.digest)
    assert b"".join(tails.watch(cut(LOG, points))) == LOG
    assert tails.tail(begin) == at
    assert tails.tail(len(LOG)) == whole
    assert tails.tail(len(LOG) + 1) is None


class Folder:
    """Objects by name; counts how often each is read."""

    def __init__(self, **contents: bytes) -> None:
        self.contents = contents
        self.requests: Counter[str] = Counter()

    def read(self, name: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        self.requests[name] += 1
        yield self.contents[name][start:end]

    def identified(self, index: ContentIndex) -> dict[str, int]:
        """Object -> content."""
        self.requests.clear()
        found = [StoredObject(name, len(content)) for name, content in self.contents.items()]
        return {obj.name: obj.content for obj in identify_objects(self, found, index)}


def test_of_a_plain_log_the_first_bytes_and_the_last_ones_are_read_and_of_a_compressed_one_the_first() -> None:
    folder = Folder(a=LOG, b=b"b" + LOG, c=gzip.compress(b"c" + LOG))
    index = ContentIndex([])
    first = folder.identified(index)
    # Once more for how it is compressed, and once for enough of it.
    assert folder.requests == {"a": 2, "b": 2, "c": 2}
    assert len(set(first.values())) == 3
    folder.contents["a"] += b"more"
    assert folder.identified(index) == first
    assert folder.requests == {"a": 2, "b": 2, "c": 2}


def test_a_compressed_object_that_is_known_by_name_and_size_is_not_read_again() -> None:
    folder = Folder(a=LOG, z=gzip.compress(LOG))
    index = ContentIndex([])
    assert folder.identified(index) == {"a": 1, "z": 1}
    assert folder.requests["z"] == 3
    known = {name: len(content) for name, content in folder.contents.items()}
    index.put(replace(index.contents[1], length=len(LOG), names=known))
    assert folder.identified(index) == {"a": 1, "z": 1}
    assert folder.requests == {"a": 2, "z": 2}


@given(st.permutations(["a", "b", "c", "d"]), st.integers(4096, len(LOG) - 1))
def test_clones_are_told_apart_whatever_they_are_called(names: list[str], common: int) -> None:
    logs = [LOG, LOG[:common], LOG[:common] + b"another" * 10_000, gzip.compress(LOG[:common] + b"third" * 9000)]
    found = Folder(**dict(zip(names, logs, strict=True))).identified(ContentIndex([]))
    whole, copy, another, third = (found[name] for name in names)
    assert 0 not in (whole, another, third)
    assert len({whole, another, third}) == 3
    assert copy in (whole, another, third)
