"""The fast path makes the same statements: tried with events that nobody would log, against ERB as it is."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import override_settings
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.harness.contents import CONTENT, cut
from tests.harness.erb import transformer
from tests.harness.parity import KINDS, Way, assert_parity, scene, white_list
from tests.harness.variations import CHANGES, changed
from tutor_transform_logs.demo import events, samples
from tutor_transform_logs.lms_job.model.records import Line, Position, SkippedLines
from tutor_transform_logs.lms_job.read.events import Unparsable, parse
from tutor_transform_logs.lms_job.read.lines import split_lines
from tutor_transform_logs.lms_job.read.prefilter import Prefilter

pytestmark = pytest.mark.usefixtures("lms")

KNOWN = frozenset({"play_video", "edx.ui.lms.link_clicked", "problem_check"})
PREFILTER = Prefilter(KNOWN)


def name_of(raw: bytes) -> str | None:
    """The event's name by the full parse; ``None`` where it is not an event."""
    try:
        return parse(raw).name
    except Unparsable:
        return None


# What can be mistaken for the event's name, or hide it.
PIECES = st.sampled_from(
    ['{', '}', '"name"', ':', ' ', ',', '"play_video"', '"/dashboard"', '"event"', '"data"', '{}', '""', '\\"', '"',
     '\\', '"n\\u0061me"', '"play\\u005fvideo"', '"play_video\\u0020"', '"na\\u006De"', 'null', '[', ']', '\t', '1',
     'é', '"a"', '"event":', '{"name": "', '"event": {}}', '"name": "play_video"', '"name":"problem_check"',
     '"name" : "x"']
)  # fmt: skip
NAMES = st.sampled_from(
    [*sorted(KNOWN), "/dashboard", "play_video ", "", 'a"name": "play_video', "\\", "\x7f", "é", "n"]
)
VALUES = st.recursive(
    NAMES | st.sampled_from([None, 1, True, '{"name": "play_video"}', '"name"']),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["name", "event", 'x"name', "é"]), inner, max_size=3)
    ),
    max_leaves=5,
)
PAIRS = st.lists(st.tuples(st.sampled_from(["name", "event", "data", "context", "time", "n\\ame"]), VALUES), max_size=6)


def check_skip(raw: bytes) -> None:
    if PREFILTER.skips(raw):
        assert name_of(raw) not in KNOWN, f"skipped, but it is known: {raw!r}"


@given(st.lists(PIECES, max_size=16).map("".join))
@example('{"event": {}, "name": "play_video"}')
@example('{"name": "/dashboard", "event": {}, "name": "play_video"}')
@example('{"name": "/dash\\"board", "event": {}, "name": "play_video"}')
@example('{"event": {"name": "x"}, "name"\t:\t"play_video"}')
@example('{"event": {}, "na\\u006de": "play_video"}')
@example('2026 {"name": "/dashboard", "event": {}, "a": "\\\\", "name":"play_video"}')
def test_no_known_event_is_skipped_whatever_the_text(text: str) -> None:
    check_skip(text.encode())


@given(
    pairs=PAIRS,
    ascii_only=st.booleans(),
    separators=st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", " :  ")]),
    prefix=st.sampled_from(["", "2026-01-01 INFO [tracking] - ", '"name": ']),
    escaped=st.sampled_from([("", ""), ("_", "\\u005f"), ("n", "\\u006E"), ("m", "\\u006d")]),
)
def test_no_known_event_is_skipped_whatever_the_json(
    pairs: list[tuple[str, Any]], ascii_only: bool, separators: tuple[str, str], prefix: str, escaped: tuple[str, str]
) -> None:
    """With keys twice, names nested and names in text."""
    dump = json.JSONEncoder(ensure_ascii=ascii_only, separators=separators).encode
    text = "{" + separators[0].join(f"{dump(key)}{separators[1]}{dump(value)}" for key, value in pairs) + "}"
    check_skip((prefix + text.replace(*escaped)).encode())


def test_most_lines_of_a_log_are_skipped() -> None:
    """What can't be told from its bytes is parsed: but page views have to be told, or nothing is gained."""
    known = Prefilter(white_list("xapi"))
    assert known.usable
    unknown = skipped = 0
    for lines in samples.FILES.values():
        for line in lines():
            if line.xapi.outcome == "unknown_event":
                unknown += 1
                skipped += known.skips(line.data)
            else:
                assert not known.skips(line.data)
    assert skipped > unknown * 0.7


