"""Which events and objects the filters take, and which logs are not opened by the date in their names."""

from __future__ import annotations

import uuid
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tutor_transform_logs.lms_job.config.schema import load
from tutor_transform_logs.lms_job.ledger.ledger import job_identity, job_key
from tutor_transform_logs.lms_job.model.records import Event
from tutor_transform_logs.lms_job.plan.file_dates import outside
from tutor_transform_logs.lms_job.read.filters import TAKE_ALL, Filters

UTC = timezone.utc
COURSE = "course-v1:edX+DemoX+Demo_Course"
# Of the stock site's job without filters, as it was before there were any: a ledger must be found again.
UNFILTERED_KEY = "d5073dac69cb"


def event(name: str = "play_video", time: object = "2026-01-31T12:00:00+00:00", **context: Any) -> Event:
    return Event(name, {"name": name, "timestamp": time, "context": context, "data": {}})


def filters(**values: Any) -> Filters:
    return Filters.of(load(values))


@example(datetime(2026, 1, 1, tzinfo=UTC), 0, 1, 60)
@example(datetime(2026, 1, 1, tzinfo=UTC), -5, 5, -60)
@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),
    st.integers(-(10**6), 10**6),
    st.integers(1, 10**6),
    st.integers(-23 * 60, 23 * 60),
)
def test_since_is_inclusive_and_until_is_not(when: datetime, before: int, length: int, offset: int) -> None:
    since = when + timedelta(microseconds=before)
    until = since + timedelta(microseconds=length)
    there = timezone(timedelta(minutes=offset))
    made = filters(since=since.astimezone(there).isoformat(), until=until.astimezone(there).isoformat())
    assert made.takes(event(time=when.astimezone(there).isoformat())) == (since <= when < until)
    assert filters(since=since.isoformat()).takes(event(time=when.isoformat())) == (since <= when)
    assert filters(until=until.isoformat()).takes(event(time=when.isoformat())) == (when < until)


@pytest.mark.parametrize("time", [None, "", "soon", [], {"a": 1}, True])
def test_an_event_whose_time_cannot_be_read_is_not_left_out_for_it(time: object) -> None:
    assert filters(since="2030").takes(event(time=time))
    assert not filters(since="2030", event=["x"]).takes(event(time=time))


def test_the_time_is_the_one_that_erb_takes() -> None:
    made = filters(since="2026-02-01")
    old, new = "2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z"
    assert made.takes(Event("e", {"timestamp": new, "time": old}))
    assert made.takes(Event("e", {"timestamp": "", "time": new}))
    assert not made.takes(Event("e", {"data": {"timestamp": old}, "time": new}))


@pytest.mark.parametrize(
    ("given_filters", "taken"),
    [
        ({}, True),
        ({"event": ["play_*"]}, True),
        ({"event": ["pause_*", "play_video"]}, True),
        ({"event": ["Play_*"]}, False),
        ({"event": ["play"]}, False),
        ({"exclude_event": ["play_*"]}, False),
        ({"event": ["play_video"], "exclude_event": ["*_video"]}, False),
        ({"exclude_event": ["pause_*"]}, True),
        ({"course": [COURSE]}, True),
        ({"course": ["*+DemoX+*"]}, True),
        ({"course": ["course-v1:edX+DemoX+demo_course"]}, False),
        ({"course": ["other", COURSE], "org": ["edX"]}, True),
        ({"org": ["ed?"]}, True),
        ({"org": ["EDX"]}, False),
        ({"files": ["nothing"]}, True),
    ],
)
def test_names_courses_and_organisations(given_filters: dict[str, Any], taken: bool) -> None:
    assert filters(**given_filters).takes(event(course_id=COURSE, org_id="edX")) == taken


@pytest.mark.parametrize("context", [{}, {"course_id": "", "org_id": ""}, {"course_id": None}, {"course_id": [COURSE]}])
def test_events_without_a_course_are_left_out_where_one_is_asked_for(context: dict[str, Any]) -> None:
    assert not filters(course=["*DemoX*"]).takes(event(**context))
    assert not filters(org=["edX"]).takes(event(**context))
    assert not filters(org=["edX"]).takes(Event("e", {"context": "none"}))
    assert filters(event=["play_video"]).takes(event(**context))


@pytest.mark.parametrize("course_id", [COURSE, "edX/DemoX/2013", "ccx-v1:edX+DemoX+1+ccx@2", "library-v1:edX+lib"])
def test_the_organisation_is_that_of_the_course_where_the_context_has_none(course_id: str) -> None:
    assert filters(org=["edX"]).takes(event(course_id=course_id))
    assert not filters(org=["edX"]).takes(event(course_id=course_id, org_id="Other"))


def test_the_key_of_a_job_without_filters_is_what_it_was() -> None:
    assert job_key(job_identity(load({}))) == UNFILTERED_KEY
    # It says what is not opened, and nothing of what is replayed.
    assert job_key(job_identity(load({"trust_file_dates": True}))) == UNFILTERED_KEY
    assert Filters.of(load({})) is TAKE_ALL


