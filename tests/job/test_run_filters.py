"""Whole runs that replay a part of the logs only."""

from __future__ import annotations

import gzip
import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tests.harness.forked_site import ForkedSite
from tests.harness.http_sinks import Answer, ScriptedLrs
from tests.harness.job import JobRun
from tests.harness.object_store import Bucket
from tests.harness.runs import assert_refused, erbs_ids, statements
from tests.harness.site import manifests, statement_files
from tutor_transform_logs.demo.log_writer import LOG_START, Mix

pytestmark = pytest.mark.usefixtures("lms")

MIX = Mix(good=120, page_view=60, unknown_user=4, type_error=4, broken=3, blank=2)
DAY = timedelta(days=1)


def written(site: ForkedSite) -> set[str]:
    """The ids of the statements in the output."""
    files = statement_files(site.output()).values()
    return {statement["id"] for content in files for statement in statements(content)}


def lines_of(run: JobRun) -> dict[str, int]:
    assert run.result is not None, run.stderr
    assert run.result["accounting_errors"] == []
    lines: dict[str, int] = run.result["lines"]
    assert sum(lines.values()) == 2 * lines["lines"]
    return lines


def loaded(line: bytes) -> dict[str, Any]:
    """The event in a line, ``{}`` where there is none."""
    try:
        event: dict[str, Any] = json.loads(line[line.find(b"{") :])
    except ValueError:
        return {}
    return event


@pytest.mark.parametrize("fast_path", [True, False])
def test_a_range_of_time_is_replayed_to_the_line(site: ForkedSite, fast_path: bool) -> None:
    log = site.log(MIX)
    lines = log.path.read_bytes().splitlines()
    times = sorted(loaded(line)["time"] for line in lines if loaded(line))
    since, until = times[50], times[150]
    inside = [line for line in lines if since <= loaded(line).get("time", "") < until]
    run = site.run(site.source(), site.to_files(), since=since, until=until, fast_path=fast_path)
    assert run.status == 0, run.stderr
    assert f"Replaying only: events from {since[:-6]}Z on, events before {until[:-6]}Z." in run.stderr
    assert written(site) == erbs_ids(inside)
    counts = lines_of(run)
    # What has no time of its own, or is not transformed at any time, is what it is without filters.
    assert counts["unparsable"] == 3
    assert counts["blank"] == 2
    assert counts["unknown_event"] == 60
    assert counts["filtered"] > 20
    assert counts["filtered"] + counts["transformed"] + counts["untransformable"] == 128


def test_names_courses_and_organisations_choose_events(site: ForkedSite) -> None:
    log = site.log(MIX)
    events = [(line, loaded(line)) for line in log.path.read_bytes().splitlines()]
    course = next(event["context"]["course_id"] for _, event in events if event.get("name") == "play_video")
    wanted = [
        line
        for line, event in events
        if event.get("name", "").endswith("_video")
        and event["name"] != "pause_video"
        and event["context"]["course_id"] == course
    ]
    choice = {"event": ["*_video"], "exclude_event": ["pause_*"], "course": [course], "org": ["*"]}
    run = site.run(site.source(), site.to_files(), choice)
    assert run.status == 0, run.stderr
    assert written(site) == erbs_ids(wanted)
    assert lines_of(run)["unknown_event"] == 60


def test_a_slip_in_an_events_name_is_told(site: ForkedSite) -> None:
    site.log(Mix(good=5))
    run = site.run(site.source(), site.to_files(), event=["paly_video", "pause_video"])
    assert "event: xapi transforms no event named paly_video." in run.stderr
    assert "named pause_video" not in run.stderr


