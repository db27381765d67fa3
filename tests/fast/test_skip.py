"""What the quick looks at many lines say, the careful look at each of them and the full parse say, too."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.job.test_fast_path import KNOWN, PAIRS, SKIP, name_of
from tutor_transform_logs.demo import samples
from tutor_transform_logs.lms_job.skip import Skip, is_plain

TRACKERS_END = ', "event": {}, "event_type": "x", "event_source": "server", "page": null}'
SNIPPETS = st.sampled_from(
    ['"name": "play_video"', '"name": "/x"', '"name": null', '"name" : "problem_check"', '"n\\u0061me": "play_video"',
     '"a": "\\u00e9"', '"a": "é"', '"name": "play\\u005fvideo"', '"event": {"name": "play_video"}',
     '"event": "{\\"name\\": \\"play_video\\"}"', '"event": {}', '"a": "name"', '"name": "\\"", "b": 1']
)  # fmt: skip
STARTS = st.sampled_from(['{"name": "/dashboard", ', '{"name": "play_video", ', '{"name": "a\\"b", ', "{", "x {", ""])
ENDS = st.sampled_from([TRACKERS_END, TRACKERS_END[:-1], "}", ', "event": 1}', TRACKERS_END + " "])
LINES = st.builds(
    lambda start, middle, end: (start + ", ".join(middle) + end).encode(), STARTS, st.lists(SNIPPETS, max_size=3), ENDS
)


def skipped(lines: list[bytes], skip: Skip = SKIP) -> list[bool]:
    """For each line, whether it is passed over, as ``split`` goes about it."""
    plain = is_plain(b"\n".join(lines))
    found: list[bool] = []
    while len(found) < len(lines):
        kept = skip.first_kept(lines, len(found), plain)
        found += [True] * (kept - len(found))
        if kept < len(lines):
            found.append(False)
    return found


def as_json(line: bytes) -> object:
    try:
        return json.loads(line[line.find(b"{") :])
    except ValueError:
        return None


@given(st.lists(LINES, max_size=8))
def test_no_known_event_is_passed_over_among_many(lines: list[bytes]) -> None:
    for line, passed in zip(lines, skipped(lines), strict=True):
        assert not passed or name_of(line) not in KNOWN


@given(st.lists(PAIRS, max_size=5))
def test_a_trackers_line_is_told_as_by_the_full_parse(events: list[list[tuple[str, object]]]) -> None:
    """On what a tracker can write, each decision is that of the full parse, or is left to it."""
    lines = []
    for pairs in events:
        fields = ", ".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in pairs)
        lines.append((f'{{"name": "/dashboard", {fields}' + (TRACKERS_END if fields else TRACKERS_END[2:])).encode())
    for line, passed in zip(lines, skipped(lines), strict=True):
        assert isinstance(as_json(line), dict)
        if passed:
            name = name_of(line)
            assert name is not None
            assert name not in KNOWN


@pytest.mark.parametrize("cut", [1, 2, 30, 200])
def test_a_line_that_was_cut_off_is_never_passed_over(cut: int) -> None:
    for lines in samples.FILES.values():
        for line in lines():
            if line.xapi.outcome == "unknown_event" and not line.data[:-cut].endswith(b"}"):
                assert skipped([line.data[:-cut]]) == [False]
