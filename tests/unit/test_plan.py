"""What is left to do, where it is cut, who does it, and how a log is known again: as plain values."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tutor_transform_logs.lms_job.model.plan import (
    HEAD_BYTES,
    SURE_BYTES,
    TAIL_BYTES,
    Archive,
    Content,
    ContentIndex,
    Fingerprint,
    OutputFormat,
    Plan,
    Segment,
    SourceObject,
    Tail,
    cut_points,
    segments_of_share,
    subtract,
)

OFFSETS = st.integers(0, 60)
RANGES = st.tuples(OFFSETS, OFFSETS).map(lambda pair: (min(pair), max(pair)))
BEYOND = 100  # stands for the end of an open range


@given(st.tuples(OFFSETS, OFFSETS | st.none()), st.lists(RANGES, max_size=6))
def test_subtract_leaves_each_byte_that_is_not_covered_once(
    wanted: tuple[int, int | None], covered: list[tuple[int, int]]
) -> None:
    left = subtract(wanted, covered)
    bytes_left = [at for start, end in left for at in range(start, BEYOND if end is None else end)]
    end = BEYOND if wanted[1] is None else wanted[1]
    bytes_wanted = set(range(wanted[0], end)) - {at for start, stop in covered for at in range(start, stop)}
    assert bytes_left == sorted(bytes_wanted)
    assert [end for _, end in left].count(None) == (1 if wanted[1] is None else 0)
    assert all(end is None or start < end for start, end in left)


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(10**8, 10**10))
def test_cut_points_make_equal_pieces_of_at_most_the_size(start: int, length: int, size: int) -> None:
    bounds = [start, *cut_points(start, start + length, size), start + length]
    pieces = [end - begin for begin, end in pairwise(bounds)]
    assert sum(pieces) == length
    assert max(pieces) <= size + 1
    assert max(pieces) - min(pieces) <= 1


def segment(number: int, stored: int) -> Segment:
    return Segment(id=number, content=1, object="tracking.log", start=0, end=stored, stored_bytes=stored)


@given(st.lists(st.integers(0, 1000), max_size=40), st.integers(1, 9))
def test_every_segment_has_one_worker_and_the_shares_are_fair(sizes: list[int], workers: int) -> None:
    segments = [segment(number, stored) for number, stored in enumerate(sizes, 1)]
    shares = [segments_of_share(segments, index, workers) for index in range(workers)]
    assert sorted(segment.id for part in shares for segment in part) == list(range(1, len(sizes) + 1))
    loads = [sum(segment.stored_bytes for segment in part) for part in shares]
    assert max(loads) - min(loads) <= max(sizes, default=0)
    assert shares == [segments_of_share(segments[::-1], index, workers) for index in range(workers)]


NAMES = st.sampled_from(["tracking.log", "tracking.log.1", "logs/\udcff\n"])
CONTENTS = st.builds(
    Content,
    id=st.integers(1, 9),
    fingerprint=st.builds(Fingerprint.of, st.binary(max_size=300)),
    length=st.integers(0, 10**13),
    lines=st.integers(0, 10**10),
    done=st.dictionaries(st.sampled_from(["files", "lrs-1"]), st.integers(0, 10**13)),
    names=st.dictionaries(NAMES, st.integers(0, 10**13)),
    resume_at=st.none() | st.integers(0, 10**13),
    unterminated=st.booleans(),
    tail=st.none() | st.builds(Tail, st.integers(0, 10**13), st.text(max_size=9)),
)
SEGMENTS = st.builds(
    Segment,
    id=st.integers(1, 9),
    content=st.integers(1, 9),
    object=NAMES,
    start=st.integers(0, 10**13),
    end=st.none() | st.integers(0, 10**13),
    stored_bytes=st.integers(0, 10**13),
    compression=st.sampled_from(["", "gzip"]),
    after_unterminated_line=st.booleans(),
    lines_before=st.none() | st.integers(0, 10**10),
    skip=st.dictionaries(st.sampled_from(["files", "lrs-1"]), st.integers(0, 10**13)),
)
OBJECTS = st.builds(SourceObject, NAMES, st.integers(0, 10**13), st.none() | st.integers(1, 9), st.text(max_size=9))


@given(
    st.builds(
        Plan,
        number=st.integers(1, 9999),
        created=st.floats(0, 2e9),
        contents=st.lists(CONTENTS, max_size=3).map(tuple),
        objects=st.lists(OBJECTS, max_size=3).map(tuple),
        segments=st.lists(SEGMENTS, max_size=3).map(tuple),
        output=st.builds(
            OutputFormat,
            st.sampled_from(["single", "batches"]),
            st.sampled_from(["none", "gzip"]),
            st.integers(1, 10**12),
        ),
        finished=st.booleans(),
    )
)
def test_a_plan_comes_back_from_json(plan: Plan) -> None:
    # Its segments are of its contents.
    known = {content.id for content in plan.contents}
    plan = replace(plan, segments=tuple(segment for segment in plan.segments if segment.content in known))
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


LOG = bytes(range(256)) * 40


class Seen:
    """Objects as PLAN sees them: each is one of the contents that match it, or a new one."""

    def __init__(self) -> None:
        self.index = ContentIndex([])

    def see(self, name: str, head: bytes) -> Content:
        found = next(iter(self.index.matching(name, head)), None) or self.index.add(name, head)
        if len(head) > found.fingerprint.length:
            found = replace(found, fingerprint=Fingerprint.of(head))
            self.index.put(found)
        return found


@given(
    heads=st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0, 1, 100, 255, 256, 300, 4096, 9000])), max_size=8)
)
@example(heads=[(1, 256), (0, 300), (0, 256), (0, 300)])
def test_a_log_is_known_by_its_first_bytes_however_long_it_has_become(heads: list[tuple[int, int]]) -> None:
    """Three logs, seen again and again under new names and at other lengths."""
    seen = Seen()
    logs = [bytes([number]) + LOG for number in range(3)]
    sure: dict[int, int] = {}
    for turn, (number, length) in enumerate(heads):
        head = logs[number][: min(length, HEAD_BYTES)]
        known = seen.index.contents[sure[number]].fingerprint.length if number in sure else None
        found = seen.see(f"name-{turn}", head)
        if length >= SURE_BYTES and known is not None and length >= known:
            assert found.id == sure[number]
        if length >= SURE_BYTES:
            sure.setdefault(number, found.id)
        assert all(found.id != other for which, other in sure.items() if which != number)
    assert list(seen.index.contents) == list(range(1, len(seen.index.contents) + 1))


def test_a_short_log_is_known_by_its_name_too() -> None:
    seen = Seen()
    first = seen.see("a", b"short")
    assert seen.see("b", b"short").id != first.id
    assert seen.see("a", b"short, and grown").id == first.id
    assert seen.see("a", b"another").id != first.id


@given(st.sampled_from([1, 100, 255]), st.integers(256, 9000))
def test_the_fingerprint_of_a_short_log_grows_with_it(short: int, grown: int) -> None:
    seen = Seen()
    first = seen.see("a", LOG[:short])
    assert seen.see("a", LOG[: min(grown, HEAD_BYTES)]).id == first.id
    assert seen.see("a.1", LOG[: min(grown, HEAD_BYTES)]).id == first.id
    assert seen.see("a", LOG[:short] + b"another" * 40).id != first.id


def test_an_empty_object_is_not_a_content_that_others_can_have() -> None:
    seen = Seen()
    empty = seen.see("a", b"")
    assert seen.see("b", b"x" * 500).id != empty.id
    assert seen.see("c", b"y" * 500).id != empty.id


def test_of_the_contents_with_the_same_first_bytes_those_of_the_name_come_first() -> None:
    logs = {number: replace(content(number), tail=Tail(number * 1000, "")) for number in (1, 2, 3)}
    index = ContentIndex(logs.values())
    assert [each.id for each in index.matching("tracking.log.2", LOG[:4096])] == [2, 3, 1]
    assert [each.id for each in index.matching("other", LOG[:4096])] == [3, 2, 1]
    assert index.matching("other", LOG[1:4097]) == []


def content(number: int) -> Content:
    return Content(number, Fingerprint.of(LOG[:4096]), 0, 0, {}, {f"tracking.log.{number}": 0})


@given(st.binary(max_size=3), st.integers(0, 9000), st.integers(0, 9000))
def test_a_tail_is_of_the_bytes_before_an_offset(start: bytes, end: int, at: int) -> None:
    log = start + LOG[: max(0, end - len(start))]
    tail = Tail.of(len(log), log)
    assert tail == Tail.of(len(log), log[-TAIL_BYTES:])
    # With fewer bytes there is none; another byte among those that count makes another one.
    assert not log or Tail.of(len(log), log[-TAIL_BYTES:][1:]) is None
    if at < len(log):
        changed = log[:at] + bytes([log[at] ^ 1]) + log[at + 1 :]
        assert (Tail.of(len(log), changed) == tail) == (at < len(log) - TAIL_BYTES)


@pytest.mark.parametrize("done", ["ab", [1], [["a"]], None, {"a": 1}])
def test_an_archive_that_no_release_has_written_is_damage(done: object) -> None:
    written = Archive("a.tgz", 1, Fingerprint.of(b"a"), ("to",))
    plan = Plan(1, 1.0, (), (), (), OutputFormat("single", "none", 1), archives=(written,)).to_json()
    plan = json.loads(json.dumps(plan))
    assert Plan.from_json(plan).archives == (written,)
    plan["archives"][0]["done"] = done
    with pytest.raises((ValueError, TypeError)):
        Plan.from_json(plan)