@pytest.mark.parametrize(
    ("first", "same"),
    [
        ({"since": "2026-01-31"}, {"since": "2026-01-31T01:00+01:00"}),
        ({"until": "2026-01"}, {"until": "2026-01-31"}),
        ({"event": ["b", "a"]}, {"event": ["a", "b", "a"]}),
    ],
)
def test_the_same_filters_are_the_same_job_however_written(first: dict[str, Any], same: dict[str, Any]) -> None:
    keys = {job_key(job_identity(load(values))) for values in (first, same)}
    assert len(keys) == 1
    assert UNFILTERED_KEY not in keys


def test_every_filter_makes_another_job() -> None:
    each: list[dict[str, Any]] = [{"since": "2026"}, {"until": "2026"}]
    each += [{name: ["a"]} for name in ("event", "exclude_event", "course", "org", "files")]
    assert len({job_key(job_identity(load(values))) for values in [{}, *each]}) == len(each) + 1


def test_what_is_set_is_said_in_utc() -> None:
    text = str(
        filters(since="2026-01-01T00:00+02:00", until="2026-01", event=["a", "b"], exclude_event=["c"], org=["o"])
    )
    assert text == (
        "events from 2025-12-31T22:00:00Z on, events before 2026-02-01T00:00:00Z, events named a or b, "
        "no events named c, organisations o"
    )


def test_a_pattern_that_no_known_event_has_is_found() -> None:
    assert filters(event=["play_*", "paly_video"]).idle({"play_video"}) == ["paly_video"]


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("tracking.log", None),
        ("tracking.log.1", None),
        ("tracking.log-20260131", date(2026, 1, 31)),
        ("tracking.log-20260131.gz", date(2026, 1, 31)),
        ("a/2025/tracking.log-2026-01-31.xz", date(2026, 1, 31)),
        ("2025-01-01/tracking.log", None),
        ("tracking_2026_01_31.log", date(2026, 1, 31)),
        ("tracking.log-20260131-1769817600.gz", date(2026, 1, 31)),
        ("tracking.log-1769817600", date(2026, 1, 31)),
        ("tracking.log-2026013123", date(2026, 1, 31)),
        ("tracking.log.2026-01-31_23-59", date(2026, 1, 31)),
        ("2026-01-31T10:00:00Z.log", date(2026, 1, 31)),
        # One that contradicts itself, two of them, none that exists, and numbers that are something else.
        ("tracking.log-20260131-1700000000", None),
        ("tracking-20260101-20260131.log", None),
        ("tracking.log-20261331", None),
        ("tracking.log-19990101", None),
        ("tracking.log-120260131", None),
        ("tracking.log-a20260131b", None),
        ("tracking.log-5f20260131", None),
        ("tracking.log-17001231", None),
        # As collectors name objects.
        ("logs/date=2026-01-31/1769860800-0b1f3a52-1111-4222-8333-20260105abcd.log.gz", date(2026, 1, 31)),
        ("dt=20260131/hour=07/part", date(2026, 1, 31)),
        ("logs/year=2026/month=1/day=31/hour=14/part.json.zst", date(2026, 1, 31)),
        ("2026/01/31/14/lms-1-2026-01-31-14-05-33-0b1f3a52-1111-4222-8333-0123456789ab", date(2026, 1, 31)),
        ("fluent-bit-logs/kube.lms/2026/01/31/14/05/33-objectAb3dE6g8", date(2026, 1, 31)),
        ("2026/01/31/tracking.log", date(2026, 1, 31)),
        ("web-1_1769860800-20250101-1111-4222-8333-0123456789ab.log.gz", date(2026, 1, 31)),
        # No day, one that does not exist, two of them, and copies of what was there on a day.
        ("2026/01/tracking.log", None),
        ("2026/13/31/tracking.log", None),
        ("12026/01/31/tracking.log", None),
        ("2026/01/31/date=2026-01-31/part", None),
        ("2026/01/31/tracking.log-20251201.gz", None),
        ("2026/01/31/tracking.log.4.gz", None),
        ("2026/01/31/logs.tar.gz", None),
        ("backup=2026-01-31/tracking.log", None),
        ("20260131-1111-4222-8333-0123456789ab.log", None),
    ],
)
def test_the_date_in_a_name(name: str, day: date | None) -> None:
    """A log is left out from the second midnight after its date on, and one without a date never is."""
    if day is None:
        assert outside([name], datetime(2100, 1, 1, tzinfo=UTC), None) == set()
        return
    ended = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=2)
    assert outside([name], ended, None) == {name}
    assert outside([name], ended - timedelta(microseconds=1), None) == set()


MONTH = [f"tracking.log-202601{day:02d}.gz" for day in range(1, 32)]


