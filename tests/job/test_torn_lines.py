"""Two events on one line, of which one or both are torn: the prefilter skips what counts as skipped without it, too.

``TRANSFORM_LOGS_VARIATIONS=100000 make test PYTEST=tests/job/test_torn_lines.py`` tries 100,000.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.harness.contents import cut
from tests.harness.erb import transformer
from tests.harness.parity import KINDS, scene, white_list
from tutor_transform_logs.demo import events, samples
from tutor_transform_logs.demo.outcomes import Kind
from tutor_transform_logs.lms_job.model.records import Line, SkippedLines
from tutor_transform_logs.lms_job.read.events import Unparsable, parse
from tutor_transform_logs.lms_job.read.filters import TAKE_ALL
from tutor_transform_logs.lms_job.read.lines import split_lines
from tutor_transform_logs.lms_job.read.prefilter import Prefilter
from tutor_transform_logs.lms_job.transform.transformer import Transformer
from tutor_transform_logs.lms_job.work.parse import parse_line

pytestmark = pytest.mark.usefixtures("lms")

VARIATIONS = int(os.environ.get("TRANSFORM_LOGS_VARIATIONS", "1000"))
PREFIX = "2026-02-01 00:00:00,002 INFO 16 [tracking] [user 4857] [ip 10.0.0.1] logger.py:41 - "
CONTEXT = {"course_id": "course-v1:Org+C+2026", "user_id": 7, "path": "/dashboard", "org_id": "Org"}
PAGE = {
    "name": "/dashboard", "context": CONTEXT, "username": "learner", "session": "", "ip": "10.0.0.1",
    "agent": "Mozilla/5.0 (X11; Linux x86_64)", "host": "lms", "referer": "http://lms/", "accept_language": "en",
    "event": '{"GET": {}, "POST": {}}', "time": "2026-01-01T08:02:28.004948+00:00", "event_type": "/dashboard",
    "event_source": "server", "page": None,
}  # fmt: skip
KNOWN_EVENT = events.build("edx.course.enrollment.activated", scene("", 1))
COMPACT = (",", ":")


def tracked(event: object, prefix: str = "") -> bytes:
    return (prefix + json.dumps(event)).encode()


def old(event: Mapping[str, object]) -> dict[str, object]:
    """With the keys in an order of older releases: ``context`` is the last."""
    return {**{key: event[key] for key in sorted(event, reverse=True) if key != "context"}, "context": CONTEXT}


# Lines as they are written by trackers of several releases, ASCII and not, with what is easily mistaken in them.
STRANGE = [
    tracked(PAGE),
    tracked(PAGE, PREFIX),
    tracked(old(PAGE)),
    tracked(old(KNOWN_EVENT), PREFIX),
    tracked(KNOWN_EVENT),
    tracked({**PAGE, "name": "/search?q=ü", "event_type": "/search?q=ü"}),
    json.dumps({**PAGE, "name": "/数据", "agent": "é"}, ensure_ascii=False).encode(),
    tracked({**PAGE, "agent": '"}, {"name": "play_video'}),
    tracked({**PAGE, "event": '{"POST": {"a": ["' + "x" * 40}),
    tracked({**PAGE, "event": {"name": "x", "list": [{"name": "y"}, {"a": 1}]}}),
    tracked({**PAGE, "name": "x.y", "context": {**CONTEXT, "application": {"name": "edx.mobileapp.android"}}}),
    tracked({**PAGE, "name": "page_close", "event_source": "browser", "page": "http://lms/a"}),
    tracked({**PAGE, "name": "x.y", "event": {}, "event_type": "x.y"}, PREFIX),
    json.dumps(PAGE, separators=COMPACT).encode(),
    json.dumps(KNOWN_EVENT, separators=COMPACT).encode(),
    json.dumps(old(KNOWN_EVENT), separators=COMPACT, ensure_ascii=False).encode(),
    (PREFIX + json.dumps({**KNOWN_EVENT, "username": "数据"}, separators=COMPACT, ensure_ascii=False)).encode(),
    tracked({**PAGE, "name": "/a/problem_check", "event_type": "/a/problem_check", "agent": "\\"}),
    tracked({**KNOWN_EVENT, "name": "problem_check", "event_type": "problem_check"}),
]
LINES = sorted({line.data for lines in samples.FILES.values() for line in lines()} | set(STRANGE))
LINE = st.sampled_from(STRANGE) | st.sampled_from(LINES)


@st.composite
def torn(draw: st.DrawFn) -> bytes:
    """What writers leave of which at least one was interrupted, at any byte."""
    first, second = draw(LINE), draw(LINE)
    at, back = draw(st.integers(0, len(first))), draw(st.integers(0, len(first)))
    begin, end = draw(st.integers(0, len(second))), draw(st.integers(0, len(second)))
    return draw(
        st.sampled_from(
            [
                first[:at] + second,  # killed, or the disk was full, and started again
                first + second,
                first[at:],  # the file was truncated
                first[at:] + second,
                first[:at] + second[begin:],  # a part was lost
                first[:at] + first[back:],
                first[:at] + second + first[at:],  # two processes at the same time
                first[:at] + second + b"\n" + first[at:],
                first[:at] + second[:end] + first[at:] + b"\n" + second[end:],
                first[:at] + b"\n" + second[end:],
                first[:at] + second[begin:end] + first[back:],
            ]
        )
    )


def skipped_lines(prefilter: Prefilter, content: bytes, points: list[int]) -> list[bytes]:
    lines = content.split(b"\n")
    skipped: list[bytes] = []
    for piece in split_lines(cut(content, points), prefilter=prefilter):
        if isinstance(piece, SkippedLines):
            skipped += lines[piece.number - 1 : piece.number - 1 + piece.lines]
    return skipped


def name_of(raw: bytes) -> str | None:
    """The event's name by the full parse; ``None`` where the line is not an event."""
    try:
        return parse(raw).name
    except Unparsable:
        return None


