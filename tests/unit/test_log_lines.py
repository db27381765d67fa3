"""The lines of a log are the same in whatever form a collector keeps them, wherever that is cut and resumed."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness import collectors
from tests.harness.contents import cut
from tutor_transform_logs.lms_job.model.records import START, Line, Position, SkippedLines
from tutor_transform_logs.lms_job.read import join_parts, lines, log_lines, prefilter, wrapped_page_views
from tutor_transform_logs.lms_job.read.wrappers import LinePart, is_cut_off, is_event, unwrap

PREFIX = "2026-02-01 00:00:00,002 INFO 16 [tracking] [user 4857] [ip 10.0.0.1] logger.py:41 - "
POINTS = st.lists(st.integers(0, 4000), max_size=6)


def event(name: str, number: int, **more: object) -> dict[str, object]:
    return {
        "name": name,
        "context": {"user_id": number},
        "event": "{}",
        "time": f"2026-01-01T00:00:{number:02}",
        **more,
    }


EVENTS = [
    event("play_video", 1),
    event("/dashboard", 2, agent='a "b" \\ {c} [d]'),
    event("play_video", 3, event={"message": "x", "log": "{}", "id": "}{"}),
    event("é 数据", 4, log="of the event"),
    event("", 5, event={"event": {"event": 1}}),
]
OBJECTS = [json.dumps(each).encode() for each in EVENTS]
TEXTS = [
    b"",
    b"Traceback (most recent call last):",
    b'  File "x.py", line 1, in <module>',
    b"INFO {not json}",
    "é 数据".encode(),
    b'{"name": "torn", "context": {',
    b'{"name": "torn", "agent": "Mozi',
    b'{"a": 1}',
    b"7",
]
PREFIXED = [PREFIX.encode() + each for each in OBJECTS]
UNICODE = [json.dumps(each, ensure_ascii=False).encode() for each in EVENTS]
LINES = st.lists(st.sampled_from([*OBJECTS, *PREFIXED, *UNICODE, *TEXTS]), max_size=9)
KNOWN = ["play_video", "edx.course.enrollment.activated"]
VIEW = {
    "name": "/dashboard", "context": {"course_id": "", "user_id": 7, "path": "/dashboard", "org_id": ""},
    "username": "learner", "session": "", "ip": "10.0.0.1", "agent": 'Mozilla/5.0 ("X11")', "event": '{"GET": {}}',
    "time": "2026-01-01T08:02:28.004948+00:00", "event_type": "/dashboard", "event_source": "server", "page": None,
}  # fmt: skip
TRACKED = [
    json.dumps(each).encode()
    for each in (
        VIEW,
        {**VIEW, "name": "/a", "username": "learner2"},
        {**VIEW, "name": "page_close", "event_source": "browser", "page": "http://lms/a"},
        {**VIEW, "name": "play_video", "event": {"id": "x"}},
    )
]
TRACKED += [PREFIX.encode() + raw for raw in TRACKED]


def read(content: bytes, points: Sequence[int] = (), start: Position = START, limit: int = lines.LIMIT) -> list[Line]:
    found = list(log_lines.log_lines(cut(content, points), start, limit))
    assert not any(isinstance(line, SkippedLines) for line in found)
    return [line for line in found if isinstance(line, Line)]


def raws(content: bytes, points: Sequence[int] = ()) -> list[bytes]:
    return [line.raw for line in read(content, points)]


def check(content: bytes, expected: Sequence[bytes], points: Sequence[int]) -> None:
    """The lines are the ``expected`` ones, over any chunks, and from each place on where reading can be resumed."""
    found = read(content, points)
    assert [line.raw for line in found] == list(expected)
    assert [line.number for line in found] == list(range(1, len(found) + 1))
    for line, following in itertools.pairwise(found):
        assert line.offset < line.end == following.offset
    assert not found or found[-1].end == len(content)
    assert found == read(content)
    for index, line in enumerate(found):
        if not line.follows:
            rest = content[line.offset :]
            assert read(rest, points, Position(line.offset, line.number)) == found[index:]


@pytest.mark.parametrize("form", collectors.OF_LINES)
@given(log=LINES, points=POINTS)
def test_lines_in_what_a_collector_wrote_are_those_of_the_log(form: str, log: list[bytes], points: list[int]) -> None:
    check(collectors.OF_LINES[form](log), log, points)


@pytest.mark.parametrize("form", collectors.OF_OBJECTS)
@given(log=st.lists(st.sampled_from(OBJECTS), min_size=1, max_size=5), points=POINTS)
def test_values_are_the_lines_of_the_log(form: str, log: list[bytes], points: list[int]) -> None:
    check(collectors.OF_OBJECTS[form](log), log, points)


@pytest.mark.parametrize("form", collectors.IN_PARTS)
@given(
    log=st.lists(st.sampled_from([*OBJECTS, *PREFIXED, *UNICODE]), max_size=5),
    parts=st.lists(st.integers(1, 250), max_size=5),
    points=POINTS,
)
def test_parts_are_joined(form: str, log: list[bytes], parts: list[int], points: list[int]) -> None:
    check(collectors.joined(collectors.IN_PARTS[form](log, parts)), log, points)


@given(
    st.lists(st.sampled_from([*OBJECTS, *PREFIXED]), min_size=1, max_size=4),
    st.lists(st.sampled_from([*OBJECTS, *UNICODE]), min_size=1, max_size=4),
    st.lists(st.integers(1, 250), min_size=1, max_size=4),
    st.data(),
)
@pytest.mark.parametrize("form", ["docker", "cri", "fluentd"])
def test_parts_of_two_streams_may_come_in_any_order(
    form: str, out: list[bytes], err: list[bytes], parts: list[int], data: st.DataObject
) -> None:
    wrap = {"docker": collectors.docker, "cri": collectors.cri, "fluentd": collectors.fluentd_driver}[form]
    streams = [wrap(out, parts), wrap(err, parts, "stderr")]
    mixed = []
    while streams[0] or streams[1]:
        mixed.append(data.draw(st.sampled_from([stream for stream in streams if stream])).pop(0))
    content = collectors.joined(mixed)
    found = raws(content)
    assert [raw for raw in found if raw in out] == out or set(out) & set(err)
    assert sorted(found) == sorted(out + err)
    # They are in the order in which they begin, and reading can be resumed only where none has begun.
    check(content, found, [])


@pytest.mark.parametrize("key", ["container_id", "container_name", "source", "partial_id"])
def test_each_key_of_dockers_driver_tells_streams_apart(key: str) -> None:
    """FireLens is often told to leave the others out."""
    first, second = (
        [{name: value for name, value in json.loads(part).items() if name in kept} for part in parts]
        for parts in (
            collectors.fluentd_driver(PREFIXED[:1], [100, 150], container_id="1", container_name="/a"),
            collectors.fluentd_driver(PREFIXED[1:2], [100, 150], "stderr", container_id="2", container_name="/b"),
        )
        for kept in [{key, "log", "partial_message", "partial_last"}]
    )
    mixed = [part for pair in zip(first, second, strict=True) for part in pair]
    assert raws(collectors.joined([collectors.dumped(part) for part in mixed])) == PREFIXED[:2]


@pytest.mark.parametrize("wrap", [collectors.docker, collectors.fluentd])
@given(log=LINES, points=POINTS)
def test_lines_without_line_ends_are_lines_although_they_could_be_parts(
    wrap: Callable[[Sequence[bytes]], list[bytes]], log: list[bytes], points: list[int]
) -> None:
    """As what reads Docker's files may leave them, whether they are events or not."""
    whole = [*log, PREFIXED[0]]
    check(collectors.joined(collectors.trimmed(wrap(whole))), whole, points)


