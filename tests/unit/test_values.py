"""The job's pure values: counts, dead letters, shares of files, waits."""

from __future__ import annotations

import email.utils
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutor_transform_logs.lms_job.deliver.files import group_parts
from tutor_transform_logs.lms_job.deliver.http_answers import retry_after
from tutor_transform_logs.lms_job.model import counts, dead_letters
from tutor_transform_logs.lms_job.model.counts import LINE_OUTCOMES, NUMBER_FIELDS, STATEMENT_OUTCOMES, Counts, total
from tutor_transform_logs.lms_job.model.dead_letters import DeadLetter
from tutor_transform_logs.lms_job.util.backoff import LONGEST_DELAY, delays
from tutor_transform_logs.lms_job.util.formatting import duration, printable, size

SMALL = st.integers(0, 1000)
COUNTS = st.builds(
    Counts,
    **dict.fromkeys(NUMBER_FIELDS, SMALL),
    reasons=st.dictionaries(st.sampled_from(["unknown_user", "conflict", "bad_json"]), SMALL),
)


@given(st.lists(COUNTS, max_size=5))
def test_a_total_is_the_sum_of_every_number(parts: list[Counts]) -> None:
    before = [part.to_json() for part in parts]
    whole = total(parts)
    for name in NUMBER_FIELDS:
        assert getattr(whole, name) == sum(getattr(part, name) for part in parts)
    assert whole.dead_letters == sum(part.dead_letters for part in parts)
    assert [part.to_json() for part in parts] == before


@given(COUNTS, COUNTS)
def test_since_takes_off_what_add_has_added(old: Counts, more: Counts) -> None:
    new = total([old, more])
    gained = new.since(old)
    assert {name: getattr(gained, name) for name in NUMBER_FIELDS} == {
        name: getattr(more, name) for name in NUMBER_FIELDS
    }
    assert {reason: n for reason, n in gained.reasons.items() if n} == {r: n for r, n in more.reasons.items() if n}


@given(COUNTS)
def test_counts_come_back_from_json(counts: Counts) -> None:
    assert Counts.from_json(json.loads(json.dumps(counts.to_json()))) == counts


@pytest.mark.parametrize("name", NUMBER_FIELDS)
@pytest.mark.parametrize("value", [-1, 1.5, "1", True, None])
def test_counts_that_nobody_wrote_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match="is not a count"):
        Counts.from_json(Counts().to_json() | {name: value})


@pytest.mark.parametrize("damage", [{"reasons": []}, {"reasons": {"x": -1}}, {"reasons": None}])
def test_reasons_that_nobody_wrote_are_refused(damage: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        Counts.from_json(Counts().to_json() | damage)
    with pytest.raises(KeyError):
        Counts.from_json({})


def accounted() -> Counts:
    counts = Counts(
        lines=21, blank=1, unparsable=2, unknown_event=3, filtered=4, transformed=5, untransformable=6,
        made=24, stored=7, duplicates=8, rejected=9, not_routed=10,
    )  # fmt: skip
    counts.add_dead_letters("bad_json", 2)
    counts.add_dead_letters("unknown_user", 6)
    counts.add_dead_letters("conflict", 9)
    return counts


def test_what_adds_up_has_no_differences() -> None:
    assert accounted().accounting_errors() == []
    assert Counts().accounting_errors() == []


@pytest.mark.parametrize("name", [*LINE_OUTCOMES, *STATEMENT_OUTCOMES, "lines", "made", "reasons"])
@pytest.mark.parametrize("by", [-1, 1])
def test_every_number_that_is_off_by_one_is_a_difference(name: str, by: int) -> None:
    counts = accounted()
    if name == "reasons":
        counts.add_dead_letters("conflict", by)
    else:
        setattr(counts, name, getattr(counts, name) + by)
    assert counts.accounting_errors()


def test_every_number_of_counts_is_in_one_of_the_sums() -> None:
    assert set(counts.NUMBER_FIELDS) == {"lines", "made", "not_routed", *LINE_OUTCOMES, *STATEMENT_OUTCOMES}


WORDS = st.text(st.characters(), max_size=30)
LETTERS = st.builds(
    DeadLetter,
    object=st.text(st.characters(), max_size=20) | st.just("logs/\udcff\n.log"),
    offset=st.integers(0, 10**15),
    line=st.integers(1, 10**12),
    stage=st.sampled_from([dead_letters.PARSE, dead_letters.TRANSFORM, dead_letters.DELIVER]),
    reason=st.sampled_from(["bad_json", "unknown_user"]),
    detail=WORDS,
    event=WORDS,
    raw=st.binary(max_size=60) | st.text(max_size=40).map(str.encode) | st.sampled_from([b"\r", b"a\nb", b"\x85\x0c"]),
)
REJECTED = st.builds(
    lambda letter, statement, where: DeadLetter(**{**letter.__dict__, "statement": statement, "destination": where}),
    LETTERS,
    st.uuids().map(str),
    st.sampled_from(["http://lrs/xAPI/statements", ""]),
)


@given(st.lists(LETTERS | REJECTED, max_size=5))
def test_dead_letters_come_back_as_they_were(letters: list[DeadLetter]) -> None:
    dumped = dead_letters.dump(letters)
    assert dead_letters.parse(dumped) == letters
    # A line each, whatever is in them, and every line is JSON of its own.
    lines = dumped.split(b"\n")
    assert lines.pop() == b""
    assert len(lines) == len(letters)
    for text, letter in zip(lines, letters, strict=True):
        fields = json.loads(text)
        assert ("line" in fields) != ("line_base64" in fields)
        assert fields["line_number"] == letter.line


LETTER = json.loads(dead_letters.dump([DeadLetter("o", 0, 1, "s", "r", "d", "e", b"{}")]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*LETTER, "line_base64"]), inner),
    max_leaves=5,
)