def outcome(raw: bytes, made: Transformer) -> str:
    """How a line that is not skipped counts."""
    parsed = parse_line(Line(0, len(raw), 1, raw.removesuffix(b"\r")), None, made, TAKE_ALL)
    if parsed.unparsable:
        return parsed.unparsable.reason
    return "blank" if parsed.blank else "known" if parsed.event else "unknown"


def event_type(raw: bytes) -> str:
    """The last type in a line, whatever is left of its key."""
    found: list[bytes] = re.findall(rb'"([^"]*)", ?"event_source"', raw)
    return found[-1].decode() if found else ""


@pytest.mark.timeout(0)
@pytest.mark.parametrize("kind", KINDS)
def test_torn_lines_count_the_same_with_the_fast_path_and_without_it(kind: Kind) -> None:
    known = white_list(kind)
    prefilter = Prefilter(known)
    assert prefilter.usable
    with transformer(kind, fast_path=False) as made:
        assert made.prefilter is None

        @settings(max_examples=VARIATIONS, deadline=None)
        @given(st.lists(torn(), min_size=1, max_size=2), st.lists(st.integers(0, 4000), max_size=2))
        def check(parts: list[bytes], points: list[int]) -> None:
            content = b"".join(part + b"\n" for part in parts)
            for raw in skipped_lines(prefilter, content, points):
                # Two releases that write to one line at the same time are not told apart: see the prefilter.
                if prefilter.is_unknown_by_its_ends(raw) and raw.count(b'"name":') > raw.count(b'{"name":'):
                    continue
                assert outcome(raw, made) == "unknown", raw
                # What is not JSON has the two ends of a page view, or of another event that is not transformed. Neither
                # begins a second event in it nor is its end that of a known one.
                if name_of(raw) is None:
                    assert raw.count(b'{"name":') == 1, raw
                    assert event_type(raw) not in known, raw

        check()


@pytest.mark.parametrize(
    "line",
    [
        tracked(PAGE)[:300] + tracked(KNOWN_EVENT),
        tracked(PAGE)[:300] + tracked(KNOWN_EVENT, PREFIX),
        tracked(PAGE)[:300] + tracked(PAGE),
        tracked(PAGE, PREFIX)[:400] + tracked(PAGE, PREFIX),
        tracked(PAGE) + tracked(PAGE),
        tracked(PAGE)[:300] + tracked(old(KNOWN_EVENT)),
        # The torn text closes the object that was not closed, and the comma seems to separate two.
        tracked({**PAGE, "agent": '"},'}).partition(b'},"')[0] + b"}," + tracked(PAGE),
        tracked(PAGE)[20:],
        tracked({**PAGE, "event": {"name": "/x"}})[100:],
        # The rest of a known event, without its name.
        tracked(PAGE)[:300] + tracked(KNOWN_EVENT)[200:],
        tracked(PAGE, PREFIX)[:400] + tracked(KNOWN_EVENT)[100:],
        tracked({**PAGE, "name": "x.y", "event_type": "x.y"})[:60] + tracked(KNOWN_EVENT)[-150:],
        # A known event in another form inside of a page view.
        tracked(PAGE)[:300] + json.dumps(KNOWN_EVENT, separators=COMPACT).encode() + tracked(PAGE)[300:],
        # Its type is the end of a page view's path, too.
        tracked({**PAGE, "name": "/a/problem_check", "event_type": "/a/problem_check"})[:300]
        + tracked({**KNOWN_EVENT, "name": "problem_check", "event_type": "problem_check"})[60:],
    ],
)
def test_a_torn_line_is_parsed(line: bytes) -> None:
    assert name_of(line) is None
    # Also between lines that are skipped by the same marks.
    content = b"\n".join([tracked(PAGE), tracked(PAGE, PREFIX), line, tracked(PAGE), b""])
    assert line not in skipped_lines(Prefilter(white_list("xapi")), content, [])
    with transformer("xapi", fast_path=False) as made:
        assert outcome(line, made) in ("bad_json", "no_json")


def test_a_page_view_that_lacks_its_middle_is_a_page_view() -> None:
    line = tracked(PAGE)[:60] + tracked(PAGE)[-150:]
    assert name_of(line) is None
    assert skipped_lines(Prefilter(white_list("xapi")), line + b"\n", []) == [line]
    with transformer("xapi", fast_path=False) as made:
        assert outcome(line, made) == "unknown"


def test_a_page_view_whose_path_ends_with_a_known_name_is_decided_by_its_ends() -> None:
    """As those of handlers do, which are many: parsing each would take several times as long."""
    line = tracked({**PAGE, "name": "/a/problem_check", "event_type": "/a/problem_check"})
    prefilter = Prefilter(white_list("xapi"))
    assert "problem_check" in white_list("xapi")
    assert prefilter.is_unknown_by_its_ends(line)


def test_whole_lines_are_skipped_whatever_is_torn_beside_them() -> None:
    whole = [tracked(PAGE), tracked(PAGE, PREFIX)]
    broken = [whole[0][:at] + whole[1] for at in range(100, 600, 7)]
    content = b"".join(line + b"\n" for line in itertools.chain(*((*whole, line) for line in broken)))
    assert skipped_lines(Prefilter(white_list("xapi")), content, []) == whole * len(broken)
