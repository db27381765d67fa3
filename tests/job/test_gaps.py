"""``--gaps``: the logs beside the real engine's table, counted by day."""

from __future__ import annotations

import gzip
import json
import random
import re
import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import tutor_transform_logs.demo
from tests.harness.clickhouse import ClickHouse, Fault
from tests.harness.erb import transformer
from tests.harness.forked_site import ForkedSite
from tests.harness.http_sinks import ScriptedLrs
from tests.harness.job import JobRun
from tests.harness.parity import scene, white_list
from tests.harness.runs import assert_accounted, assert_refused
from tutor_transform_logs.demo import events
from tutor_transform_logs.demo.log_writer import LOG_START, Mix
from tutor_transform_logs.lms_job.read.events import parse

NO_TRANSFORMER = ("edx.video.language_menu.hidden", "edx.video.language_menu.shown")
"""On ERB's own allow list for xAPI, and ERB has no transformer for them."""
SAMPLE_LOGS = Path(tutor_transform_logs.demo.__file__).parent / "logs"
MIX = Mix(good=300, page_view=40, unknown_user=3, type_error=2, broken=3, copies=6)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00")
TABLE = "openedx.xapi_events_all"


def spread(site: ForkedSite, days: int = 20) -> None:
    """Stretch the log's events to this many days."""
    text = (site.logs / "tracking.log").read_text()
    last = max(map(datetime.fromisoformat, TIME.findall(text)))
    factor = timedelta(days=days) / (last - LOG_START)

    def later(found: re.Match[str]) -> str:
        moment = datetime.fromisoformat(found[0])
        return (LOG_START + factor * (moment - LOG_START)).isoformat(timespec="microseconds")

    path = site.logs / "tracking.log"
    path.write_text(TIME.sub(later, path.read_text()))


def gaps(site: ForkedSite, target: dict[str, Any], **more: Any) -> JobRun:
    return site.run({**site.source(), **target, **more}, command="gaps")


