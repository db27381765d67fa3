"""A worker keeps its connection to the LMS's database from one log to the next, and closes it in the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pymysql
import pytest

from tests.harness.demo_lms import DemoLms
from tests.harness.echo_job import EchoJob, line_of
from tests.harness.forked_site import ForkedSite
from tests.harness.mariadb import MariaDb
from tutor_transform_logs.demo.log_writer import Mix, write_log
from tutor_transform_logs.lms_job.work import worker

LOGS = 20


def status(server: MariaDb, name: str) -> int:
    """One of the server's counters."""
    with pymysql.connect(host="127.0.0.1", port=server.port, user="root") as connection:
        cursor = connection.cursor()
        cursor.execute("SHOW GLOBAL STATUS LIKE %s", (name,))
        [(_, value)] = cursor.fetchall()
    return int(value)


@pytest.mark.parametrize("workers", [1, 3])
def test_one_for_all_logs_and_none_is_left_to_the_server(
    mariadb_server: MariaDb, mariadb_lms: DemoLms, new_world: Callable[..., ForkedSite], workers: int
) -> None:
    site = new_world("site", mariadb_lms)
    for number in range(LOGS):
        write_log(site.logs / f"tracking.log-{number:02}", Mix(good=5), seed=number)
    before = [status(mariadb_server, name) for name in ("Connections", "Aborted_clients")]
    ran = site.run(site.to_files(), workers=workers)
    assert ran.status == 0, ran.detail
    # The server counts one that was closed a moment later.
    time.sleep(0.2)
    opened, aborted = (
        status(mariadb_server, name) - count
        for name, count in zip(("Connections", "Aborted_clients"), before, strict=True)
    )
    assert opened < LOGS
    assert aborted == 0


@pytest.mark.parametrize(("secs", "closed"), [(0.0, 3), (60.0, 0)])
def test_after_some_time_the_next_log_gets_a_new_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, secs: float, closed: int
) -> None:
    """With a job in this process, whose transformer asks no database."""
    calls: list[float] = []
    monkeypatch.setattr(worker, "CONNECTION_SECS", secs)
    monkeypatch.setattr(worker, "connections", SimpleNamespace(close_all=lambda: calls.append(time.monotonic())))
    job = EchoJob(tmp_path)
    for number in range(4):
        (job.logs / f"tracking.log-{number}").write_text(f"{line_of(str(number))}\n")
    assert job.run() == 0
    assert sum(1 for _ in job.box.delivered()) == 4
    deadline = time.monotonic() + 10
    while len(calls) < closed and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(calls) == closed