def test_most_logs_of_a_month_are_not_opened_for_one_day() -> None:
    since, until = datetime(2026, 1, 15, tzinfo=UTC), datetime(2026, 1, 16, tzinfo=UTC)
    opened = sorted({*MONTH, "tracking.log"} - outside([*MONTH, "tracking.log"], since, until))
    assert opened == ["tracking.log", *(f"tracking.log-202601{day}.gz" for day in (14, 15, 16, 17))]
    # The first of them may reach back as far as it likes.
    assert MONTH[0] not in outside(MONTH, None, datetime(2020, 1, 1, tzinfo=UTC))
    assert outside(MONTH, None, None) == set()


def random_id(at: datetime) -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_OID, at.isoformat())


# How Vector, Firehose, Fluent Bit and Spark name what they store.
COLLECTED = (
    lambda at: f"logs/date={at:%Y-%m-%d}/{int(at.timestamp())}-{random_id(at)}.log.gz",
    lambda at: f"{at:%Y/%m/%d/%H}/lms-1-{at:%Y-%m-%d-%H-%M-%S}-{random_id(at)}",
    lambda at: f"kube.lms/{at:%Y/%m/%d/%H/%M/%S}-object{random_id(at).hex[:8]}",
    lambda at: f"year={at:%Y}/month={at:%m}/day={at:%d}/hour={at:%H}/{random_id(at)}.json",
    lambda at: f"H_{int(at.timestamp())}-{random_id(at)}.log.gz",
)


@pytest.mark.parametrize("form", COLLECTED)
def test_most_objects_of_a_collector_are_not_opened_for_two_days(form: Any) -> None:
    begin = datetime(2026, 1, 1, 6, 30, tzinfo=UTC)
    # Not at the same hour of each day.
    names = [form(begin + timedelta(days=day, hours=day % 5)) for day in range(30)]
    unread = outside(names, datetime(2026, 1, 15, tzinfo=UTC), datetime(2026, 1, 17, tzinfo=UTC))
    assert sorted(set(names) - unread) == sorted(names[13:18])


def test_two_hosts_whose_names_have_a_random_part_say_nothing_about_each_other() -> None:
    names = [
        f"{host}_{epoch}-{uuid.uuid4()}.log.gz" for host in ("web-1", "web-2") for epoch in (1767225600, 1769860800)
    ]
    until = datetime(2026, 1, 10, tzinfo=UTC)
    assert outside([*names[:1], *names[3:]], None, until) == set()


def test_logs_of_other_names_say_nothing_about_each_other() -> None:
    until = datetime(2026, 1, 10, tzinfo=UTC)
    names = ["a/tracking.log-20260101", "b/tracking.log-20260131", "a/other.log-20260131", "a/tracking.log-20260131-x"]
    assert outside(names, None, until) == set()
    assert outside([*names, "b/tracking.log-20260115.gz"], None, until) == {"b/tracking.log-20260131"}


NAMES = (
    lambda at: f"tracking.log-{at:%Y%m%d}",
    lambda at: f"tracking.log-{at:%Y-%m-%d}.gz",
    lambda at: f"tracking.log-{at:%Y%m%d}-{int(at.timestamp())}",
    lambda at: f"tracking.log-{int(at.timestamp())}",
    lambda at: f"tracking.log-{at:%Y%m%d%H}",
    *COLLECTED,
)


@given(
    gaps=st.lists(st.integers(1, 24 * 40), min_size=1, max_size=20),
    offset=st.integers(-12, 14),
    form=st.sampled_from(NAMES),
    there=st.lists(st.booleans(), min_size=20, max_size=20),
    ages=st.lists(st.integers(0, 24 * 60 * 60), max_size=10),
    since=st.none() | st.integers(-50, 24 * 300),
    length=st.none() | st.integers(1, 24 * 90),
    late_hours=st.integers(0, 10),
)
def test_no_log_that_holds_an_event_of_the_range_is_skipped(
    gaps: list[int],
    offset: int,
    form: Any,
    there: list[bool],
    ages: list[int],
    since: int | None,
    length: int | None,
    late_hours: int,
) -> None:
    """Logs that are rotated whenever, in any time zone, some of them deleted, and written to a bit longer."""
    begin = datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=offset)))
    rotations = [begin + timedelta(hours=sum(gaps[: number + 1])) for number in range(len(gaps))]
    held: dict[str, tuple[datetime, datetime]] = {}
    previous = datetime(2000, 1, 1, tzinfo=UTC)
    for at, exists in zip(rotations, there, strict=False):
        if exists:
            first, last = held.get(form(at), (previous, at))
            held[form(at)] = (min(first, previous), at + timedelta(hours=late_hours))
        previous = at
    low = None if since is None else begin + timedelta(hours=since)
    high = None if length is None else (low or begin) + timedelta(hours=length)
    for name in outside(held, low, high):
        first, last = held[name]
        assert (low is not None and last <= low) or (high is not None and high <= first), (name, first, last, low, high)