@given(st.lists(st.sampled_from(TRACKED + TEXTS), max_size=8), POINTS)
def test_as_many_of_them_are_skipped_and_the_others_are_lines(log: list[bytes], points: list[int]) -> None:
    whole = [*log, TRACKED[3]]
    skipped, others = prefiltered(collectors.joined(collectors.trimmed(collectors.docker(whole))), points)
    assert skipped | others.keys() == set(range(1, len(whole) + 1))
    assert all(whole[number - 1] == raw for number, raw in others.items())


def test_dockers_parts_are_known_by_their_size() -> None:
    """Of any line, also without line ends."""
    text = b"Traceback: " + b"x" * 40_000
    long = json.dumps({**EVENTS[0], "event": "y" * 40_000}).encode()
    broken = long[:-1] + b"}}"
    for log in ([text, OBJECTS[0], b"after"], [OBJECTS[0], long, b"after"], [broken, b"after", OBJECTS[0]]):
        parts = [
            collectors.dumped({"log": part, "stream": "stdout", "time": "t"})
            for raw in log
            for text in [raw.decode() + "\n"]
            for part in [text[at : at + 16 * 1024] for at in range(0, len(text), 16 * 1024)]
        ]
        assert raws(collectors.joined(parts)) == log
        assert raws(collectors.joined(collectors.trimmed(parts))) == log
    # Joined already, which no part of Docker's can be.
    assert raws(collectors.joined(collectors.trimmed(collectors.docker([text, b"after"])))) == [text, b"after"]


