"""Two events on one line, of which one or both are torn: the prefilter skips only what the full parse would skip.

``TRANSFORM_LOGS_VARIATIONS=100000 make test PYTEST=tests/job/test_torn_lines.py`` tries 100,000.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.harness.contents import cut
from tests.harness.parity import scene, white_list
from tutor_transform_logs.demo import events, samples
from tutor_transform_logs.lms_job.model.records import SkippedLines
from tutor_transform_logs.lms_job.read.events import Unparsable, parse
from tutor_transform_logs.lms_job.read.lines import split_lines
from tutor_transform_logs.lms_job.read.prefilter import Prefilter

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
    json.dumps(PAGE, separators=(",", ":")).encode(),
]
LINES = sorted({line.data for lines in samples.FILES.values() for line in lines()} | set(STRANGE))
NAME_KEY = b'"name": "'
LINE = st.sampled_from(STRANGE) | st.sampled_from(LINES)


@st.composite
def torn(draw: st.DrawFn) -> bytes:
    """What two writers leave, one of which was interrupted at any byte."""
    first, second = draw(LINE), draw(LINE)
    at = draw(st.integers(0, len(first)))
    end = draw(st.integers(0, len(second)))
    # As far as its name at least: else no second event begins in the line.
    named = second.find(NAME_KEY) + len(NAME_KEY)
    begun = second[: max(end, named)] if NAME_KEY in second else b""
    return draw(
        st.sampled_from(
            [
                first[:at] + second,  # killed, or the disk was full, and started again
                first + second,
                first[at:],  # the file was truncated
                first[at:] + second,
                first[:at] + second + b"\n" + first[at:],  # two processes at the same time
                first[:at] + begun + first[at:] + b"\n" + second[len(begun) :],
                first[:at] + b"\n" + second[end:],
            ]
        )
    )


@st.composite
def without_its_middle(draw: st.DrawFn) -> bytes:
    """The beginning of one line and the end of another, or of itself."""
    first, second = draw(LINE), draw(LINE)
    return first[: draw(st.integers(0, len(first)))] + second[draw(st.integers(0, len(second))) :]


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


def is_known(raw: bytes, known: set[str]) -> bool:
    return name_of(raw) in known


def is_unknown(raw: bytes, known: set[str]) -> bool:
    return name_of(raw) not in known | {None}


def check_skipped(parts: st.SearchStrategy[bytes], accepts: Callable[[bytes, set[str]], bool]) -> None:
    known = white_list("xapi")
    prefilter = Prefilter(known)
    assert prefilter.usable

    @settings(max_examples=VARIATIONS, deadline=None)
    @given(st.lists(parts, min_size=1, max_size=2), st.lists(st.integers(0, 4000), max_size=2))
    def check(parts: list[bytes], points: list[int]) -> None:
        content = b"".join(part + b"\n" for part in parts)
        for raw in skipped_lines(prefilter, content, points):
            assert accepts(raw, known), raw

    check()


@pytest.mark.timeout(0)
def test_a_line_in_which_a_second_event_begins_is_skipped_only_if_the_full_parse_would_skip_it() -> None:
    check_skipped(torn(), is_unknown)


@pytest.mark.timeout(0)
def test_a_line_without_its_middle_is_skipped_only_if_its_event_is_unknown() -> None:
    check_skipped(without_its_middle(), lambda raw, known: not is_known(raw, known))


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
    ],
)
def test_a_torn_line_is_parsed(line: bytes) -> None:
    assert name_of(line) is None
    assert skipped_lines(Prefilter(white_list("xapi")), line + b"\n", []) == []


def test_whole_lines_are_skipped_whatever_is_torn_beside_them() -> None:
    whole = [tracked(PAGE), tracked(PAGE, PREFIX)]
    broken = [whole[0][:at] + whole[1] for at in range(100, 600, 7)]
    content = b"".join(line + b"\n" for line in itertools.chain(*((*whole, line) for line in broken)))
    assert skipped_lines(Prefilter(white_list("xapi")), content, []) == whole * len(broken)
