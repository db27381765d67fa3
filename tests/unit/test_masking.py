"""Nothing of a person gets into what is shown of a log line, whatever the line is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutor_transform_logs.demo import samples
from tutor_transform_logs.lms_job.report.masking import KEYS, MASK, MOST_CHARACTERS, mask_detail, mask_line

EVENT = "edx.course.enrollment.activated"
# Stand in for all that is somebody's: a text that can't be there by chance, and a number.
SECRET, NUMBER = "zqXjwv", 918273

secrets = st.one_of(
    st.just(SECRET),
    st.just(NUMBER),
    st.just(float(NUMBER)),
    st.text(max_size=5).map(lambda text: f"{text}{SECRET}{text}"),
    st.just(f"{SECRET}@example.com"),
    st.just(str(NUMBER)),
)
keys = st.one_of(st.sampled_from(sorted(KEYS)), secrets.map(str), st.text(max_size=8))
plain = st.one_of(secrets, st.none(), st.booleans(), st.integers(), st.text(max_size=8))


def nested(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(children, max_size=3), st.dictionaries(keys, children, max_size=4), children.map(json.dumps)
    )


objects = st.dictionaries(keys, st.recursive(plain, nested, max_leaves=12), min_size=1, max_size=6)
prefixes = st.sampled_from(["", f"Jan  3 00:00:00 host [tracking] [user {NUMBER}] [ip 203.0.113.9] - ", f"{SECRET} "])


def holds_a_secret(shown: str) -> bool:
    return SECRET.lower() in shown.lower() or str(NUMBER) in shown


@given(objects, prefixes)
def test_a_line_is_shown_without_its_values(fields: dict[str, Any], prefix: str) -> None:
    raw = (prefix + json.dumps({**fields, "name": EVENT, "username": SECRET})).encode()
    shown = mask_line(raw, EVENT)
    assert not holds_a_secret(shown)
    assert "203" not in shown
    assert len(shown) <= MOST_CHARACTERS + 1


@given(objects, st.data())
def test_a_line_that_is_cut_off_is_shown_without_its_values(fields: dict[str, Any], data: st.DataObject) -> None:
    raw = json.dumps(fields, ensure_ascii=False).encode("utf-8", "replace")
    start, end = (data.draw(st.integers(0, len(raw))) for _ in range(2))
    assert not holds_a_secret(mask_line(raw[start:end], ""))


@given(st.binary(max_size=300))
def test_no_bytes_are_too_odd(raw: bytes) -> None:
    shown = mask_line(raw, "")
    assert shown.isprintable() or not shown
    mask_detail("anything", raw, "")


@given(objects, st.data())
def test_details_are_shown_without_what_they_quote_from_the_line(fields: dict[str, Any], data: st.DataObject) -> None:
    raw = json.dumps({**fields, "username": SECRET, "user_id": NUMBER}).encode()
    detail = f"User with username {SECRET} and id {NUMBER} does not exist; {data.draw(plain)}"
    assert not holds_a_secret(mask_detail(detail, raw, EVENT))


@pytest.mark.parametrize(
    ("detail", "shown"),
    [
        ("User with username ann does not exist.", f"User with username {MASK} does not exist."),
        ("TypeError: 'NoneType' object is not subscriptable", "TypeError: 'NoneType' object is not subscriptable"),
        ("KeyError: 'user_id'", "KeyError: 'user_id'"),
        ("KeyError: 'ann smith'", f"KeyError: '{MASK}'"),
        ("409: a statement of mailto:bob@example.com is there", f"409: a statement of {MASK} is there"),
        (
            "400: from 203.0.113.9, 2001:db8::1, 6c8d7a64-3b1f-4f0a-9d51-7f9d1d1a2b3c",
            f"400: from {MASK}, {MASK}, {MASK}",
        ),
        ("Expecting ',' delimiter: line 1 column 97", "Expecting ',' delimiter: line 1 column 97"),
        (f"no xapi transformer for {EVENT}", f"no xapi transformer for {EVENT}"),
    ],
)
def test_what_helps_stays(detail: str, shown: str) -> None:
    assert mask_detail(detail, b'{"username": "ann", "event": "{\\"to\\": \\"bob\\"}"}', EVENT) == shown


def test_a_line_keeps_its_shape() -> None:
    line = b'{"name": "%s", "context": {"user_id": null, "ann": 1}, "event": "{\\"id\\": [1, 2]}", "ip": ""}'
    assert mask_line(line % EVENT.encode(), EVENT) == (
        f'{{"name": "{EVENT}", "context": {{"user_id": null, "{MASK}": ‹number›}}, '
        f'"event": ‹text with› {{"id": [‹number›, {MASK} 1 more]}}, "ip": ""}}'
    )
    assert mask_line(b'{"username": "ann.1", "na', "") == '{"username": "xxx.0", "xx'


def test_a_name_is_shown_only_where_it_is_the_event_s() -> None:
    assert SECRET not in mask_line(b'{"name": "%s", "event": {"name": "%s"}}' % ((SECRET.encode(),) * 2), EVENT)


def test_the_sample_logs_show_none_of_their_people() -> None:
    for name in ("tracking.log", "tracking.log.1"):
        for raw in samples.content(name).splitlines():
            shown = mask_line(raw, "")
            for word in ("learner", "203.0.113", "example.com", "course-v1", "Mozilla"):
                assert word not in shown