@given(st.sampled_from([*OBJECTS, *UNICODE, b'{"a": [1.5e-7, true, null, "\\u00e9\\n"], "b": {"c": -0.1}}']), st.data())
def test_json_that_is_cut_off_is_told(raw: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(1, len(raw) - 1))
    assert is_cut_off(raw[:at])
    assert not is_cut_off(raw)
    assert not is_cut_off(raw[:at] + b'"} Traceback "x" {')


def test_a_line_whose_writer_was_interrupted_does_not_take_the_next_one_with_it() -> None:
    torn = collectors.docker(PREFIXED[:1], [150])[0]
    assert raws(collectors.joined([torn, *collectors.docker(PREFIXED[1:])])) == [PREFIXED[0][:150], *PREFIXED[1:]]


def test_a_last_line_in_parts_may_be_continued() -> None:
    begun = collectors.cri(PREFIXED[:1], [100, 150])
    wrapped = [*begun, *collectors.cri(PREFIXED[1:2], [100, 150])]
    [first, last] = read(collectors.joined(wrapped[:-1]))
    assert (first.raw, first.unterminated) == (PREFIXED[0], False)
    assert (last.raw, last.unterminated, last.unwrapped) == (PREFIXED[1][:150], True, False)
    assert last.offset == len(collectors.joined(begun))


def test_a_last_line_in_parts_between_others_may_be_continued_too() -> None:
    wrapped = [*collectors.cri(PREFIXED[:1], [100])[:1], *collectors.cri(PREFIXED[1:2], stream="stderr")]
    [begun, whole] = read(collectors.joined(wrapped))
    assert (begun.raw, begun.unterminated, begun.unwrapped, begun.whole_at) == (PREFIXED[0][:100], True, False, 0)
    assert (whole.raw, whole.unterminated, whole.unwrapped) == (PREFIXED[1], False, True)
    assert whole.whole_at == len(collectors.joined(wrapped)) - 1


def test_parts_are_not_waited_for_forever() -> None:
    begun = collectors.docker(PREFIXED[:1], [100])[:1]
    others = collectors.docker(PREFIXED[1:2], stream="stderr") * (2 * join_parts.WAIT_BYTES // len(PREFIXED[1]))
    found = read(collectors.joined([*begun, *others]))
    assert [line.raw for line in found] == [PREFIXED[0][:100], *PREFIXED[1:2] * len(others)]
    together = [line for line in found if line.follows]
    assert together[-1].end - found[0].offset < 1.1 * join_parts.WAIT_BYTES
    many = [*begun, *collectors.cri([b""]) * (2 * join_parts.WAIT_LINES)]
    assert sum(line.follows for line in read(collectors.joined(many))) <= join_parts.WAIT_LINES


def test_a_line_in_parts_that_is_too_long_is_cut() -> None:
    long = b'{"event": "' + b"x" * 50_000 + b'"}'
    [line, after] = read(collectors.joined(collectors.docker([long, OBJECTS[0]], range(0, 50_000, 1000))), limit=5000)
    assert (line.raw, line.overlong) == (long[:5000], True)
    assert (after.raw, after.overlong) == (OBJECTS[0], False)


def test_an_object_of_cloudwatch_that_is_too_long_is_one_line() -> None:
    content = collectors.joined(collectors.cloudwatch(OBJECTS, len(OBJECTS)))
    [line] = read(content, limit=200)
    assert line.overlong


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        b'{"log": 7}',
        b'{"log": {"a": 1}}',
        b'{"event": {}, "log": 7}',
        b'{"event": "x", "time": 1}',
        b'{"event": {"dataset": "x"}, "host": {}}',
        b'{"event": {}, "name": "/a", "message": "x"}',
        b'{"data": "x", "event_type": "/a", "message": "x"}',
        b'{"event": {"original": 7}, "context": {}, "message": "x"}',
        b'{"name": "/a", "context": {}, "time": "x", "message": "hi"}',
        b'{"name": "/a", "context": {}, "time": "x", "log": "", "message": "hi"}',
        b'{"name": "lms", "context": "prod", "event": {"dataset": "x"}, "message": "Traceback"}',
        b'{"data": {"result": 7}}',
        b'{"event": "{}", "log": {"event": {}}}',
        b'{"logEvents": [7]}',
        b'{"message": "\xff"}',
        b'{"message": "x"',
        b'INFO {"message": "x"}, {"message": "y"}',
        b"2026-02-01T00:00:00Z stdout X {}",
        b"2026-02-01T00:00:00Z stdin F {}",
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        *OBJECTS,
        *PREFIXED,
        *TEXTS,
    ],
)
def test_what_only_resembles_a_wrapper_is_left_as_it_is(raw: bytes) -> None:
    assert unwrap(raw) is None
    assert raws(raw + b"\n") == [raw]


