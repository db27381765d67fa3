"""A server that nobody has ever reached is a typo: the run ends at once. One that was reached before is waited for."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.harness.forked_site import ForkedSite
from tests.harness.http_sinks import Answer, ScriptedLrs, start_scripted_lrs
from tests.harness.object_store import start_nanio
from tests.harness.process import free_port
from tutor_transform_logs.demo.log_writer import Mix

NO_HOST = "no-such-host.invalid"
# What libraries say, and an operator need not know.
NOISE = ("Errno", "urllib3", "Connection object", "ConnectionPool", "Max retries", "NewConnection", "Traceback")


def to_lrs(url: str) -> dict[str, Any]:
    return {"destination_provider": "LRS", "lrs_endpoints": [{"url": url, "username": "u", "password": "p"}]}


def to_clickhouse(url: str) -> dict[str, Any]:
    return {"destination_provider": "CLICKHOUSE", "clickhouse_url": url, "clickhouse_database": "openedx"}


def from_store(url: str) -> dict[str, Any]:
    host, _, port = url.removeprefix("http://").partition(":")
    place = {"provider": "MINIO", "key": "k", "secret": "s", "container": "c", "host": host, "secure": False}
    return {f"source_{name}": value for name, value in place.items()} | {"source_port": int(port)}


@pytest.mark.parametrize("host", ["127.0.0.1", NO_HOST])
@pytest.mark.parametrize("config", [to_lrs, to_clickhouse, from_store])
def test_an_address_that_never_worked_ends_the_run_at_once_in_one_line(
    site: ForkedSite, host: str, config: Any
) -> None:
    site.log(Mix(good=3))
    began = time.monotonic()
    run = site.run(site.source(), config(f"http://{host}:{free_port()}"), lrs_max_wait_secs=600.0)
    assert time.monotonic() - began < 30
    assert run.status == 1, run.detail
    [said] = [line for line in run.detail.splitlines() if "can't be reached" in line]
    assert host in said
    assert f"({'no such host' if host == NO_HOST else 'connection refused'}), and never was" in said
    assert "heck " in said
    assert "trying again" not in run.detail
    for noise in NOISE:
        assert noise not in run.detail


def test_an_lrs_that_took_statements_before_is_waited_for(site: ForkedSite) -> None:
    """The nightly run, while the LRS is down: an outage."""
    site.log(Mix(good=3))
    with start_scripted_lrs() as lrs:
        assert site.run(site.source(), to_lrs(lrs.url)).status == 0
    site.log(Mix(good=3), name="tracking.log.1", seed=2)
    run = site.run(site.source(), to_lrs(lrs.url), lrs_max_wait_secs=1.0)
    assert run.status == 4, run.detail
    assert "does not answer (connection refused); trying again in" in run.stderr
    for noise in NOISE:
        assert noise not in run.detail


@pytest.mark.parametrize("workers", [1, 2])
def test_an_outage_in_the_middle_of_the_first_run_is_one(
    site: ForkedSite, scripted_lrs: ScriptedLrs, workers: int
) -> None:
    site.log(Mix(good=400))
    scripted_lrs.script = [None] * 4 + [Answer(no_answer=True)] * 500
    run = site.run(
        site.source(),
        to_lrs(scripted_lrs.url),
        workers=workers,
        batch_size=20,
        segment_bytes=64 * 1024,
        lrs_max_wait_secs=1.0,
    )
    assert run.status == 4, run.detail


def test_a_store_whose_logs_were_read_before_is_waited_for(site: ForkedSite, tmp_path: Path) -> None:
    site.log(Mix(good=3))
    with start_nanio(tmp_path / "store") as store:
        bucket = store.bucket("logs")
        bucket.put("tracking.log", (site.logs / "tracking.log").read_bytes())
        assert site.run(bucket.settings("source"), site.to_files()).status == 0
    run = site.run(bucket.settings("source"), site.to_files(), lrs_max_wait_secs=1.0)
    assert run.status == 4, run.detail
    assert ": connection refused" in run.stderr
    for noise in NOISE:
        assert noise not in run.detail
