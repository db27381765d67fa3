"""Where batches, segments and chunks are cut changes nothing of what is made."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.harness import collectors
from tests.harness.erb import transformer
from tutor_transform_logs.demo import samples
from tutor_transform_logs.lms_job.model.counts import total
from tutor_transform_logs.lms_job.model.dead_letters import INCOMPLETE_LINE
from tutor_transform_logs.lms_job.model.plan import Segment
from tutor_transform_logs.lms_job.model.records import START, Position
from tutor_transform_logs.lms_job.read.segment import segment_lines
from tutor_transform_logs.lms_job.transform.transformer import Transformer
from tutor_transform_logs.lms_job.work.batches import Batch, Limits, Section, batches
from tutor_transform_logs.lms_job.work.lookahead import look_ahead
from tutor_transform_logs.lms_job.work.parse import parse_lines

pytestmark = pytest.mark.usefixtures("lms")

ROOMY = Limits(events=10**6, bytes=10**9, line_bytes=16 * 1024**2)
NEWEST = samples.FILES["tracking.log"]()
PAGES = [line for line in NEWEST if line.xapi.outcome == "unknown_event"]
# Of every outcome some, page views also many in a row, with both line ends, and the last line open.
CONTENT = b"".join(
    line.data + line.ending
    for lines in (samples.FILES["tracking.log.1"]()[:9], PAGES[:11], NEWEST[-34:])
    for line in lines
)
STARTS = [0, *(at + 1 for at, byte in enumerate(CONTENT) if byte == 0x0A and at + 1 < len(CONTENT))]


@dataclass(frozen=True)
class Memory:
    """An object that is read in chunks of some size."""

    content: bytes
    chunk: int

    def read(self, name: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        content = self.content[start:end]
        yield from (content[at : at + self.chunk] for at in range(0, len(content), self.chunk))


@pytest.fixture(scope="module")
def xapi() -> Iterator[Transformer]:
    with transformer("xapi") as made:
        yield made


def segment(start: int = 0, end: int | None = len(CONTENT), **more: Any) -> Segment:
    return Segment(id=1, content=1, object="tracking.log", start=start, end=end, stored_bytes=0, **more)


def batched(
    source: Memory, xapi: Transformer, limits: Limits, of: Segment | None = None, section: Section | None = None
) -> list[Batch]:
    """The batches of a segment (the whole content, if none is given), as a worker makes them."""
    of = of or segment()
    section = section or Section(of.object)
    lines = segment_lines(source, of, section.start, limits.line_bytes, xapi.prefilter)
    return list(batches(look_ahead(parse_lines(lines, xapi), xapi), xapi, section, limits))


def facts(made: Sequence[Batch]) -> dict[str, Any]:
    """All that a run keeps of its batches, without where they were cut."""
    return {
        "made": [
            (sourced.statement.id, sourced.statement.body, sourced.line.offset)
            for batch in made
            for sourced in batch.made
        ],
        "letters": [
            (letter.offset, letter.stage, letter.reason, letter.detail, letter.event, letter.raw)
            for batch in made
            for letter in batch.letters
        ],
        "counts": total(batch.counts for batch in made).to_json(),
        "end": (made[-1].end, made[-1].resume_at, made[-1].unterminated),
    }


def in_order(made: Sequence[Batch], start: int) -> None:
    """Batches follow each other without a gap, and only the last is the last."""
    for batch in made:
        assert batch.start == start
        start = batch.end
    assert [batch.last for batch in made] == [False] * (len(made) - 1) + [True]


_whole: dict[int, dict[str, Any]] = {}


def whole(xapi: Transformer) -> dict[str, Any]:
    if not _whole:
        _whole[0] = facts(batched(Memory(CONTENT, 10**9), xapi, ROOMY))
    return _whole[0]


def test_the_content_has_everything_in_it(xapi: Transformer) -> None:
    counts = whole(xapi)["counts"]
    assert counts["lines"] == len(STARTS)
    assert all(counts[name] for name in ("blank", "unparsable", "unknown_event", "transformed", "untransformable"))


fewer = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@fewer
@given(
    chunk=st.integers(1, 5000),
    events=st.integers(1, 40),
    size=st.sampled_from([1, 3000, 10**9]),
    cuts=st.lists(st.sampled_from(STARTS), max_size=4),
    longest=st.sampled_from([3, 100_000]),
)
def test_cuts_do_not_change_what_is_made(
    xapi: Transformer, chunk: int, events: int, size: int, cuts: list[int], longest: int
) -> None:
    limits = Limits(events, size, ROOMY.line_bytes)
    with patch(f"{batches.__module__}.LONGEST_BATCH_LINES", longest):
        made = batched(Memory(CONTENT, chunk), xapi, limits, section=Section("", START, frozenset(cuts)))
    assert max(batch.counts.lines for batch in made) <= longest
    in_order(made, 0)
    assert facts(made) == whole(xapi)
    assert {cut for cut in cuts if cut} <= {batch.start for batch in made}
    for batch in made:
        assert batch.counts.transformed + batch.counts.untransformable <= events
        assert STARTS[batch.next_line - 1 :][:1] == ([batch.end] if batch.end < len(CONTENT) else [])


@fewer
@given(
    bounds=st.lists(st.sampled_from(STARTS[1:]), max_size=4, unique=True).map(sorted),
    chunk=st.integers(1, 5000),
    compressed=st.booleans(),
)
def test_segments_do_not_change_what_is_made(
    xapi: Transformer, bounds: list[int], chunk: int, compressed: bool
) -> None:
    source = Memory(gzip.compress(CONTENT) if compressed else CONTENT, chunk)
    made = []
    for start, end in zip([0, *bounds], [*bounds, None if compressed else len(CONTENT)], strict=True):
        of = segment(start, end, compression="gzip" if compressed else "")
        limits = Limits(7, 10**9, ROOMY.line_bytes)
        part = batched(source, xapi, limits, of, Section(of.object, Position(start, 1)))
        in_order(part, start)
        made += part
    assert facts(made) == whole(xapi)


@fewer
@given(stop=st.integers(0, 12), chunk=st.integers(1, 5000), longest=st.sampled_from([3, 100_000]))
def test_a_run_taken_up_at_a_batch_goes_on_in_the_same_batches(
    xapi: Transformer, stop: int, chunk: int, longest: int
) -> None:
    with patch(f"{batches.__module__}.LONGEST_BATCH_LINES", longest):
        goes_on_in_the_same_batches(xapi, stop, chunk)


def goes_on_in_the_same_batches(xapi: Transformer, stop: int, chunk: int) -> None:
    limits = Limits(5, 10**9, ROOMY.line_bytes)
    first = batched(Memory(CONTENT, 4096), xapi, limits)[: stop + 1]
    at = Position(first[-1].end, first[-1].next_line)
    rest = []
    if not first[-1].last:
        rest = batched(Memory(CONTENT, chunk), xapi, limits, section=Section("", at, frozenset([at.offset])))
    undisturbed = batched(Memory(CONTENT, 4096), xapi, limits)
    assert [(batch.start, batch.end, batch.next_line) for batch in [*first, *rest]] == [
        (batch.start, batch.end, batch.next_line) for batch in undisturbed
    ]


def test_a_line_end_that_came_later_belongs_to_the_line_before(xapi: Transformer) -> None:
    """The last line was whole, but without its newline, when it was done."""
    grown = CONTENT + b"\n" + CONTENT[STARTS[2] : STARTS[4]]
    later = segment(len(CONTENT), len(grown), after_unterminated_line=True)
    section = Section("", Position(len(CONTENT), len(STARTS) + 1))
    made = batched(Memory(grown, 100), xapi, ROOMY, later, section)
    counts = total(batch.counts for batch in made)
    assert (counts.lines, counts.blank) == (2, 0)
    assert made[0].made[0].line.number == len(STARTS) + 1


EVENTS = [line.data for line in NEWEST if line.xapi.outcome == "transformed"][:4]
Wrap = Callable[..., list[bytes]]


def in_two_streams(wrap: Wrap, order: Sequence[int], parts: Sequence[int]) -> bytes:
    """Events and other lines of two streams, their parts as they come in some order."""
    streams = [
        wrap([EVENTS[0], b"GET /heartbeat", EVENTS[1]], parts),
        wrap([EVENTS[2], b"", EVENTS[3]], parts, stream="stderr"),
    ]
    mixed = []
    for number in [*order, *[0] * 99, *[1] * 99]:
        mixed += [streams[number].pop(0)] if streams[number] else []
    return collectors.joined(mixed)


def read_as_it_grows(xapi: Transformer, content: bytes, ends: Sequence[int]) -> tuple[Counter[str], Counter[Any]]:
    """The ids of what is made, and the dead letters that are left, if a run reads the log each time it has grown."""
    ids: Counter[str] = Counter()
    letters: Counter[Any] = Counter()
    end, resume_at, unterminated = 0, None, False
    for grown in (*ends, len(content)):
        start = end if resume_at is None else resume_at
        of = segment(start, grown, after_unterminated_line=unterminated and start == end > 0)
        section = Section("", Position(start, 1), known_to=end)
        made = batched(Memory(content[:grown], 1000), xapi, Limits(2, 10**9, ROOMY.line_bytes), of, section)
        in_order(made, start)
        for batch in made:
            ids.update(sourced.statement.id for sourced in batch.made)
            incomplete = [letter for letter in batch.letters if letter.reason == INCOMPLETE_LINE]
            assert all(letter.offset == batch.resume_at for letter in incomplete)
            letters.update((letter.reason, letter.raw) for letter in batch.letters if letter not in incomplete)
        end, resume_at, unterminated = made[-1].end, made[-1].resume_at, made[-1].unterminated
        assert content[end:grown] in (b"", b"\n")
    return ids, letters


@pytest.mark.parametrize("wrap", [collectors.docker, collectors.cri])
def test_a_log_in_parts_may_grow_at_any_byte(xapi: Transformer, wrap: Wrap) -> None:
    content = in_two_streams(wrap, [0, 1, 0, 1, 1, 0, 0, 1, 0, 1, 1], [200, 500])
    whole = read_as_it_grows(xapi, content, [])
    assert sorted(whole[0].values()) == [1, 1, 1, 1]
    assert sorted(whole[1]) == [("no_json", b"GET /heartbeat")]
    for cut in range(1, len(content)):
        assert read_as_it_grows(xapi, content, [cut]) == whole, f"cut at byte {cut}"


@fewer
@given(
    wrap=st.sampled_from([collectors.docker, collectors.cri]),
    order=st.lists(st.integers(0, 1), max_size=20),
    parts=st.lists(st.integers(1, 900), max_size=4),
    data=st.data(),
)
def test_it_may_grow_several_times(
    xapi: Transformer, wrap: Wrap, order: list[int], parts: list[int], data: st.DataObject
) -> None:
    content = in_two_streams(wrap, order, parts)
    ends = data.draw(st.lists(st.integers(1, len(content) - 1), max_size=4, unique=True).map(sorted))
    assert read_as_it_grows(xapi, content, ends) == read_as_it_grows(xapi, content, [])


OBJECTS = [line[line.index(b'{"') :] for line in EVENTS]
PRETTY_PRINTED: dict[str, Callable[[Sequence[bytes]], bytes]] = {
    "objects": collectors.OF_OBJECTS["pretty-printed"],
    "array": collectors.OF_OBJECTS["array, pretty-printed"],
    "opentelemetry": lambda lines: collectors.OF_OBJECTS["pretty-printed"](collectors.otlp(lines, 2)),
}


def places(content: bytes, data: st.DataObject) -> list[int]:
    """Up to three places in ``content``, where it may end."""
    return sorted(data.draw(st.sets(st.integers(1, len(content) - 1), min_size=1, max_size=3)))


@pytest.mark.parametrize("form", PRETTY_PRINTED)
def test_a_pretty_printed_log_may_grow_at_any_byte(xapi: Transformer, form: str) -> None:
    """Once, and again within the same event. Each place is tried that is in or near a bracket of the array."""
    content = PRETTY_PRINTED[form](OBJECTS)
    whole = read_as_it_grows(xapi, content, [])
    assert (sorted(whole[0].values()), whole[1]) == ([1, 1, 1, 1], Counter())
    last = len(content) - 1
    for cut in {*range(1, 6), *range(6, last, 61), *range(last - 5, last)}:
        assert read_as_it_grows(xapi, content, [cut]) == whole, f"cut at byte {cut}"
        assert read_as_it_grows(xapi, content, [cut, cut + 1]) == whole, f"cut at bytes {cut} and {cut + 1}"


@fewer
@given(form=st.sampled_from([*PRETTY_PRINTED]), data=st.data())
def test_a_pretty_printed_log_may_grow_several_times(xapi: Transformer, form: str, data: st.DataObject) -> None:
    content = PRETTY_PRINTED[form](OBJECTS)
    assert read_as_it_grows(xapi, content, places(content, data)) == read_as_it_grows(xapi, content, [])


# Objects on one line whose lines are held together, behind what makes the log one that is read by lines.
ON_ONE_LINE: dict[str, Callable[[Sequence[bytes]], bytes]] = {
    "cloudwatch": lambda lines: b"".join(collectors.cloudwatch(lines, 2)),
    "opentelemetry": lambda lines: b"[" + b",".join(collectors.otlp(lines, 2)) + b"]",
    "splunk": lambda lines: b" ".join(
        collectors.dumped({"event": "\n".join(map(bytes.decode, lines[at : at + 2])), "host": "x"}) for at in (0, 2)
    ),
    "docker, in parts": lambda lines: b"".join(collectors.docker(lines, [300])),
}
BEFORE = {
    "noise": b"not json\n",
    "lines": b"GET /a\nGET /b\n",
    "a part": collectors.joined(collectors.docker([EVENTS[0]], [200], stream="stderr")[:1]),
}


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("form", ON_ONE_LINE)
def test_objects_on_one_line_behind_others_may_grow_at_any_byte(xapi: Transformer, form: str, before: str) -> None:
    content = BEFORE[before] + ON_ONE_LINE[form](EVENTS) + b"\n"
    whole = read_as_it_grows(xapi, content, [])
    assert sorted(whole[0].values()) == [1, 1, 1, 1]
    for cut in range(len(BEFORE[before]) - 1, len(content) - 200, 97):
        assert read_as_it_grows(xapi, content, [cut]) == whole, f"cut at byte {cut}"
        assert read_as_it_grows(xapi, content, [cut, cut + 150]) == whole, f"cut at bytes {cut} and {cut + 150}"


def test_of_objects_on_one_line_that_is_too_long_there_is_a_dead_letter(xapi: Transformer) -> None:
    content = BEFORE["noise"] + ON_ONE_LINE["cloudwatch"](EVENTS * 3)
    short = Limits(10**6, 10**9, 6000)
    (batch,) = batched(Memory(content, 1000), xapi, short, segment(0, len(content)))
    assert ([letter.reason for letter in batch.letters], batch.resume_at) == (["no_json", "line_too_long"], None)


@fewer
@given(form=st.sampled_from([*ON_ONE_LINE]), before=st.sampled_from([*BEFORE]), data=st.data())
def test_objects_on_one_line_may_grow_several_times(
    xapi: Transformer, form: str, before: str, data: st.DataObject
) -> None:
    content = BEFORE[before] + ON_ONE_LINE[form](EVENTS) + b"\n"
    assert read_as_it_grows(xapi, content, places(content, data)) == read_as_it_grows(xapi, content, [])


@pytest.mark.parametrize("cut", [1, 100, 5000])
def test_of_a_plain_object_that_was_cut_off_all_whole_lines_are_done(xapi: Transformer, cut: int) -> None:
    shorter = Memory(CONTENT[:-cut], 1000)
    made = batched(shorter, xapi, ROOMY)
    assert "ends at byte" in made[-1].problem
    assert made[-1].gone
    counts = total(batch.counts for batch in made)
    assert counts.lines == CONTENT[:-cut].count(b"\n")


def test_of_a_truncated_gzip_the_good_part_is_done(xapi: Transformer) -> None:
    packed = gzip.compress(CONTENT, 0)
    made = batched(Memory(packed[: len(packed) // 2], 999), xapi, ROOMY, segment(end=None, compression="gzip"))
    assert made[-1].problem == "truncated gzip data"
    assert total(batch.counts for batch in made).lines > len(STARTS) / 4


def test_a_line_over_the_limit_is_a_dead_letter_that_keeps_its_beginning(xapi: Transformer) -> None:
    limits = Limits(10, 10**9, 5000)
    content = b'{"name": "play_video", "event": "' + b"x" * 20_000 + b'"}\n' + CONTENT[: STARTS[1]]
    [batch] = batched(Memory(content, 700), xapi, limits, segment(end=len(content)))
    [letter] = batch.letters
    assert (letter.reason, letter.line, letter.offset) == ("line_too_long", 1, 0)
    assert content.startswith(letter.raw)
    assert len(letter.raw) <= 5000
    assert batch.counts.transformed == 1


def test_fields_that_no_destination_asks_for_are_not_kept(xapi: Transformer) -> None:
    """They are most of the memory that a batch takes; all else stays the same."""
    whole, bare = (
        batched(Memory(CONTENT, 4096), xapi, ROOMY, section=Section("", keeps_fields=kept)) for kept in (True, False)
    )
    assert facts(bare) == facts(whole)
    made = [sourced for batch in bare for sourced in batch.made]
    assert made
    assert [sourced.event.name for sourced in made] == [sourced.event.name for batch in whole for sourced in batch.made]
    assert not any(sourced.event.fields for sourced in made)
    assert all(sourced.event.fields for batch in whole for sourced in batch.made)