LINE = OBJECTS[0].decode()


@pytest.mark.parametrize(
    "wrapper",
    [
        # What a pipeline has made of the line, beside what it was.
        {"message": "play_video by 1", "event": {"original": LINE}},
        {"event": LINE, "time": 1},
        {"message": LINE, "name": "lms", "context": {}},
        {"message": LINE, "name": "lms"},
        {"event": json.dumps({"log": LINE + "\n", "stream": "stdout", "time": "t"})},
        {"event": {"dataset": "x"}, "message": json.loads(LINE)},
        {"event": {"message": LINE}},
    ],
)
def test_a_collector_may_have_fields_of_an_event(wrapper: dict[str, object]) -> None:
    assert raws(collectors.joined([collectors.dumped(wrapper)])) == [OBJECTS[0]]


TWO = "\n".join([PREFIX + LINE, LINE])


@pytest.mark.parametrize(
    "more", [{}, {"stream": "stdout"}, {"message": " "}, {"line": "41"}, {"event": {"dataset": "x"}}]
)
def test_an_empty_text_is_a_blank_line(more: dict[str, object]) -> None:
    assert raws(collectors.dumped({"log": "", **more}) + b"\n") == [b""]


@pytest.mark.parametrize("prefix", ["", PREFIX])
@pytest.mark.parametrize("name", ["play_video", "/dashboard"])
@pytest.mark.parametrize(
    "wrapper",
    [
        {"name": "lms", "message": "LINE", "event": {"dataset": "x"}},
        {"context": {"a": 1}, "message": "LINE", "event": {"original": "LINE"}},
        {"context": {"a": 1}, "event": {"original": "LINE"}},
        {"message": "LINE", "event": {"name": "x", "kind": "event"}, "context": "prod"},
        {"event_type": "log", "event": "LINE", "host": "y"},
        {"name": "x", "context": "prod", "event": "LINE", "host": "y"},
        {"name": "LogRecord", "event": {"name": "x"}, "body": {"stringValue": "LINE"}},
        {"log": "", "message": "LINE"},
        {"log": "\n", "message": "", "event": "LINE"},
        {"log": "", "name": "lms", "message": "LINE", "event": {"dataset": "x"}},
    ],
)
def test_a_collector_may_have_an_event_with_a_name_of_its_own(
    wrapper: dict[str, object], name: str, prefix: str
) -> None:
    line = prefix + json.dumps({**VIEW, "name": name, "event_type": name})
    content = json.dumps(wrapper).replace('"LINE"', json.dumps(line)).encode() + b"\n"
    assert raws(content) == [line.encode()]
    # Its name is not that of the event.
    skipped, _ = prefilter.Prefilter(KNOWN).skip_from(content, 0, len(content), True)
    assert skipped == 0 or name == "/dashboard"


