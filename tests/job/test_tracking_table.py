"""The source CLICKHOUSE: raw tracking logs in a table of the real engine, read day by day, as if they were files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.harness.clickhouse import ClickHouse, Fault
from tests.harness.forked_site import ForkedSite
from tests.harness.runs import check_sums
from tests.harness.site import statement_files
from tests.harness.tally import same
from tutor_transform_logs.demo.log_writer import Mix, write_log
from tutor_transform_logs.lms_job.config.schema import load
from tutor_transform_logs.lms_job.deliver import tracking_table
from tutor_transform_logs.lms_job.deliver.tracking_table import TrackingTable
from tutor_transform_logs.lms_job.util.errors import JobError, ObjectGone

TABLE = "openedx._tracking"
FIRST = datetime(2026, 2, 1, 23, 59, 58, tzinfo=timezone.utc)


def source(server: ClickHouse, **more: Any) -> dict[str, Any]:
    """The settings that make the table the source."""
    return {
        "source_provider": "CLICKHOUSE",
        "source_host": "127.0.0.1",
        "source_port": server.port,
        "source_key": "ch_vector",
        "source_secret": server.password("ch_vector"),
        "source_container": "openedx",
        "source_prefix": "_tracking",
        **more,
    }


def insert(server: ClickHouse, lines: list[bytes], time: datetime | None = None) -> None:
    """As Vector does: the event's own time, to the second."""
    rows = []
    for line in lines:
        when = time or datetime.fromisoformat(json.loads(line)["time"])
        rows.append(json.dumps({"time": int(when.timestamp()), "message": line.decode()}))
    done = requests.post(
        server.url,
        params={"query": f"INSERT INTO {TABLE} FORMAT JSONEachRow"},
        data="\n".join(rows).encode(),
        timeout=60,
    )
    assert done.ok, done.text


@pytest.fixture
def table(aspects_clickhouse: ClickHouse) -> Iterator[ClickHouse]:
    aspects_clickhouse.query(f"TRUNCATE TABLE {TABLE}")
    yield aspects_clickhouse
    aspects_clickhouse.query(f"TRUNCATE TABLE {TABLE}")


def log_lines(site: ForkedSite, start: datetime = FIRST, seed: int = 1) -> list[bytes]:
    """Events of three days, in order."""
    lines: list[bytes] = []
    for number in range(3):
        path = site.folder / "lines"
        mix = Mix(good=12, page_view=6, unknown_user=1)
        write_log(path, mix, start=start + number * timedelta(days=1), seed=seed + number)
        # Vector stores them without the logger's prefix.
        events = [line[line.find(b"{") :] for line in path.read_bytes().splitlines()]
        lines += sorted(events, key=lambda line: str(json.loads(line)["time"]))
        path.unlink()
    return lines


def output_lines(site: ForkedSite, folder: str) -> list[bytes]:
    return b"".join(statement_files(site.output(folder)).values()).splitlines()


def test_it_makes_the_statements_of_the_log(site: ForkedSite, table: ClickHouse) -> None:
    """Killed in between, and with another order of the rows in the table."""
    lines = log_lines(site)
    insert(table, lines[::2])
    insert(table, lines[1::2])
    (site.logs / "tracking.log").write_bytes(b"\n".join(lines) + b"\n")
    assert site.run(site.source(), site.to_files("plain"), batch_size=5).status == 0
    expected = output_lines(site, "plain")
    steps = {"label": "batch: before", "number": 4}
    killed = site.run(source(table), site.to_files("table"), batch_size=5, steps=steps)
    same(-9, killed.status, killed.detail)
    run = site.run(source(table), site.to_files("table"), batch_size=5)
    same(0, run.status, run.detail)
    assert run.result is not None
    check_sums(run.result)
    same(sorted(expected), sorted(output_lines(site, "table")), "statements")
    same(len(lines), run.result["lines"]["lines"], "lines")
    assert {obj["name"] for obj in run.result["objects"]} <= {f"_tracking/2026-02-0{day}" for day in range(1, 6)}
    assert "Nothing new" in site.run(source(table), site.to_files("table")).stdout
    verified = site.run(source(table), site.to_files("table"), command="verify")
    same(0, verified.status, verified.detail)
    assert table.password("ch_vector") not in run.stdout + run.stderr + json.dumps(run.result)


def test_what_is_added_is_read_by_the_next_run(site: ForkedSite, table: ClickHouse) -> None:
    lines = log_lines(site)
    insert(table, lines[:40])
    assert site.run(source(table), site.to_files()).status == 0
    insert(table, lines[40:])
    run = site.run(source(table), site.to_files())
    same(0, run.status, run.detail)
    assert run.result is not None
    same(len(lines) - 40, run.result["lines"]["lines"], "new lines")


def test_the_last_minutes_are_left_to_the_next_run(site: ForkedSite, table: ClickHouse) -> None:
    lines = log_lines(site)
    now = datetime.now(timezone.utc)
    insert(table, lines[:30], now - timedelta(minutes=30))
    insert(table, lines[30:], now)
    run = site.run(source(table), site.to_files())
    same(0, run.status, run.detail)
    assert run.result is not None
    same(30, run.result["lines"]["lines"], "lines")


