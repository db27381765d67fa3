"""What is kept of types, days and speed: it adds up, it stays small, and a ledger that is damaged is refused."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.forked_site import ForkedSite
from tests.harness.job import newest
from tutor_transform_logs.demo.log_writer import Mix
from tutor_transform_logs.lms_job.model.activity import (
    MOST_DAYS,
    MOST_SPANS,
    MOST_TYPES,
    NO_DAY,
    OTHERS,
    Activity,
    Throughput,
    day_of,
    total_activity,
)

times = st.datetimes(min_value=datetime(2001, 1, 2), max_value=datetime(2098, 12, 30)).map(
    lambda moment: moment.replace(tzinfo=timezone.utc)
)
zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
works = st.lists(st.tuples(st.floats(0, 4e9), st.integers(0, 10**6), st.integers(0, 1000)), max_size=40)


@st.composite
def histories(draw: st.DrawFn) -> Activity:
    activity = Activity()
    names = st.text("ab.", max_size=3)
    for name, moment, made in draw(st.lists(st.tuples(names, times, st.integers(0, 3)), max_size=30)):
        if made:
            activity.transformed(name, moment.isoformat(), made - 1)
        else:
            activity.failed(name, moment.isoformat())
    for name in draw(st.lists(names, max_size=5)):
        activity.filtered(name)
    for at, lines, events in draw(works):
        activity.worked(at, 1.5, lines, events)
    return activity


def sums(activity: Activity) -> list[Any]:
    """All that must not change, however the counts are put together."""

    def columns(rows: Iterable[list[int]]) -> list[int]:
        return [sum(column) for column in zip(*rows, strict=True)]

    return [
        columns(activity.types.values()),
        columns(activity.days.values()),
        columns(activity.throughput.spans.values()),
    ]


@given(times, zones)
def test_the_day_is_the_utc_day_whatever_the_zone(moment: datetime, zone: timezone) -> None:
    assert day_of(moment.isoformat()) == moment.date().isoformat()
    assert day_of(moment.astimezone(zone).isoformat()) == moment.date().isoformat()
    assert day_of(moment.isoformat().replace("+00:00", "Z")) == moment.date().isoformat()


@pytest.mark.parametrize(
    "time", [None, 5, "", "yesterday", "1970-01-01T00:00:00Z", "2026-13-01T00:00:00Z", "9999-12-31T23Z"]
)
def test_what_is_not_a_time_of_open_edx_has_no_day(time: object) -> None:
    assert day_of(time) == NO_DAY


def test_a_time_at_the_end_of_time_is_not_an_error() -> None:
    assert day_of("0001-01-01T00:00:00+14:00") == day_of("9999-12-31T23:59:59-14:00") == NO_DAY


@given(st.lists(histories(), max_size=4))
def test_it_adds_up_in_any_order_and_through_the_ledger(parts: list[Activity]) -> None:
    kept = [Activity.from_json(json.loads(json.dumps(part.to_json()))) for part in parts]
    assert kept == parts
    whole = total_activity(parts)
    backwards = total_activity(reversed(parts))
    assert (whole.types, whole.days, sums(whole)) == (backwards.types, backwards.days, sums(backwards))
    assert sums(whole.bounded()) == sums(whole)
    assert whole.secs == pytest.approx(sum(part.secs for part in parts))


def test_an_entry_stays_small_and_keeps_its_sums() -> None:
    activity = Activity()
    first = datetime(2001, 1, 1, tzinfo=timezone.utc)
    for number in range(20_000):
        activity.transformed(f"type {number}", (first + timedelta(days=number)).isoformat(), 1)
        activity.worked(number * 3600.0, 0.1, 2, 1)
    bounded = activity.bounded()
    assert len(bounded.types) <= MOST_TYPES + 1
    assert len(bounded.days) <= MOST_DAYS
    assert len(bounded.throughput.spans) <= MOST_SPANS
    assert len(json.dumps(bounded.to_json())) < 30_000
    assert sums(bounded) == sums(activity)


def in_batches(batches: Iterable[Iterable[str]]) -> Activity:
    """What a segment's entry has after batches with events of these courses."""
    kept = Activity()
    for courses in batches:
        batch = Activity()
        for course in courses:
            batch.transformed("a", "2026-01-01T00:00:00Z", 1, course)
            batch.skip(course)
        kept = Activity.from_json(json.loads(json.dumps(total_activity([kept, batch]).bounded().to_json())))
    return kept