@pytest.mark.parametrize("wrapper", [{"event": TWO, "time": 1}, {"event_type": "log", "event": TWO}, {"event": TWO}])
def test_a_collector_may_have_several_lines_under_event(wrapper: dict[str, object]) -> None:
    assert raws(collectors.dumped(wrapper) + b"\n") == [(PREFIX + LINE).encode(), OBJECTS[0]]


@pytest.mark.parametrize(
    "own",
    [
        {"name": "lms", "context": {}, "time": "t"},
        {"event_type": "lms", "context": '{"user_id": 7}'},
        {"event_type": "lms", "event_source": "server", "username": "learner"},
    ],
)
@pytest.mark.parametrize("text", [{"event": LINE}, {"event": {"original": LINE}}, {"event": {}, "message": LINE}])
def test_an_event_with_another_one_in_its_payload_is_not_a_wrapper(
    own: dict[str, object], text: dict[str, object]
) -> None:
    raw = collectors.dumped({**own, **text})
    assert raws(raw + b"\n") == [raw]


@pytest.mark.parametrize("form", ["opentelemetry's json", "loki's answer", "cloudwatch"])
def test_lines_of_a_list_begin_where_their_elements_do(form: str) -> None:
    content = collectors.OF_LINES[form](OBJECTS[:3])
    [_, *others] = read(content)
    mark = {"opentelemetry's json": b'"body"', "loki's answer": b'["1', "cloudwatch": b'{"id"'}[form]
    assert all(content.startswith(mark, line.offset) for line in others)


@pytest.mark.parametrize("form", ["array", "pretty-printed", "one after the other"])
def test_a_byte_order_mark_is_none_of_a_line(form: str) -> None:
    assert raws(b"\xef\xbb\xbf" + collectors.OF_OBJECTS[form](OBJECTS)) == OBJECTS


def test_what_cloudwatch_says_itself_is_not_a_line() -> None:
    said = {"messageType": "CONTROL_MESSAGE", "logEvents": [{"id": "", "timestamp": 1, "message": "CWL CONTROL"}]}
    assert raws(collectors.joined([collectors.dumped(said)])) == [b""]


@given(st.binary(max_size=120), POINTS)
def test_any_bytes_are_lines(content: bytes, points: list[int]) -> None:
    for text in (content, b"[{" + content, b'{"log":"' + content + b'"}\n', b'{"logEvents":[' + content + b"]}"):
        found = read(text, points)
        assert [line.number for line in found] == list(range(1, len(found) + 1))
        ends = [line.end for line in found]
        assert ends[-1:] == ([len(text)] if text else [])
        assert [line.offset for line in found[1:]] == ends[:-1]


def prefiltered(content: bytes, points: Sequence[int] = ()) -> tuple[set[int], dict[int, bytes]]:
    """The numbers of the lines that are skipped, and the other lines by their numbers."""
    skipped: set[int] = set()
    others = {}
    number = 1
    for line in log_lines.log_lines(cut(content, points), prefilter=prefilter.Prefilter(KNOWN)):
        assert line.number == number
        if isinstance(line, SkippedLines):
            skipped |= set(range(number, number + line.lines))
            number += line.lines
        else:
            others[number] = line.raw
            number += 1
    return skipped, others


@pytest.mark.parametrize("form", collectors.OF_LINES)
@given(log=st.lists(st.sampled_from(TRACKED), max_size=6), points=POINTS)
def test_only_unknown_events_are_skipped_in_what_a_collector_wrote(
    form: str, log: list[bytes], points: list[int]
) -> None:
    skipped, others = prefiltered(collectors.OF_LINES[form](log), points)
    assert len(skipped) + len(others) == len(log)
    assert all(log[number - 1] == raw for number, raw in others.items())
    assert not any(b"play_video" in log[number - 1] for number in skipped)