def test_a_table_to_a_table(site: ForkedSite, table: ClickHouse) -> None:
    """As on a site with Aspects, by several workers, each day cut into segments."""
    lines = log_lines(site)
    insert(table, lines)
    target = {**table.destination(), "workers": 2, "segment_bytes": 65536}
    check = site.run(source(table), target, command="check")
    same(0, check.status, check.detail)
    assert "_tracking/2026-02-0" in check.stdout
    dry = site.run(source(table), target, dry_run=True)
    same(0, dry.status, dry.detail)
    assert table.count() == 0
    run = site.run(source(table), target)
    same(0, run.status, run.detail)
    assert run.result is not None
    check_sums(run.result)
    assert table.count() == run.result["destinations"][0]["stored"] > 0
    gaps = site.run(source(table), target, command="gaps")
    same(0, gaps.status, gaps.detail)


def test_a_prefix_chooses_days(site: ForkedSite, table: ClickHouse) -> None:
    insert(table, log_lines(site))
    run = site.run(source(table, source_prefix="_tracking/2026-02-03"), site.to_files())
    same(0, run.status, run.detail)
    assert run.result is not None
    same(["_tracking/2026-02-03"], [obj["name"] for obj in run.result["objects"]], "objects")


@pytest.mark.parametrize(
    ("wrong", "detail"),
    [
        ({"source_secret": "wrong"}, "Check TRANSFORM_LOGS_SOURCE_KEY"),
        ({"source_container": "xapi"}, "Give the user SELECT on this table"),
        ({"source_prefix": "missing"}, "Check TRANSFORM_LOGS_SOURCE_CONTAINER"),
        ({"source_port": 1}, "Check TRANSFORM_LOGS_SOURCE_HOST"),
    ],
)
def test_what_is_wrong_is_said_with_the_settings_of_the_source(
    site: ForkedSite, table: ClickHouse, wrong: dict[str, Any], detail: str
) -> None:
    for command in ("check", "run"):
        run = site.run(source(table, **wrong), site.to_files(), command=command)
        assert run.status in (1, 4), run.detail
        assert detail in " ".join((run.stdout + run.stderr).split()), run.detail
        assert "Traceback" not in run.detail
        assert table.password("ch_vector") not in run.stdout + run.stderr


def test_a_server_that_is_busy_is_asked_again(site: ForkedSite, table: ClickHouse) -> None:
    lines = log_lines(site)
    insert(table, lines)
    table.set_faults(Fault.exception(202, on="SELECT", times=2))
    run = site.run(source(table), site.to_files())
    same(0, run.status, run.detail)
    assert run.result is not None
    same(len(lines), run.result["lines"]["lines"], "lines")


def opened(server: ClickHouse) -> TrackingTable:
    return TrackingTable(load({**source(server), "destination_provider": "LRS"}).source, 1.0)


def test_any_range_is_that_of_the_day(site: ForkedSite, table: ClickHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in pages, where a minute is too much for one answer, and with newlines in messages."""
    lines = log_lines(site, FIRST - timedelta(hours=20))
    lines[0] = json.dumps(json.loads(lines[0]), indent=1).encode()
    insert(table, lines)
    # Events of one second are in the order of their own times.
    days: dict[str, list[bytes]] = {}
    for line in lines:
        days.setdefault(json.loads(line)["time"][:10], []).append(line.replace(b"\n", b" ") + b"\n")
    monkeypatch.setattr(tracking_table, "SLICE_BYTES", 3000)
    tables = opened(table)
    listed = {obj.name: obj.size for obj in tables.listing("_tracking")}
    contents = {f"_tracking/{day}": b"".join(of_day) for day, of_day in days.items()}
    assert listed == {name: len(content) for name, content in contents.items()}

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(sorted(contents)), st.integers(0, 12_000), st.integers(0, 12_000))
    def ranges(name: str, start: int, end: int) -> None:
        assert b"".join(tables.read(name, start, end)) == contents[name][start:end]

    ranges()
    for name, content in contents.items():
        assert b"".join(tables.read(name)) == content
    for name in ("_tracking/2020-01-01", "_tracking/x", "other/2026-02-01"):
        with pytest.raises(ObjectGone):
            list(tables.read(name))


def test_a_day_that_changes_while_it_is_read_is_not_mixed(site: ForkedSite, table: ClickHouse) -> None:
    lines = log_lines(site)
    insert(table, lines)
    tables = opened(table)
    [first, *_] = tables.listing("_tracking/2026-02-03")
    assert len(b"".join(tables.read(first.name))) == first.size
    insert(table, lines[-1:], datetime(2026, 2, 3, 12, tzinfo=timezone.utc))
    insert(table, [line for line in lines if b"2026-02-03" in line])
    with pytest.raises(ObjectGone, match="was changed while it was read"):
        list(tables.read(first.name))


def test_an_unreachable_server_is_a_job_error() -> None:
    config = load(
        {
            "source_provider": "CLICKHOUSE",
            "source_host": "127.0.0.1",
            "source_port": 1,
            "source_container": "d",
            "source_prefix": "t",
        }
    )
    with pytest.raises(JobError, match="SOURCE_HOST"):
        TrackingTable(config.source, 0.0).check()