def test_a_name_that_can_be_written_in_two_ways_turns_it_off() -> None:
    for name in ("é", 'a"b', "a/b", "a\\b", "", "a\tb"):
        assert not Prefilter({"play_video", name}).usable


PAGE = b'{"name": "/dashboard", "event": {}}'
# A tracker's line, by its marks, and what may be strange in it all the same.
MARKED = ', "event": {}, "time": "t", "event_type": "x", "event_source": "server", "page": null}'
SNIPPETS = st.sampled_from(
    ['"a": "\\u00e9"', '"a": "é"', '"b": {"name": "play_video"}', '"event": "{\\"name\\": \\"play_video\\"}"',
     '"a": "name"', '"b": "\\\\"', '"c": "{", "d": "}"', '"\u2028": 1']
)  # fmt: skip
STARTS = st.sampled_from(
    ['{"name": "/dashboard"', '{"name": "play_video"', '{"name": "a\\"b"', '{"name": "\\\\"',
     '{"name": "play\\u005fvideo"', '{"name": "/\\u00fc"', "2026 [x] - {" '"name": "problem_check"',
     '2026 {"name": "x"', '{"a": 1, "name": "play_video"', "x", ""]
)  # fmt: skip
ENDS = st.sampled_from([MARKED, MARKED[:-1], "}", ', "event": 1}', MARKED + " ", MARKED + "\r", MARKED + "x"])
TRACKED = st.builds(
    lambda start, middle, end: (", ".join([start, *middle]) + end).encode(),
    STARTS,
    st.lists(SNIPPETS, max_size=3),
    ENDS,
)


@given(st.lists(TRACKED, max_size=8), st.booleans())
def test_a_trackers_line_is_told_as_by_the_full_parse(lines: list[bytes], at_once: bool) -> None:
    """Skipped is what the full parse finds to be an unknown event, or no event at all; never a known one."""
    content = b"".join(line + b"\n" for line in lines)
    chunks = [content] if at_once else cut(content, range(0, len(content), 50))
    skipped: set[int] = set()
    for piece in split_lines(chunks, prefilter=PREFILTER):
        if isinstance(piece, SkippedLines):
            skipped.update(range(piece.number, piece.number + piece.lines))
    for number, line in enumerate(lines, 1):
        if number in skipped:
            assert name_of(line) not in KNOWN


@pytest.mark.parametrize(
    "line",
    [
        b'{"name": "/x", "event": {}, "name": "play_video"}',
        b'{"name": "x", "event": {}, "name": "play_video"}',
        b'"event_source": "server" {"name": "/x", "event": {}, "name": "play_video"}',
        b'{"name": "/\xff"' + MARKED.encode(),
        b'{"name": "x\xff"' + MARKED.encode(),
        b'x "event_source": "server", "page": null}',
    ],
)
def test_what_lacks_a_trackers_marks_is_parsed(line: bytes) -> None:
    """Whatever marks the lines beside it have."""
    usual = b'{"name": "/dashboard"' + MARKED.encode()
    found = list(split_lines([b"\n".join([usual, line, usual, b""])], prefilter=PREFILTER))
    assert [piece.raw for piece in found if isinstance(piece, Line)] == [line]
    assert [piece.lines for piece in found if isinstance(piece, SkippedLines)] == [1, 1]