@st.composite
def torn(draw: st.DrawFn) -> bytes:
    """Wrapped lines, as two writers leave them of which one was interrupted."""
    wrap = draw(st.sampled_from([collectors.docker, collectors.in_key("message"), collectors.fluent_bit]))
    first, second = (wrap([draw(st.sampled_from(TRACKED))])[0] for _ in range(2))
    at, end = draw(st.integers(0, len(first))), draw(st.integers(0, len(second)))
    return draw(
        st.sampled_from(
            [
                first[:at] + second,
                first + second,
                first[at:] + second,
                first[:at] + second + b"\n" + first[at:],
                first[:at] + b"\n" + second[end:],
                wrap([TRACKED[0][: at // 2] + TRACKED[-1], TRACKED[0][at // 2 :]])[0],
            ]
        )
    )


@given(torn(), POINTS)
def test_what_was_torn_is_not_skipped(content: bytes, points: list[int]) -> None:
    frames = collectors.joined([*collectors.docker(TRACKED), *collectors.fluent_bit(TRACKED)])
    found = raws(frames + content)
    skipped, others = prefiltered(frames + content, points)
    assert len(skipped) + len(others) == len(found)
    assert not any(is_event(found[number - 1]) and b"play_video" in found[number - 1] for number in skipped)
    assert all(is_event(found[number - 1]) for number in skipped)


OF_LISTS = {"cloudwatch", "cloudwatch by firehose", "fluent bit to cloudwatch", "opentelemetry's json", "loki's answer"}
# What holds a line in each object of a line.
A_LINE_EACH = sorted(collectors.OF_LINES.keys() - OF_LISTS - {"array of docker's"})


@pytest.mark.parametrize("form", A_LINE_EACH)
def test_wrapped_page_views_are_skipped_by_their_bytes(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once one of each frame was examined."""
    views = [raw.replace(b"10.0.0.1", b"10.0.0.%d" % number) for raw in TRACKED[:2] for number in range(3)]
    content = collectors.OF_LINES[form](views * 50)
    calls = []

    def counted(raw: bytes) -> list[LinePart] | None:
        calls.append(raw)
        return unwrap(raw)

    monkeypatch.setattr(wrapped_page_views, "unwrap", counted)
    skipped, others = prefiltered(content)
    assert (len(skipped), others) == (300, {})
    # Of two names, of which each ends in its own way, in one frame.
    assert len(calls) <= 3


@pytest.mark.parametrize("form", A_LINE_EACH)
def test_the_same_lines_are_skipped_one_by_one(form: str) -> None:
    """A known event is never skipped, whatever came before it."""
    log = [*TRACKED, *TRACKED[::-1], b"Traceback", b"", *TRACKED]
    skipped, others = prefiltered(collectors.OF_LINES[form](log))
    assert [log[number - 1] for number in sorted(others)] == list(others.values())
    assert sum(b"play_video" in raw for raw in others.values()) == sum(b"play_video" in raw for raw in log)
    assert len(skipped) + len(others) == len(log)


@given(st.lists(st.sampled_from(TRACKED), min_size=1, max_size=6), POINTS)
def test_an_event_that_ends_with_a_part_is_one_line(log: list[bytes], points: list[int]) -> None:
    """Behind what fills a part, an empty one may come."""
    time = collectors.TIME
    cri = b"".join(b"%s stdout P %s\n%s stdout F \n" % (time.encode(), raw, time.encode()) for raw in log)
    tagged = collectors.joined(
        [
            collectors.dumped({"log": text, "stream": "stdout", "time": time, "logtag": tag})
            for raw in log
            for text, tag in ((raw.decode(), "P"), ("", "F"))
        ]
    )
    known = collectors.joined(collectors.cri(TRACKED)) + collectors.joined(TRACKED)
    for content in (cri, tagged):
        assert raws(content) == log
        assert raws(known + content)[2 * len(TRACKED) :] == log
        skipped, others = prefiltered(known + content, points)
        assert len(skipped) + len(others) == 2 * len(TRACKED) + len(log)
        whole = [*TRACKED, *TRACKED, *log]
        assert all(whole[number - 1] == raw for number, raw in others.items())


def test_a_path_that_ends_as_a_known_type_is_told_by_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an XBlock's handler, for example."""
    path = "/courses/c/xblock/b/handler/problem_check"
    raw = json.dumps({**VIEW, "name": path, "event_type": path}).encode()
    monkeypatch.setattr(prefilter, "parse", lambda raw: pytest.fail("parsed"))
    skipping = prefilter.Prefilter(["problem_check"])
    for content in (raw + b"\n", *(collectors.OF_LINES[form]([raw]) for form in ("docker", "cri"))):
        assert skipping.skip_from(content * 3, 0, 10**6, ascii_only=True) == (3, 3 * len(content))
