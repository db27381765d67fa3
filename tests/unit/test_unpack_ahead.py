"""A log is unpacked ahead of its reader, but not far; the bytes and the errors come in the same order as without."""

from __future__ import annotations

import bz2
import gzip
import lzma
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import zstandard

from tutor_transform_logs.lms_job.model.plan import Segment
from tutor_transform_logs.lms_job.read.decompress import BrokenObject, decompressed
from tutor_transform_logs.lms_job.read.segment import segment_chunks
from tutor_transform_logs.lms_job.read.unpack_ahead import BEGINNING_BYTES, DEPTH, unpack_ahead
from tutor_transform_logs.lms_job.util.prefetch import CHECK_SECS, Prefetcher

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda log: gzip.compress(log, 1),
    "bzip2": lambda log: bz2.compress(log, 1),
    "xz": lambda log: lzma.compress(log, preset=0),
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
}
LINES = [b'{"name": "x", "number": %d}\n' % number for number in range(320_000)]
LOG = b"".join(LINES)
# The second member begins behind what is read without a thread.
MEMBERS = [b"".join(LINES[:160_000]), b"".join(LINES[160_000:])]
MEGABYTE = bytes(1024**2)


def packed(kind: str) -> bytes:
    """The log in two members."""
    assert len(MEMBERS[0]) > BEGINNING_BYTES
    return b"".join(map(COMPRESSORS[kind], MEMBERS))


def until_broken(pieces: Iterator[bytes]) -> tuple[bytes, str]:
    """What is read before the break, and what is said of it; no text if there is none."""
    got: list[bytes] = []
    try:
        got.extend(pieces)
    except BrokenObject as error:
        return b"".join(got), str(error)
    return b"".join(got), ""


class Source:
    """One object, in chunks; in which threads it was read, and whether reading has ended."""

    def __init__(self, stored: bytes) -> None:
        self._stored = stored
        self.threads: set[int] = set()
        self.closed = False

    def read(self, name: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        try:
            for at in range(0, len(self._stored), 64 * 1024):
                self.threads.add(threading.get_ident())
                yield self._stored[at : at + 64 * 1024]
        finally:
            self.closed = True


def megabytes(made: list[int], count: int, ended: list[int]) -> Iterator[bytes]:
    """``count`` pieces; notes each that was asked for, and the thread in which it ends."""
    try:
        for number in range(count):
            made.append(number)
            yield MEGABYTE
    finally:
        ended.append(threading.get_ident())


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_a_segment_is_read_in_another_thread_and_is_the_same(kind: str) -> None:
    source = Source(packed(kind))
    segment = Segment(0, 0, "x", 0, None, 1, kind)
    assert b"".join(segment_chunks(source, segment, 0)) == LOG
    assert len(source.threads - {threading.get_ident()}) == 1
    # As one that is resumed.
    offset = BEGINNING_BYTES + 12_345
    assert b"".join(segment_chunks(source, segment, offset)) == LOG[offset:]


@pytest.mark.parametrize("kind", COMPRESSORS)
@pytest.mark.parametrize("damage", ["truncated", "trailing garbage", "damaged"])
def test_what_can_be_read_of_a_broken_log_comes_before_the_error(kind: str, damage: str) -> None:
    stored = packed(kind)
    if damage == "truncated":
        stored = stored[: int(len(stored) * 0.9)]
    elif damage == "damaged":
        at = int(len(stored) * 0.9)
        stored = stored[:at] + b"\xff" * 64 + stored[at + 64 :]
    else:
        stored += b"garbage" * 100
    chunks = [stored[at : at + 100_000] for at in range(0, len(stored), 100_000)]
    got, detail = until_broken(unpack_ahead(decompressed(chunks, kind)))
    assert (got, detail) == until_broken(decompressed(chunks, kind))
    assert detail
    assert len(got) > len(MEMBERS[0])


def test_a_small_log_gets_no_thread() -> None:
    source = Source(gzip.compress(LOG[: BEGINNING_BYTES - 1]))
    assert b"".join(segment_chunks(source, Segment(0, 0, "x", 0, None, 1, "gzip"), 0)) == LOG[: BEGINNING_BYTES - 1]
    assert source.threads == {threading.get_ident()}


def test_no_more_is_read_ahead_than_the_bound() -> None:
    made: list[int] = []
    beginning = BEGINNING_BYTES // len(MEGABYTE)
    pieces = unpack_ahead(megabytes(made, 100, []))
    for taken in range(1, 20):
        next(pieces)
        if taken > beginning:
            # The queue is full, and one more waits for a place in it.
            wait_until(lambda taken=taken: len(made) >= taken + DEPTH + 1)  # type: ignore[misc]
            time.sleep(0.01)
            assert len(made) == taken + DEPTH + 1
        else:
            assert len(made) == taken
    pieces.close()  # type: ignore[attr-defined]


def test_what_is_not_read_to_its_end_is_closed_at_once() -> None:
    made: list[int] = []
    ended: list[int] = []
    threads = threading.active_count()
    pieces = unpack_ahead(megabytes(made, 100, ended))
    for _ in range(6):
        next(pieces)
    wait_until(lambda: len(made) >= 6 + DEPTH + 1)
    began = time.monotonic()
    pieces.close()  # type: ignore[attr-defined]
    assert time.monotonic() - began < CHECK_SECS / 2
    assert threading.active_count() == threads
    assert ended
    assert ended != [threading.get_ident()], "it was not closed by the thread that read it"


def test_a_reader_that_is_a_thread_itself_leaves_none_behind() -> None:
    """As batches are made: the end of their thread is the end of the one that unpacks."""
    threads = threading.active_count()
    source = Source(packed("gzip"))
    segment = Segment(0, 0, "x", 0, None, 1, "gzip")
    made = Prefetcher(chunk for chunk in segment_chunks(source, segment, 0))
    read = 0
    while read < BEGINNING_BYTES + 1024**2:
        read += len(made.next() or b"")
    assert threading.active_count() == threads + 2
    made.close()
    assert threading.active_count() == threads
    assert source.closed


def wait_until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.001)