@pytest.mark.parametrize("before", [b"", b'{"name": "/dashboard"' + MARKED.encode() + b"\n"])
def test_a_known_event_is_told_by_its_beginning(before: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """There are as many as there are statements, and the parser looks at all of each."""
    prefilter = Prefilter(KNOWN)
    known = b'{"name": "play_video"' + MARKED.encode()
    text = before + known + b"\n" + PAGE + b"\n"
    assert prefilter.skip_from(text, 0, len(text), True) == (before.count(b"\n"), len(before))
    monkeypatch.setattr(prefilter, "name_by_its_ends", lambda raw: pytest.fail("looked at the end"))
    monkeypatch.setattr(prefilter, "skips", lambda raw: pytest.fail("looked at all of it"))
    assert prefilter.skip_from(text, len(before), len(text), True) == (0, len(before))


def test_a_page_view_that_was_cut_off_is_never_skipped() -> None:
    for lines in samples.FILES.values():
        for line in lines():
            if line.xapi.outcome != "unknown_event":
                continue
            for length in (1, 2, 30, 200):
                left = line.data[:-length]
                if not left.endswith(b"}"):
                    found = list(split_lines([left + b"\n"], prefilter=PREFILTER))
                    assert not any(isinstance(piece, SkippedLines) for piece in found)


LINES = st.lists(st.sampled_from([PAGE, PAGE + b"\r", b'{"name": "play_video", "event": {}}', b"", b"\r"]), max_size=12)


@given(
    content=CONTENT | LINES.map(b"\n".join) | LINES.map(lambda lines: b"".join(line + b"\n" for line in lines)),
    points=st.lists(st.integers(0, 400), max_size=8),
    limit=st.sampled_from([1, 3, 30, 36, 10_000]),
    offset=st.integers(0, 10**10),
    number=st.integers(1, 10**6),
)
def test_lines_and_skipped_lines_are_the_lines(
    content: bytes, points: list[int], limit: int, offset: int, number: int
) -> None:
    plain = list(split_lines([content], Position(offset, number), limit))
    found: list[Line | None] = []
    at = offset
    for piece in split_lines(cut(content, points), Position(offset, number), limit, PREFILTER):
        assert (piece.start if isinstance(piece, SkippedLines) else piece.offset) == at
        assert piece.number == number + len(found)
        if isinstance(piece, SkippedLines):
            for end in piece.ends():
                raw = content[at - offset : end - offset]
                assert raw.endswith(b"\n")
                assert name_of(raw[:-1]) not in KNOWN
                assert len(raw) - 1 <= limit
                at = end
                found.append(None)
        else:
            found.append(piece)
        at = piece.end
    assert at == offset + len(content)
    assert len(found) == len(plain)
    assert all(mine is None or mine == whole for mine, whole in zip(found, plain, strict=True))


@given(
    st.lists(st.binary(max_size=5).filter(lambda line: b"\n" not in line), min_size=1, max_size=6), st.integers(1, 6)
)
def test_skipped_lines_are_cut_between_lines(lines: list[bytes], count: int) -> None:
    ends = list(itertools.accumulate(len(line) + 1 for line in lines))
    skipped = SkippedLines(
        100, 7, len(lines), b"x\n" + b"".join(line + b"\n" for line in lines) + b"y", 2, 2 + ends[-1]
    )
    assert list(skipped.ends()) == [100 + end for end in ends]
    first, rest = skipped.cut(count)
    assert [*first.ends(), *(rest.ends() if rest else [])] == list(skipped.ends())
    assert first.lines == min(count, len(lines))
    assert (rest is None) == (count >= len(lines))
    if rest:
        assert (rest.start, rest.number, rest.end) == (first.end, 7 + count, skipped.end)


@pytest.fixture(params=KINDS)
def fast(request: pytest.FixtureRequest) -> Iterator[Way]:
    with override_settings(CALIPER_EVENTS_ENABLED=True), transformer(request.param) as made:
        # Both types answer from look-ups; the fast path is xAPI's. Without them there is nothing to try here.
        assert made.looks_ahead
        assert made.prefilter is not None
        yield Way(request.param, made)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(number=st.integers(0, 63), changes=CHANGES, looked_up=st.booleans())
def test_strange_events_are_the_same(
    fast: Way, number: int, changes: list[tuple[int, str, Any]], looked_up: bool
) -> None:
    names = sorted(white_list(fast.kind))
    event = changed(events.build(names[number % len(names)], scene("", number)), changes)
    raw = json.dumps(event).encode()
    if looked_up:
        try:
            fast.transformer.look_up([parse(raw)])
        except Unparsable:
            return
    assert_parity(fast, raw)


def test_looking_up_many_at_once_changes_nothing(fast: Way) -> None:
    """Known and unknown users and courses together, as a batch has them."""
    lines = []
    for number, (user_id, username, course) in enumerate(
        itertools.product(
            [3, "3", " 4", None, 900_000_001, "", 2**40, "x"],
            ["staff", "Gone_Student", "STAFF", "nobody", "", "20260101", "ümit-ö", "a\0b"],
            [scene("", 0).course, "course-v1:GoneU+Deleted101+2019", "no key"],
        )
    ):
        event = events.build("edx.course.enrollment.activated", scene("", number % 40))
        event["context"] |= {"user_id": user_id, "course_id": course}
        event |= {"username": username, "event": event["event"] | {"user_id": user_id, "course_id": course}}
        lines.append(json.dumps(event).encode())
    fast.transformer.look_up(parse(raw) for raw in lines)
    for raw in lines:
        assert_parity(fast, raw)
