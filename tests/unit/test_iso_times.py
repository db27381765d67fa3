"""Dates and times are read in every form of ISO 8601 that one would write."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tutor_transform_logs.lms_job.util.iso_times import in_utc, moment, period

DAYS = st.dates(date(1971, 1, 1), date(2199, 12, 31))
OFFSETS = st.integers(-23 * 60 - 59, 23 * 60 + 59)
DAY_FORMS = ("%Y-%m-%d", "%Y%m%d", "%G-W%V-%u", "%GW%V%u", "%Y-%j", "%Y%j")


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=timezone.utc)


def offset_forms(minutes: int) -> list[str]:
    sign, (hours, rest) = "-" if minutes < 0 else "+", divmod(abs(minutes), 60)
    forms = [f"{sign}{hours:02d}:{rest:02d}", f"{sign}{hours:02d}{rest:02d}"]
    if minutes < 0:
        forms.append(forms[0].replace("-", "\u2212"))
    return [*forms, *([f"{sign}{hours:02d}"] if not rest else []), *(["Z", "z", ""] if not minutes else [])]


@given(DAYS)
@example(date(2024, 2, 29))
@example(date(2026, 12, 31))
def test_a_day_is_known_in_every_form(day: date) -> None:
    for form in DAY_FORMS:
        assert period(day.strftime(form)) == (midnight(day), midnight(day + timedelta(days=1))), form


@given(DAYS)
def test_weeks_months_and_years_last_until_the_next(day: date) -> None:
    monday = day - timedelta(days=day.weekday())
    for form in ("%G-W%V", "%GW%V", "%G-w%V"):
        assert period(day.strftime(form)) == (midnight(monday), midnight(monday + timedelta(days=7)))
    next_month = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    assert period(day.strftime("%Y-%m")) == (midnight(day.replace(day=1)), midnight(next_month))
    assert period(day.strftime("%Y")) == (midnight(date(day.year, 1, 1)), midnight(date(day.year + 1, 1, 1)))


@given(
    day=DAYS,
    time=st.times(),
    offset=OFFSETS | st.just(0),
    between=st.sampled_from(["T", "t", " "]),
    colon=st.sampled_from([":", ""]),
    digits=st.integers(0, 6),
    mark=st.sampled_from([".", ","]),
)
def test_a_time_is_one_moment_whatever_its_form_and_offset(
    day: date, time: object, offset: int, between: str, colon: str, digits: int, mark: str
) -> None:
    text = f"{time:%H:%M:%S}".replace(":", colon)
    micros = f"{time:%f}"[:digits]
    meant = datetime.fromisoformat(f"{day}T{time:%H:%M:%S}.{micros.ljust(6, '0')}+00:00") - timedelta(minutes=offset)
    for form in DAY_FORMS[:3]:
        for zone in offset_forms(offset):
            written = f"{day.strftime(form)}{between}{text}{mark + micros if micros else ''}{zone}"
            assert period(written) == (meant, meant), written
            assert moment(written) == meant
    assert moment(in_utc(meant)) == meant


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-01-31T18", "2026-01-31T18:00:00Z"),
        ("2026-01-31T1805", "2026-01-31T18:05:00Z"),
        ("2026-01-31T24:00", "2026-02-01T00:00:00Z"),
        ("2026-01-31T00:00:00.1234567Z", "2026-01-31T00:00:00.123456Z"),
        (" 2026-01-31T18:00 +01:00 ", "2026-01-31T17:00:00Z"),
    ],
)
def test_short_and_odd_times(text: str, meant: str) -> None:
    assert in_utc(period(text)[0]) == meant


@pytest.mark.parametrize(
    "text",
    ["", "T10:00", "26", "202601", "2026-1-1", "2026-00", "2026-02-29", "2026-366", "2026-000", "2026-W54",
     "2026-W01-8", "2026-01-31T", "2026-01-31T1", "2026-01-31T24:01", "2026-01-31T10:60", "2026-01-31T10:00:60",
     "2026-01-31T10:00+24", "2026-01-31T10:00+00:60", "2026-01-31T10:00 CET", "2026T10", "2026-01-31Z", "٢٠٢٦-01-31",
     "now", "9999-12-31"],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises((ValueError, OverflowError)):
        period(text)


@given(st.text(max_size=30) | st.from_regex(r"[0-9TWZ:+\-., ]{0,30}"))
def test_no_text_makes_it_fail_otherwise(text: str) -> None:
    assert moment(text) is None or moment(text) == moment(text).astimezone(timezone.utc)  # type: ignore[union-attr]
    try:
        first, after = period(text)
    except (ValueError, OverflowError):
        return
    assert first <= after


@pytest.mark.parametrize("value", [None, True, [], {}, "", "soon", float("nan"), float("inf"), 1e30, -1e30])
def test_what_is_not_a_time_is_none(value: object) -> None:
    assert moment(value) is None


def test_seconds_since_1970_are_a_time() -> None:
    assert moment(1767225600) == moment(1767225600.0) == moment("2026-01-01T00:00:00Z")
