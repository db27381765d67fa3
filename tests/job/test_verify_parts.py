"""The pure parts of VERIFY: what was delivered, which statements are the same, two diff compared, a sample drawn."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tutor_transform_logs.lms_job.deliver.lrs_search import _next_since
from tutor_transform_logs.lms_job.model.equivalence import comparable, kept_by_lrs
from tutor_transform_logs.lms_job.model.plan import Segment
from tutor_transform_logs.lms_job.verify.delivered import DeliveredRange, merged
from tutor_transform_logs.lms_job.verify.expected import ExpectedStatements
from tutor_transform_logs.lms_job.verify.multiset_diff import DiffCounts, MultisetDiff
from tutor_transform_logs.lms_job.verify.verify_result import DIFFERENT, MISSING, Mismatch, VerifyResult, total_result

SPANS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)))


@given(SPANS)
def test_merged_spans_hold_the_same_bytes_in_order_and_apart(spans: list[tuple[int, int]]) -> None:
    found = merged(spans)
    assert {at for start, end in found for at in range(start, end)} == {
        at for start, end in spans for at in range(start, end)
    }
    assert all(span[1] < following[0] for span, following in zip(found, found[1:], strict=False))


STATEMENT: dict[str, Any] = {
    "id": "6f4f8c7e-3a52-5a44-9d0a-000000000001",
    "actor": {"account": {"homePage": "http://lms.test", "name": "a"}},
    "verb": {"id": "http://example.org/v"},
    "object": {"id": "http://example.org/o", "objectType": "Activity"},
    "context": {"contextActivities": {"parent": [{"id": "http://example.org/c"}]}},
    "timestamp": "2026-01-03T10:00:00.500000+00:00",
    "version": "1.0.3",
}
SAME: dict[str, dict[str, Any]] = {
    "added by the LRS": {"stored": "2026-02-01T00:00:00Z", "authority": {"mbox": "mailto:a@example.org"}},
    "another form of the same time": {"timestamp": "2026-01-03T12:00:00.5+02:00"},
    "with Z": {"timestamp": "2026-01-03T10:00:00.500000Z"},
    "an id in capitals": {"id": STATEMENT["id"].upper()},
    "what is so by default": {"actor": {**STATEMENT["actor"], "objectType": "Agent"}},
    "a single activity": {"context": {"contextActivities": {"parent": {"id": "http://example.org/c"}}}},
    "another version of xAPI": {"version": "1.0.0"},
}
ANOTHER: dict[str, dict[str, Any]] = {
    "another time": {"timestamp": "2026-01-03T10:00:00.500001+00:00"},
    "another result": {"result": {"completion": True}},
    "another object": {"object": {"id": "http://example.org/o", "objectType": "StatementRef"}},
    "another course": {"context": {"contextActivities": {"parent": [{"id": "http://example.org/d"}]}}},
    "no time": {"timestamp": None},
}


@pytest.mark.parametrize("change", SAME)
def test_what_an_lrs_may_do_to_a_statement(change: str) -> None:
    assert comparable({**STATEMENT, **SAME[change]}) == comparable(STATEMENT)


@pytest.mark.parametrize("change", ANOTHER)
def test_what_makes_it_another(change: str) -> None:
    assert comparable({**STATEMENT, **ANOTHER[change]}) != comparable(STATEMENT)


@pytest.mark.parametrize("change", SAME | ANOTHER)
def test_an_lrs_keeps_what_is_the_same(change: str) -> None:
    assert kept_by_lrs(STATEMENT, {**STATEMENT, **(SAME | ANOTHER)[change]}) == (change in SAME)


@given(st.integers(0, 999_999), st.sampled_from([3, 4, 5, 6]), st.booleans(), st.sampled_from(["Z", "+00:00"]))
@example(999_999, 3, True, "Z")
@example(123_500, 3, True, "Z")
def test_an_lrs_may_shorten_a_time(micros: int, decimals: int, rounds: bool, zone: str) -> None:
    """To no less than 3 decimals; the rest of the statement must be the same."""
    at = datetime(2026, 1, 3, 10, 0, 0, micros, tzinfo=timezone.utc)
    unit = 10 ** (6 - decimals)
    kept_micros = (micros + unit // 2 if rounds else micros) // unit * unit
    kept = at.replace(microsecond=0) + timedelta(microseconds=kept_micros)
    text = f"{kept:%Y-%m-%dT%H:%M:%S}.{kept.microsecond:06d}"[: 20 + decimals] + zone
    sent = {**STATEMENT, "timestamp": at.isoformat(timespec="microseconds")}
    assert kept_by_lrs(sent, {**sent, "timestamp": text})
    assert not kept_by_lrs(sent, {**sent, "timestamp": text, "result": {"completion": True}})


@pytest.mark.parametrize("kept", ["00.123Z", "00.125Z", "00.12Z", "01.124Z", "00.123457Z", "00Z"])
def test_an_lrs_may_not_change_a_time(kept: str) -> None:
    sent = {**STATEMENT, "timestamp": "2026-01-03T10:00:00.124456+00:00"}
    assert not kept_by_lrs(sent, {**sent, "timestamp": f"2026-01-03T10:00:{kept}"})


def test_an_envelope_is_the_same_whenever_it_was_made() -> None:
    envelope = {"sensor": "s", "sendTime": "2026-01-01T00:00:00Z", "data": [{"id": "urn:uuid:1"}]}
    assert comparable(envelope) == comparable({**envelope, "sendTime": "2026-01-02T00:00:00Z"})
    assert comparable(envelope) != comparable({**envelope, "data": [{"id": "urn:uuid:2"}]})


KINDS = st.tuples(st.integers(0, 8), st.integers(0, 2))


def statement(kind: tuple[int, int]) -> dict[str, Any]:
    return {"id": f"id-{kind[0]}", "actor": {}, "verb": kind[1]}


@given(st.lists(KINDS), st.lists(KINDS))
def test_sets_are_compared_as_multisets(expected: list[tuple[int, int]], found: list[tuple[int, int]]) -> None:
    with MultisetDiff() as diff:
        for number, kind in enumerate(expected):
            diff.expect(statement(kind), number)
        for kind in found:
            diff.add_found(statement(kind))
        compared = DiffCounts()
        absent = [(expected[number], another) for number, _, another in diff.compare(compared)]
    lacking, surplus = Counter(expected) - Counter(found), Counter(found) - Counter(expected)
    assert Counter(kind for kind, _ in absent) == lacking
    assert compared.found == len(expected) - len(absent)
    by_id, extra = Counter(id_ for id_, _ in lacking.elements()), Counter(id_ for id_, _ in surplus.elements())
    assert compared.different == sum(min(by_id[id_], extra[id_]) for id_ in by_id)
    assert compared.missing == len(absent) - compared.different == sum(not another for _, another in absent)
    assert compared.surplus == sum(surplus.values()) - compared.different


@given(st.lists(st.tuples(st.sampled_from([MISSING, DIFFERENT, "found"]), st.integers(0, 2)), max_size=80))
def test_the_results_of_workers_add_up_to_that_of_one(statements: list[tuple[str, int]]) -> None:
    """``statements``: what is found of each, and the worker that searches for it."""
    whole, *shares = (VerifyResult("id", "LRS") for _ in range(4))
    for place, (kind, worker) in enumerate(statements):
        for result in (whole, shares[worker]):
            if kind == "found":
                result.found += 1
            else:
                result.add(Mismatch(kind, f"id-{place}", "tracking.log", place, place, b"{}", place))
    assert total_result(shares) == whole


class Lines:
    """A source with one object; every event in it is known to the transformer that it also is."""

    prefilter = None

    def __init__(self, count: int) -> None:
        self.content = b"".join(b'{"name": "play_video", "event": {"n": %d}}\n' % n for n in range(count))

    def read(self, name: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        yield self.content[start:end]

    def known(self, name: str) -> bool:
        return True


def sample(count: int, of: int, name: str = "a", digest: str = "d") -> list[int]:
    lines = Lines(of)
    segment = Segment(0, 1, name, 0, len(lines.content), len(lines.content))
    expected = ExpectedStatements(lines, lines, 10**6, [DeliveredRange(segment, {}, digest)], lambda counts: None)  # type: ignore[arg-type]  # stands in
    return [json.loads(line.line.raw)["event"]["n"] for line in expected.sample(count)]


def test_a_sample_is_the_same_every_time_whatever_the_log_is_called() -> None:
    assert sample(50, 1000) == sample(50, 1000, name="b")
    assert sample(50, 1000) != sample(50, 1000, digest="another log")
    assert sample(50, 20) == list(range(20))


def test_a_sample_is_spread_over_the_log_and_no_line_is_preferred() -> None:
    """Over many logs, each line is drawn about as often as any other (a tenth of 400 times)."""
    drawn = Counter(n for log in range(400) for n in sample(10, 100, digest=str(log)))
    assert sum(drawn.values()) == 4000
    assert all(12 < drawn[n] < 75 for n in range(100))


@pytest.mark.parametrize(
    ("since", "last", "following"),
    [
        ("2026-01-01T00:00:00+00:00", "2026-01-01T00:00:09.5+00:00", "2026-01-01T00:00:08+00:00"),
        ("2026-01-01T00:00:08+00:00", "2026-01-01T00:00:09.5+00:00", "2026-01-01T00:00:09.5+00:00"),
        ("2026-01-01T00:00:09.5+00:00", "2026-01-01T00:00:09.5+00:00", ""),
        ("2026-01-01T00:00:09+00:00", "", ""),
    ],
)
def test_the_next_page_goes_on_where_the_last_one_ended_or_nowhere(since: str, last: str, following: str) -> None:
    assert _next_since(since, last) == following