RARE = [f"course {number}" for number in range(400)]


@pytest.mark.parametrize(
    ("batches", "counted"),
    [
        ([RARE, ["busy"] * 1000, ["busy"] * 1000], 2000),
        ([[*RARE, *["busy"] * 2000]], 2000),
        # Each batch has a few of it, and all that are known have more.
        ([RARE * 9, *([*["busy"] * 4, f"new {number}", *RARE] for number in range(50))], 200),
        # And each has other courses by the hundred.
        ([["busy", "busy", *(f"{batch} {number}" for number in range(400))] for batch in range(50)], 100),
        ([["busy"] * 5, *([f"{batch} {number}" for number in range(100)] for batch in range(50))], 5),
    ],
)
def test_a_course_that_is_busy_is_kept_whenever_it_begins(batches: list[list[str]], counted: int) -> None:
    kept = in_batches(batches)
    for table, others in ((kept.courses, OTHERS["courses"]), (kept.skipped, OTHERS["skipped"])):
        assert table["busy"][0] == counted
        assert len(table) == MOST_TYPES + 1
        assert table[others][0] > 0
        assert sum(counts[0] for counts in table.values()) == sum(map(len, batches))


@given(st.lists(st.lists(st.sampled_from(RARE[:MOST_TYPES])), max_size=5))
def test_every_course_is_exact_while_there_are_not_too_many(batches: list[list[str]]) -> None:
    counts = Counter(course for batch in batches for course in batch)
    assert {course: made for course, (made, _) in in_batches(batches).courses.items()} == counts


def test_what_earlier_versions_counted_together_has_the_name_of_its_table() -> None:
    values: Any = Activity(courses={"a": [1, 0]}).to_json()
    values["courses"]["(other types)"] = [5, 1]
    assert Activity.from_json(values).courses == {"a": [1, 0], "(other courses)": [5, 1]}


@given(works)
def test_spans_are_whole_multiples_of_each_other(works: list[tuple[float, int, int]]) -> None:
    throughput = Throughput()
    wanted: Counter[int] = Counter()
    for at, lines, events in works:
        throughput.add(at, lines, events)
    for at, lines, _ in works:
        wanted[int(at // throughput.span_secs)] += lines
    assert {number: lines for number, (lines, _) in throughput.spans.items()} == dict(wanted)
    assert len(throughput.spans) <= MOST_SPANS


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("types",), []),
        (("types", "a"), [1, 2]),
        (("days", "2026-01-01"), [1, -2]),
        (("throughput",), None),
        (("throughput", "span_secs"), 30),
        (("throughput", "spans"), {"x": [1, 1]}),
        (("secs",), "1"),
        (("secs",), float("nan")),
    ],
)
def test_what_it_has_not_written_it_does_not_read(path: tuple[str, ...], value: object) -> None:
    activity = Activity()
    activity.transformed("a", "2026-01-01T00:00:00Z", 1)
    values: Any = activity.to_json()
    at = values
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = value
    with pytest.raises((KeyError, TypeError, ValueError)):
        Activity.from_json(values)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_counts_its_events_once_whoever_did_them(site: ForkedSite, workers: int) -> None:
    log = site.log(Mix(good=700, page_view=300, unknown_user=20, type_error=5, broken=3))
    run = site.run(site.source(), site.to_files(), batch_size=50, segment_bytes=64 * 1024, workers=workers)
    assert run.status == 0, run.stderr
    assert run.ledger is not None
    entries = [json.loads(path.read_text()) for path in run.ledger.glob("*/0001/*.files.json")]
    activity = total_activity(Activity.from_json(entry["activity"]) for entry in entries)
    transformed, failed, filtered = (sum(column) for column in zip(*activity.types.values(), strict=True))
    expected = log.xapi
    assert (transformed, filtered) == (expected.count("transformed"), 0)
    assert failed == expected.untransformable + expected.count("no_transformer")
    made, lost = (sum(column) for column in zip(*activity.days.values(), strict=True))
    assert (made, lost) == (expected.statements, failed)
    assert set(activity.days) == {"2026-02-01"}
    lines, events = (sum(column) for column in zip(*activity.throughput.spans.values(), strict=True))
    assert (lines, events) == (expected.lines, transformed + failed)
    assert activity.secs > 0
    assert newest(run.ledger, "result.json") is not None
