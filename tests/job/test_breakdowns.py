"""What is counted of events: skipped ones by name, statements by course, verb and hour; and where the time went."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.harness.forked_site import ForkedSite
from tutor_transform_logs.demo import samples
from tutor_transform_logs.lms_job.model.activity import (
    MOST_HOURS,
    NO_NAME,
    PAGE_VIEWS,
    Activity,
    hour_of,
    total_activity,
    verb_of,
)
from tutor_transform_logs.lms_job.model.records import SkippedLines
from tutor_transform_logs.lms_job.read.events import Unparsable, parse
from tutor_transform_logs.lms_job.read.lines import split_lines
from tutor_transform_logs.lms_job.read.prefilter import Prefilter

OTHERS = ["page_close", "edx.unknown.of.a_browser", "", "unknown2", "/courses/course-v1:a+b+c/info"]


def event(name: str, **more: Any) -> bytes:
    """A line as a tracker writes it."""
    fields = {"context": {"course_id": "course-v1:KSU+AR101+2026_T1"}, "event": "{}", "time": "2026-02-01T10:00:00Z"}
    end = {"event_type": name, "event_source": "browser", "page": "http://x/y"}
    return json.dumps({"name": name, **fields, **more, **end}).encode() + b"\n"


def sample_site(site: ForkedSite) -> None:
    """The samples of the demo, and events that are skipped."""
    samples.write(site.logs)
    lines = [event(OTHERS[number % len(OTHERS)]) for number in range(300)]
    lines.insert(7, b'{"event": {"a": "\\u00e9"}, "name": "caf\\u00e9"}\n')
    with gzip.open(site.logs / "tracking.log-20260201.gz", "wb") as file:
        file.writelines(lines)


def names_in(folder: Path, known: set[str]) -> Counter[str]:
    """The names of all events but the known ones, read by the full parser."""
    found: Counter[str] = Counter()
    for path in folder.iterdir():
        content = gzip.decompress(path.read_bytes()) if path.read_bytes()[:2] == b"\x1f\x8b" else path.read_bytes()
        for line in content.splitlines():
            try:
                name = parse(line).name
            except Unparsable:
                continue
            if name not in known:
                found[PAGE_VIEWS if name.startswith("/") else name or NO_NAME] += 1
    return found


@pytest.mark.parametrize("fast_path", [True, False], ids=["fast", "plain"])
def test_skipped_events_are_counted_by_name(site: ForkedSite, fast_path: bool) -> None:
    sample_site(site)
    done = site.run(site.source(), site.to_files(), fast_path=fast_path, batch_size=7)
    assert done.result is not None, done.detail
    skipped: Mapping[str, int] = done.result["skipped_events"]
    assert sum(skipped.values()) == done.result["lines"]["unknown_event"]
    assert skipped == names_in(site.logs, set(done.result["event_types"]))
    assert {*OTHERS[:2], "unknown2", NO_NAME, PAGE_VIEWS, "café"} <= skipped.keys()


def test_a_batch_that_ends_among_skipped_lines_has_their_names_alone() -> None:
    lines = [event(OTHERS[number % len(OTHERS)]) for number in range(25)]
    prefilter = Prefilter(["play_video"])
    [skipped] = split_lines([b"".join(lines)], prefilter=prefilter)
    assert isinstance(skipped, SkippedLines)
    for count in range(1, 25):
        first, rest = skipped.cut(count)
        assert rest is not None
        names = [OTHERS[number % len(OTHERS)].encode() for number in range(25)]
        assert list(first.names) == [name for name in names[:count] if not name.startswith(b"/")]
        assert list(rest.names) == [name for name in names[count:] if not name.startswith(b"/")]
        assert (rest.start, rest.lines) == (first.end, 25 - count)
    # Nothing is left over for the next lines.
    assert prefilter.take_names() == ()
    assert next(iter(split_lines([event("play_video")], prefilter=prefilter))).raw  # type: ignore[union-attr]  # a Line
    assert len(skipped.names) == 20


def test_statements_are_counted_by_course_verb_and_hour(site: ForkedSite) -> None:
    sample_site(site)
    done = site.run(site.source(), site.to_files(), workers=2)
    assert done.result is not None, done.detail
    verbs: Counter[str] = Counter()
    for text in site.output().values():
        verbs.update(json.loads(line)["verb"]["id"] for line in text.splitlines() if b'"verb"' in line)
    assert done.result["verbs"] == verbs
    made, failed = done.result["lines"]["transformed"], done.result["lines"]["untransformable"]
    courses = done.result["courses"].values()
    assert sum(course["statements"] for course in courses) == sum(verbs.values()) >= made
    assert sum(course["failed_events"] for course in courses) == failed
    assert "course-v1:KSU+AR101+2026_T1" in done.result["courses"]
    assert done.result["site"]["Versions"].count("event-routing-backends ") == 1


def test_the_action_of_a_caliper_event_is_its_verb(site: ForkedSite) -> None:
    sample_site(site)
    done = site.run(site.source(), site.to_files(), transformer_type="caliper")
    assert done.result is not None, done.detail
    verbs = done.result["verbs"]
    assert {"Started", "Paused"} & verbs.keys(), verbs
    assert sum(verbs.values()) == done.result["destinations"][0]["made"]


def test_the_times_of_a_worker_are_its_working_time(site: ForkedSite) -> None:
    sample_site(site)
    done = site.run(site.source(), site.to_files(), workers=2, batch_size=10)
    assert done.status == 0, done.detail
    activities = [
        Activity.from_json(json.loads(path.read_text())["activity"]) for path in site.ledger.glob("*/0001/*.files.json")
    ]
    assert len(activities) == 4
    workers = total_activity(activities).workers
    assert 1 <= len(workers) <= 2
    for activity in activities:
        spent = [sum(column) for column in zip(*activity.workers.values(), strict=True)]
        assert sum(spent) == pytest.approx(activity.secs, abs=0.01)
    assert all(sum(column) > 0 for column in zip(*workers.values(), strict=True)), workers


@pytest.mark.parametrize(
    ("time", "hour"),
    [
        ("2026-01-31T14:59:59+00:00", "2026-01-31T14"),
        ("2026-01-31T23:30:00.123456-05:00", "2026-02-01T04"),
        ("2026-01-31T99:00:00Z", "2026-01-31"),
        ("2026-01-31", "2026-01-31T00"),
        ("yesterday", ""),
        (None, ""),
    ],
)
def test_the_hour_is_the_utc_hour(time: object, hour: str) -> None:
    assert hour_of(time) == hour


def test_hours_are_kept_of_two_days() -> None:
    activity = Activity()
    for hour in range(MOST_HOURS):
        activity.transformed("a", f"2026-01-{1 + hour // 24:02d}T{hour % 24:02d}:00:00Z", 1)
    assert len(activity.bounded().hours) == MOST_HOURS
    activity.failed("a", "2026-01-03T00:00:00Z")
    assert activity.bounded().hours == {}
    assert len(activity.bounded().days) == 3


@pytest.mark.parametrize(
    ("body", "verb"),
    [
        (b'{"verb": {"id": "http://a/b", "display": {}}}', "http://a/b"),
        (b'{"object": {"id": "\\"verb\\": {\\"id\\": \\"x\\""}, "verb":{"id":"http://a"}}', "http://a"),
        (b'{"sensor": "s", "data": [{"type": "MediaEvent", "action": "Paused"}]}', "Paused"),
        (b"{}", ""),
    ],
)
def test_the_verb_is_found_in_a_body(body: bytes, verb: str) -> None:
    assert verb_of(body) == verb
