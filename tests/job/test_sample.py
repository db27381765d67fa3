"""Where a sample is taken, which lines are in it, and what is made of it."""

from __future__ import annotations

import bz2
import gzip
import itertools
import lzma
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutor_transform_logs.lms_job.check.sample import Tally, estimate, format_estimate, places, read_place
from tutor_transform_logs.lms_job.model.counts import Counts
from tutor_transform_logs.lms_job.model.plan import Segment
from tutor_transform_logs.lms_job.util.errors import ObjectGone


@dataclass(frozen=True)
class Memory:
    """Objects in memory, read in chunks of some size."""

    objects: dict[str, bytes]
    chunk: int = 7

    def read(self, name: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        if name not in self.objects:
            raise ObjectGone("gone")
        content = self.objects[name][start:end]
        yield from (content[at : at + self.chunk] for at in range(0, len(content), self.chunk))


def plain(number: int, start: int, end: int, name: str = "log") -> Segment:
    return Segment(id=number, content=1, object=name, start=start, end=end, stored_bytes=end - start)


def packed(number: int, content: bytes, kind: str = "gzip") -> Segment:
    return Segment(number, number, f"log-{number}", 0, None, stored_bytes=len(content), compression=kind)


LINES = st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"")), min_size=1, max_size=40)


@given(lines=LINES, count=st.integers(1, 12), cuts=st.sets(st.integers(1, 39), max_size=3), chunk=st.integers(1, 50))
def test_of_a_small_plain_log_every_line_is_taken_once(
    lines: list[bytes], count: int, cuts: set[int], chunk: int
) -> None:
    content = b"".join(line + b"\n" for line in lines)
    starts = [0, *itertools.accumulate(len(line) + 1 for line in lines)]
    bounds = sorted({0, len(content), *(starts[cut] for cut in cuts if cut < len(starts))})
    segments = [plain(number, *pair) for number, pair in enumerate(itertools.pairwise(bounds), 1)]
    source = Memory({"log": content}, chunk)
    taken = [read_place(source, place, 100) for place in places(segments, count, 10**6)]
    assert sum(len(piece.content) for piece in taken) == sum(piece.stored for piece in taken)
    if len(segments) == 1:
        assert b"".join(piece.content for piece in taken) == content
    assert all(piece.content in content for piece in taken)


@given(st.lists(st.integers(0, 10**9), max_size=30), st.integers(1, 20))
def test_places_lie_evenly_in_what_is_to_be_read(sizes: list[int], count: int) -> None:
    ends = list(itertools.accumulate(sizes))
    segments = [plain(number, 0, size, f"log-{number}") for number, size in enumerate(sizes, 1)]
    found = places(segments, count, 2000)
    step = -(-sum(sizes) // count)
    at = [(ends[place.segment.id - 1] - sizes[place.segment.id - 1]) + place.offset for place in found]
    assert at == [step * number for number in range(len(found))]
    assert len(found) <= count
    assert all(place.offset + place.length <= place.segment.stored_bytes and place.length for place in found)


def test_every_compression_is_met_and_large_compressed_logs_give_more_lines() -> None:
    segments = [plain(1, 0, 900_000), packed(2, b"x" * 10), packed(3, b"x" * 20), packed(4, b"x" * 10**6, "xz")]
    found = places(segments, 10, 2000)
    assert {(place.segment.id, place.segment.compression) for place in found} == {(1, ""), (3, "gzip"), (4, "xz")}
    assert {place.segment.id: place.lines for place in found if place.segment.id > 1} == {3: 200, 4: 1000}


@pytest.mark.parametrize(("kind", "pack"), [("gzip", gzip.compress), ("bzip2", bz2.compress), ("xz", lzma.compress)])
def test_of_a_compressed_log_the_first_lines_are_taken_and_its_ratio(kind: str, pack: object) -> None:
    content = b"".join(b"line %d of the log\n" % number for number in range(5000))
    stored: bytes = pack(content)  # type: ignore[operator]
    [place] = places([packed(1, stored, kind)], 1, 30)
    piece = read_place(Memory({"log-1": stored}, 1000), place, 100)
    assert piece.content == b"".join(content.splitlines(keepends=True)[:30])
    assert (piece.stored, piece.unpacked) == (len(stored), len(content))


def test_an_object_that_is_gone_gives_no_lines() -> None:
    [place] = places([plain(1, 0, 100)], 1)
    assert read_place(Memory({}), place, 100).content == b""


def tally(ratio: int, lines: int, made: int, secs: float) -> Tally:
    counts = Counts(lines=lines, transformed=made, unknown_event=lines - made)
    return Tally(100, 100 * ratio, 1000, secs, 1000, counts, {"lrs": made}, {"lrs": made * 50})


def test_each_kind_of_object_counts_by_its_own_sample() -> None:
    whole = estimate({"": 10_000, "gzip": 10_000}, {"": tally(1, 10, 5, 0.5), "gzip": tally(20, 10, 10, 1.0)})
    assert whole is not None
    assert (whole.lines, whole.events) == (100 + 2000, 50 + 2000)
    assert (whole.statements, whole.bytes) == ({"lrs": 2050}, {"lrs": 2050 * 50})
    assert whole.secs == 10 * 0.5 + 200 * 1.0
    assert estimate({"": 1}, {}) is None
    assert estimate({"": 1}, {"": Tally()}) is None


def test_an_unknown_kind_is_taken_for_a_known_one() -> None:
    whole = estimate({"zstd": 1000}, {"gzip": tally(2, 10, 5, 0.5)})
    assert whole is not None
    assert whole.lines == 20


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (7.4, "7"), (1234, "1,200"), (99_600, "100,000"), (1_250_000, "1.2 million"), (996_000, "1 million"),
     (2.04e9, "2 billion")],
)  # fmt: skip
def test_what_is_not_known_well_is_said_in_two_digits(number: float, text: str) -> None:
    assert format_estimate(number) == text