def test_a_filtered_job_resumes_and_retries_and_is_another_job(site: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    log = site.log(MIX)
    lines = log.path.read_bytes().splitlines()
    until = sorted(loaded(line)["time"] for line in lines if loaded(line))[100]
    inside = [line for line in lines if loaded(line).get("time", "z") < until]
    expected = erbs_ids(inside)
    refused = min(expected)
    scripted_lrs.refused = {refused: 400}
    config = {
        **site.source(),
        "lrs_endpoints": [{"url": scripted_lrs.url}],
        "batch_size": 10,
        "until": until,
        "max_requests_in_flight": 1,
        "lrs_max_wait_secs": 0,
    }
    scripted_lrs.script = [None, None, Answer(503)]
    stopped = site.run(config)
    assert stopped.status == 4
    assert 0 < len(scripted_lrs.statements) < len(expected) - 1
    resumed = site.run(config)
    assert resumed.status == 3, resumed.stderr
    assert set(scripted_lrs.statements) == expected - {refused}
    scripted_lrs.refused = {}
    retried = site.run(config, retry_failed=True)
    assert retried.status == 0, retried.stdout
    assert set(scripted_lrs.statements) == expected
    assert lines_of(retried)["filtered"] == 0
    assert scripted_lrs.repeated == 0
    assert site.run(config).stdout.startswith("Nothing new")
    # Without the filter nothing has been done yet: another job, with a ledger of its own.
    everything = site.run({**config, "until": ""})
    assert everything.status == 0
    assert set(scripted_lrs.statements) == erbs_ids(lines)
    assert len(list((site.folder / "ledger").iterdir())) == 2


def test_files_chooses_objects_by_their_whole_name(site: ForkedSite, nanio_bucket: Bucket) -> None:
    logs = {}
    for number, name in enumerate(("logs/tracking.log", "logs/a/tracking.log-1.gz", "logs/b/tracking.log-1.gz")):
        log = site.log(Mix(good=4), name=name.rpartition("/")[2], start=LOG_START + number * DAY)
        logs[name] = log
        nanio_bucket.put(name, log.path)
    source = nanio_bucket.settings("source", prefix="logs/")
    run = site.run(source, site.to_files(), files=["logs/b/*", "tracking.log"])
    assert run.status == 0, run.stderr
    assert run.result is not None
    assert [obj["name"] for obj in run.result["objects"]] == ["logs/b/tracking.log-1.gz"]
    assert manifests(site.output())[0].startswith(b"logs/b/tracking.log-1.gz - ")
    assert lines_of(run)["transformed"] == 4
    none = site.run(source, site.to_files(), files=["tracking*"])
    assert_refused(none, "files: tracking* matches none of the 3 objects", "such as logs/a/tracking.log-1.gz")


def test_several_prefixes_are_one_job_that_reads_each_object_once(site: ForkedSite, nanio_bucket: Bucket) -> None:
    logs = {}
    for number, name in enumerate(("lms-a/x/tracking.log", "lms-b/tracking.log", "lms-bb/tracking.log", "cms/t.log")):
        logs[name] = site.log(Mix(good=3), name=f"{number}.log", start=LOG_START + number * DAY).path
        nanio_bucket.put(name, logs[name])

    def below(prefixes: list[str]) -> dict[str, Any]:
        return {**nanio_bucket.settings("source"), "source_prefix": prefixes}

    wanted = erbs_ids([line for name in list(logs)[:3] for line in logs[name].read_bytes().splitlines()])
    check = site.run(below(["lms-b", "lms-a/", "gone/"]), site.to_files(), command="check")
    assert "3 objects" in check.stdout
    run = site.run(below(["lms-bb/", "lms-b", "lms-a/", "gone/"]), site.to_files())
    assert run.status == 0, run.stderr
    assert run.result is not None
    assert [obj["name"] for obj in run.result["objects"]] == sorted(logs)[1:]
    assert written(site) == wanted
    assert "gone/: only the other prefixes are read" in run.stdout + run.stderr
    # In another order they are the same job.
    again = site.run(below(["gone/", "lms-a/", "lms-b"]), site.to_files())
    assert again.stdout.startswith("Nothing new")
    none = site.run(below(["no", "gone"]), site.to_files())
    assert_refused(none, "No object found whose name begins with", "gone or ", "SOURCE_PREFIX")


def test_logs_that_their_names_put_out_of_range_are_not_opened(site: ForkedSite) -> None:
    day = datetime(2026, 1, 31, tzinfo=timezone.utc)
    for number in (-30, -20, -9, 9):
        broken = gzip.compress(str(number).encode() * 1000)[:-5]
        (site.logs / f"tracking.log-{day + number * DAY:%Y%m%d}.gz").write_bytes(broken)
    wanted = site.log(Mix(good=6), name=f"tracking.log-{day + DAY:%Y%m%d}", start=day + timedelta(hours=5))
    site.log(Mix(good=5), start=day + 30 * DAY)
    choice: dict[str, Any] = {"since": "2026-01-31", "until": "2026-01-31"}
    trusting = site.run(site.source(), site.to_files(), choice, trust_file_dates=True)
    # The one after it may hold events of the last day before the rotation.
    assert trusting.status == 3, trusting.stdout
    assert trusting.result is not None
    notes = {obj["name"]: obj["notes"] for obj in trusting.result["objects"]}
    passed = [
        name for name, said in notes.items() if "outside since and until by the date in its name: not opened" in said
    ]
    assert passed == ["tracking.log-20260101.gz", "tracking.log-20260111.gz", "tracking.log-20260122.gz"]
    assert trusting.result["problems"] == ["tracking.log-20260209.gz: truncated gzip data"]
    assert written(site) == erbs_ids(wanted.path.read_bytes().splitlines())
    assert b"tracking.log-20260101.gz" not in b"".join(manifests(site.output()))
    # The same job: what was not opened is taken up when the names are trusted no more, and nothing a second time.
    whole = site.run(site.source(), site.to_files(), choice)
    assert whole.result is not None
    # The one that was found damaged is tried again, in case it is whole now.
    assert len(whole.result["problems"]) == 4
    assert lines_of(whole)["transformed"] == 0


def test_many_logs_that_are_skipped_do_not_hide_those_that_are_read(site: ForkedSite) -> None:
    for day in range(1, 29):
        (site.logs / f"tracking.log-202601{day:02d}").write_bytes(b"x\n")
    site.log(Mix(good=3))
    run = site.run(site.source(), site.to_files(), since="2026-02", trust_file_dates=True)
    table = run.stdout.partition("\nlines ")[0].splitlines()
    assert [line.split()[3] for line in table if line.startswith("tracking.log ")] == ["3"]
    assert table[-1] == "... and 9 more objects: all are in the result file"


def test_nothing_at_all_in_range_is_said(site: ForkedSite) -> None:
    for day in ("20260101", "20260102"):
        site.log(Mix(good=2), name=f"tracking.log-{day}")
    run = site.run(site.source(), site.to_files(), since="2026-06", trust_file_dates=True)
    assert run.status == 0
    assert run.stdout.startswith(
        "Nothing new in 2 objects: done before, empty, or out of range by the date in the name"
    )