def as_json(site: ForkedSite, target: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What ``--log-format json`` prints."""
    run = gaps(site, target, log_format="json", **more)
    [line] = [fields for fields in map(json.loads, run.stdout.splitlines()) if fields.get("event") == "gaps"]
    return dict(line)


def rows_by_day(server: ClickHouse) -> dict[str, int]:
    sql = f"SELECT toString(toDate(emission_time, 'UTC')), count() FROM {TABLE} GROUP BY 1"
    return {day: int(rows) for day, rows in server.query(sql)}


@pytest.mark.usefixtures("lms")
def test_days_that_are_missing_are_found_and_filled(site: ForkedSite, aspects_clickhouse: ClickHouse) -> None:
    server, target = aspects_clickhouse, aspects_clickhouse.destination()
    log = site.log(MIX)
    spread(site)
    assert_accounted(site.run(site.source(), target), log.xapi)
    whole = rows_by_day(server)
    assert len(whole) > 10
    run = gaps(site, target)
    assert (run.status, run.stdout.splitlines()[-1].split(":")[0]) == (0, "Nothing is missing"), run.stdout

    lost = random.Random(5).sample(sorted(whole), 3)
    for day in lost:
        server.delete(f"toDate(emission_time, 'UTC') = '{day}'", TABLE)
    found = as_json(site, target)
    assert {entry["day"]: entry["logs"] for entry in found["days"]} == whole
    assert {entry["day"]: entry["missing"] for entry in found["days"] if entry["missing"]} == {
        day: whole[day] for day in lost
    }
    run = gaps(site, target)
    assert run.status == 3
    commands = re.findall(r"^  --since (\S+) --until (\S+)$", run.stdout, re.MULTILINE)
    assert len(commands) == len(found["ranges"])
    for since, until in commands:
        assert site.run(site.source(), target, since=since, until=until).status == 0
    assert rows_by_day(server) == whole
    assert gaps(site, target).status == 0


def test_a_job_that_never_ran_is_compared_too(site: ForkedSite, aspects_clickhouse: ClickHouse) -> None:
    """Vector has delivered all live, once more than once; nothing of the ledger is made."""
    target = aspects_clickhouse.destination()
    log = site.log(Mix(good=50, copies=5))
    found = as_json(site, target)
    assert (found["missing"], len(found["ranges"])) == (log.xapi.distinct_statements, 1)
    assert not (site.folder / "ledger").exists()
    assert_accounted(site.run(site.source(), target, ledger_container="other"), log.xapi)
    aspects_clickhouse.query(f"SYSTEM STOP MERGES {TABLE}")
    aspects_clickhouse.query(f"INSERT INTO {TABLE} SELECT * FROM {TABLE} ORDER BY event_id LIMIT 10")
    found = as_json(site, target)
    rows = aspects_clickhouse.count()
    aspects_clickhouse.query(f"SYSTEM START MERGES {TABLE}")
    assert rows == log.xapi.distinct_statements + 10
    assert [(entry["logs"], entry["table"]) for entry in found["days"]] == [(log.xapi.distinct_statements,) * 2]


@pytest.mark.usefixtures("lms")
def test_each_day_of_every_type_of_event_has_as_many_statements_as_the_table(
    site: ForkedSite, aspects_clickhouse: ClickHouse
) -> None:
    """The demo's logs: events that make several statements, dead letters, copies, rotated and compressed logs."""
    target = aspects_clickhouse.destination()
    for log in SAMPLE_LOGS.iterdir():
        shutil.copy(log, site.logs)
    assert site.run(site.source(""), target).status == 0
    found = as_json(site, target, source_prefix="")
    assert {entry["day"]: entry["logs"] for entry in found["days"]} == rows_by_day(aspects_clickhouse)
    assert (found["missing"], found["dead_letters"] > 0) == (0, True)


def test_the_command_that_fills_a_gap_is_not_printed_again(site: ForkedSite, aspects_clickhouse: ClickHouse) -> None:
    """Some events of that day become dead letters, of a job with other filters and so of another ledger."""
    target = aspects_clickhouse.destination()
    log = site.log(Mix(good=20, unknown_user=3, type_error=2)).path
    # One event more that is the same statement: the user's id counts, not the name.
    first = json.loads(log.read_text().splitlines()[0])
    with log.open("a") as file:
        file.write(json.dumps({**first, "username": None}) + "\n")
    [gap] = as_json(site, target)["ranges"]
    assert site.run(site.source(), target, gap).status == 0
    found = as_json(site, target)
    assert (found["missing"], found["dead_letters"], found["ranges"]) == (0, 5, [])


def test_a_gap_that_was_filled_and_opens_again_is_filled_by_starting_over(
    site: ForkedSite, aspects_clickhouse: ClickHouse
) -> None:
    """As printed, and as JSON; then as one run, where the gaps are many."""
    target = aspects_clickhouse.destination()
    log = site.log(Mix(good=300))
    spread(site, 30)

    def fill() -> str:
        run = gaps(site, target)
        assert run.status == 3
        [(since, until, restart)] = re.findall(
            r"^  --since (\S+) --until (\S+)( --restart)?$", run.stdout, re.MULTILINE
        )
        assert site.run(site.source(), target, since=since, until=until, restart=bool(restart)).status == 0
        assert aspects_clickhouse.count() == log.xapi.distinct_statements
        return str(restart)

    assert not fill()
    aspects_clickhouse.clear()
    [gap] = as_json(site, target)["ranges"]
    assert site.run(site.source(), target, {**gap, "restart": False}).stdout.startswith("Nothing new")
    assert (gap.pop("restart"), fill()) == (True, " --restart")
    for restart in ("", " --restart"):
        aspects_clickhouse.delete("toDayOfYear(emission_time, 'UTC') % 2 = 1")
        assert len(as_json(site, target)["ranges"]) > 10
        assert fill() == restart


def test_what_another_destination_has_rejected_is_missing_all_the_same(
    site: ForkedSite, aspects_clickhouse: ClickHouse, scripted_lrs: ScriptedLrs
) -> None:
    target = aspects_clickhouse.destination()
    site.log(Mix(good=20, unknown_user=3), names=["play_video"])
    to_lrs: dict[str, Any] = {"destination_provider": "LRS", "lrs_endpoints": [{"url": scripted_lrs.url}]}
    assert site.run(site.source(), to_lrs).status == 0
    scripted_lrs.refused = dict.fromkeys(scripted_lrs.statements, 422)
    scripted_lrs.statements.clear()
    assert site.run(site.source(), to_lrs, restart=True).status == 3
    found = as_json(site, target)
    assert (found["missing"], found["dead_letters"]) == (20, 3)


def test_what_the_table_has_rejected_is_not_missing(site: ForkedSite, aspects_clickhouse: ClickHouse) -> None:
    target = aspects_clickhouse.destination()
    site.log(Mix(good=20), names=["play_video"])
    assert site.run(site.source(), target).status == 0
    one = aspects_clickhouse.ids()[0]
    aspects_clickhouse.delete(f"event_id = '{one}'")
    text = "INCORRECT_DATA"
    aspects_clickhouse.set_faults(*[Fault.exception(117, text, status=400, times=50)])
    assert site.run(site.source(), target, restart=True).status == 3
    aspects_clickhouse.set_faults()
    found = as_json(site, target)
    assert (found["missing"], found["dead_letters"]) == (0, 1)


def test_what_has_no_caliper_event_may_have_a_statement(site: ForkedSite, aspects_clickhouse: ClickHouse) -> None:
    """The job that could not transform the events is made one for Caliper in its ledger."""
    target = aspects_clickhouse.destination()
    site.log(Mix(good=20, unknown_user=3), names=["play_video"])
    assert site.run(site.source(), target).status == 0
    assert as_json(site, target)["dead_letters"] == 3
    [identity] = site.ledger.glob("*/job.json")
    identity.write_text(identity.read_text().replace('"xapi"', '"caliper"'))
    found = as_json(site, target)
    assert (found["missing"], found["dead_letters"]) == (3, 0)


@pytest.mark.usefixtures("lms")
def test_which_types_make_one_statement() -> None:
    with transformer("xapi") as made:
        one = {name for name in white_list("xapi") if made.makes_one(name)}
        assert white_list("xapi") - one == {"problem_check", *NO_TRANSFORMER}
        for number, name in enumerate(sorted(one)):
            raw = events.to_json(events.build(name, scene(name, number))).encode()
            assert len(made.statements(parse(raw), raw)) == 1, name


def test_the_range_of_the_comparison_is_that_of_the_filters(site: ForkedSite, aspects_clickhouse: ClickHouse) -> None:
    target = aspects_clickhouse.destination()
    site.log(Mix(good=300))
    spread(site)
    days = [entry["day"] for entry in as_json(site, target)["days"]]
    within = as_json(site, target, since=days[2], until=days[3])
    assert [entry["day"] for entry in within["days"]] == days[2:4]


def test_an_event_with_an_odd_year_costs_a_query_or_nothing(site: ForkedSite, aspects_clickhouse: ClickHouse) -> None:
    """The first and the last days that a DateTime64(6) can hold, and those beside them, in UTC and elsewhere."""
    target = aspects_clickhouse.destination()
    log = site.log(Mix(good=1), names=["edx.course.enrollment.activated"]).path
    event = json.loads(log.read_text().partition(" - ")[2])
    held = ["1900-01-01T00:00:00+00:00", "1970-01-01T00:00:00+00:00", "2026-02-01T00:00:00+00:00",
            "2299-12-31T23:59:59.999999+00:00", "1899-12-31T23:00:00-05:00"]  # fmt: skip
    not_held = ["0001-01-01T00:00:00+05:00", "0001-01-01T00:00:00+00:00", "1899-12-31T23:59:59.999999+00:00",
                "2300-01-01T00:00:00+00:00", "2299-12-31T23:00:00-05:00", "9999-12-31T00:00:00+00:00",
                "9999-12-31T23:00:00-05:00"]  # fmt: skip
    log.write_text("".join(json.dumps({**event, "time": time}) + "\n" for time in [*held, *not_held]))
    aspects_clickhouse.set_faults()
    found = as_json(site, target)
    assert (found["missing"], found["undated"], found["out_of_range"]) == (len(held), 0, len(not_held))
    counting = [request for request in aspects_clickhouse.requests() if "count()" in request["sql"]]
    assert len(counting) == 4
    run = site.run(site.source(), target)
    assert (run.status, aspects_clickhouse.count()) == (3, len(held))
    found = as_json(site, target)
    assert (found["missing"], found["out_of_range"]) == (0, len(not_held))
    assert [entry["table"] for entry in found["days"]] == [2, 1, 1, 1]
    assert "ClickHouse holds times from 1900 to 2299 only: 7 events." in gaps(site, target).stdout


def test_logs_that_can_not_be_read_are_named(site: ForkedSite, aspects_clickhouse: ClickHouse) -> None:
    """Two are damaged in the middle, one from its first bytes on; the others are copies. Nothing of them is missing."""
    target = aspects_clickhouse.destination()
    site.log(Mix(good=300))
    content = gzip.compress((site.logs / "tracking.log").read_bytes())
    assert site.run(site.source(), target).status == 0
    site.place("tracking.log-3.gz", content)
    site.place("tracking.log-4.gz", content)
    assert gaps(site, target).status == 0
    site.place("tracking.log-1.gz", content[: len(content) // 2])
    site.place("tracking.log-2.gz", content[:4])
    site.place("tracking.log-5.gz", content[: len(content) // 3])
    run = gaps(site, target)
    assert run.status == 3, run.detail
    assert sorted(re.findall(r"^not read: (\S+): ", run.stdout, re.MULTILINE)) == [
        "tracking.log-1.gz",
        "tracking.log-2.gz",
        "tracking.log-5.gz",
    ]
    assert run.stdout.splitlines()[-1].startswith("Nothing that could be read is missing: the logs have ")


def test_what_can_not_be_counted_is_refused(site: ForkedSite, aspects_clickhouse: ClickHouse) -> None:
    site.log(Mix(good=1))
    assert_refused(gaps(site, site.to_files()), "--gaps counts the rows of a table in ClickHouse", "--verify")
    target = aspects_clickhouse.destination()
    assert_refused(gaps(site, target, course=["course-v1:a+b+c"]), "leave out --event")
    assert_refused(gaps(site, target, dry_run=True), "Leave --dry-run out")


def test_what_is_unavailable_is_not_to_be_resumed(site: ForkedSite, aspects_clickhouse: ClickHouse) -> None:
    """There is nothing to resume: the whole source is read again."""
    site.log(Mix(good=5))
    aspects_clickhouse.set_faults(Fault("answer_only", on="SELECT", status=502, text="Bad Gateway", times=99))
    run = gaps(site, aspects_clickhouse.destination(), lrs_max_wait_secs=0)
    assert run.status == 4, run.detail
    assert run.stderr.endswith(": 502: Bad Gateway.\n")
    assert "resume" not in run.detail