@given(JSON | st.builds(lambda name, value: {**LETTER, name: value}, st.sampled_from(list(LETTER)), JSON))
def test_a_line_of_json_that_is_not_a_dead_letter_is_refused(value: Any) -> None:
    try:
        letters = dead_letters.parse(json.dumps(value).encode())
    except ValueError:
        return
    assert letters[0].line == value["line_number"]
    dead_letters.dump(letters)


@pytest.mark.parametrize("text", [b"[]", b"null", b"17", b'"x"', b"{}", b"{", b'{"line": 3}', b'{"line_base64": null}'])
def test_what_is_not_a_dead_letter_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a JSON object|without '|its line is not text|Expecting"):
        dead_letters.parse(text)


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(1, 60))
def test_parts_are_shared_out_in_order_and_within_the_limit(sizes: list[int], limit: int) -> None:
    parts = [(f"part-{number}", part) for number, part in enumerate(sizes)]
    groups = group_parts(parts, limit)
    assert [name for group in groups for name in group] == [name for name, _ in parts]
    known = dict(parts)
    for group in groups:
        assert group
        assert len(group) == 1 or sum(known[name] for name in group) <= limit
    # As few files as the order allows: no group's first part had room in the one before.
    for one, following in zip(groups, groups[1:], strict=False):
        assert sum(known[name] for name in one) + known[following[0]] > limit


NOW = 1_800_000_000


@pytest.mark.parametrize(
    ("header", "secs"),
    [
        ("", 0.0),
        ("0", 0.0),
        (" 120 ", 120.0),
        ("soon", 0.0),
        ("-5", 0.0),
        ("1.5", 0.0),
        ("٣", 3.0),
        (email.utils.formatdate(NOW + 90, usegmt=True), 90.0),
        (email.utils.formatdate(NOW - 90, usegmt=True), 0.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 99 Foo 2015 07:28:00 GMT", 0.0),
        ("Fri, 31 Dec 99999 23:59:59 GMT", 0.0),
    ],
)
def test_retry_after_in_both_forms(header: str, secs: float) -> None:
    assert retry_after(header, now=NOW) == secs


@given(st.text(max_size=30) | st.integers().map(str) | st.datetimes().map(lambda at: email.utils.format_datetime(at)))
def test_any_retry_after_is_a_time_to_wait(header: str) -> None:
    assert retry_after(header, now=NOW) >= 0


@given(st.floats(0, 5000), st.floats(0.01, 5))
def test_waits_grow_and_add_up_to_what_the_setting_allows(most: float, first: float) -> None:
    waits = list(delays(most, first))
    assert sum(waits) == pytest.approx(most)
    assert all(0 < wait <= max(LONGEST_DELAY, first) for wait in waits)
    for number, wait in enumerate(waits[:-1]):
        assert min(first * 2**number, LONGEST_DELAY) * 0.49 <= wait


@given(st.text(st.characters()))
def test_any_name_is_printed_on_one_line(name: str) -> None:
    text = printable(name)
    text.encode("utf-8")
    assert text.isprintable()


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2.5e9, "2.5 GB"), (3e12, "3.0 TB")]
)
def test_sizes_for_people(count: float, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("secs", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (90, "1 min 30 s"),
        (120, "2 min"),
        (599, "9 min 59 s"),
        (600, "10 min"),
        (3569, "59 min"),
        (3590, "1 h"),
        (5400, "1 h 30 min"),
        (7200, "2 h"),
        (86_399, "1 d"),
        (183_600, "2 d 3 h"),
    ],
)
def test_durations_for_people(secs: float, text: str) -> None:
    assert duration(secs) == text
