"""What is delivered to a database that Aspects' dashboards do not read is said before a run, and by --check."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.harness.forked_site import ForkedSite
from tests.harness.process import free_port
from tutor_transform_logs.demo.log_writer import Mix
from tutor_transform_logs.lms_job.deliver import dashboards, tables
from tutor_transform_logs.lms_job.deliver.clickhouse import ClickHouse, Table
from tutor_transform_logs.lms_job.deliver.lrs import Lrs
from tutor_transform_logs.lms_job.deliver.lrs_client import Target
from tutor_transform_logs.lms_job.report.next_steps import FOR_ASPECTS, next_steps

VECTOR = {"url": "http://clickhouse:8123", "xapi_database": "openedx"}
RALPH = {"url": "http://clickhouse:8123", "xapi_database": "xapi"}


def lrs(url: str) -> Lrs:
    return Lrs(Target(url, "xapi"), 1, 1, 1)


def table(url: str, database: str) -> ClickHouse:
    return ClickHouse(Table(url, database, "xapi_events_all"), 1, 1, 1)


@pytest.mark.parametrize(
    ("backend", "destination", "detail"),
    [
        (VECTOR, lrs("http://ralph:8100/xAPI/statements"), "Set TRANSFORM_LOGS_DESTINATION_PROVIDER to CLICKHOUSE."),
        (VECTOR, lrs("https://ralph.lms.example.org/xAPI"), "they read the database openedx, and Ralph stores in xapi"),
        (VECTOR, table("http://clickhouse:8123", "xapi"), "Set TRANSFORM_LOGS_CLICKHOUSE_DATABASE to openedx."),
        (RALPH, table("http://clickhouse:8123/", "openedx"), "Set TRANSFORM_LOGS_CLICKHOUSE_DATABASE to xapi."),
        (VECTOR, lrs("https://lrs.example.org/xAPI"), ""),
        (RALPH, lrs("http://ralph:8100"), ""),
        (VECTOR, table("http://clickhouse:8123", "openedx"), ""),
        (VECTOR, table("http://another:8123", "xapi"), ""),
        (None, lrs("http://ralph:8100"), ""),
        ({"url": "http://clickhouse:8123"}, lrs("http://ralph:8100"), ""),
    ],
)
def test_a_notice_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch, backend: Any, destination: Lrs | ClickHouse, detail: str
) -> None:
    settings = SimpleNamespace(**{tables.LMS_SETTING: backend})
    monkeypatch.setattr("django.conf.settings", settings)
    said = list(dashboards.notices([destination]))
    assert len(said) == bool(detail)
    assert detail in "".join(said)


@pytest.mark.parametrize(
    ("backend", "destination", "fed"),
    [
        (VECTOR, table("http://clickhouse:8123", "openedx"), True),
        (RALPH, table("http://clickhouse:8123", "xapi"), True),
        (VECTOR, table("http://clickhouse:8123", "xapi"), False),
        (VECTOR, table("http://another:8123", "openedx"), False),
        (RALPH, lrs("http://ralph:8100"), False),
        (None, table("http://clickhouse:8123", "openedx"), False),
    ],
)
def test_what_the_dashboards_show_has_next_steps(
    monkeypatch: pytest.MonkeyPatch, backend: Any, destination: Lrs | ClickHouse, fed: bool
) -> None:
    monkeypatch.setattr("django.conf.settings", SimpleNamespace(**{tables.LMS_SETTING: backend}))
    assert next_steps([destination], [1]) == (FOR_ASPECTS if fed else ())
    assert next_steps([destination], [0]) == ()


def test_a_router_that_aspects_3_left_is_told(site: ForkedSite) -> None:
    """As on an upgraded site where the destination is set to LRS. Ralph is not there any more."""
    site.log(Mix(good=3))
    site.lms.add_router(f"http://ralph.localhost:{free_port()}/xAPI/statements")
    lms = site.lms.with_settings(EVENT_SINK_CLICKHOUSE_BACKEND_CONFIG=VECTOR)
    detail = "Aspects' dashboards will not show what is sent to http://ralph.localhost"
    check = site.run(site.source(), command="check", lms=lms)
    assert detail in " ".join(check.stdout.split())
    run = site.run(site.source(), lms=lms, lrs_max_wait_secs=0.1)
    assert run.status == 1
    assert detail in run.stderr
