"""The helper that runs the job: a real process, in an LMS of its own, to a real LRS."""

from __future__ import annotations

from pathlib import Path

from tests.harness.http_sinks import CaliperSink
from tests.harness.job import DemoLms, local, run_job
from tests.harness.ralph import Lrs
from tutor_transform_logs.demo.log_writer import CALIPER_GOOD_NAMES, Mix, write_log

MIX = Mix(good=120, page_view=60, broken=3, unknown_user=5, type_error=2, blank=1)


def test_a_job_stores_what_the_log_writer_said(demo_lms: DemoLms, lrs: Lrs, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    log = write_log(tmp_path / "logs" / "tracking.log", MIX)
    config = {**local("source", tmp_path / "logs"), "destination_provider": "LRS", "lrs_endpoints": [lrs.endpoint]}
    run = run_job(config, demo_lms, folder=tmp_path)
    assert run.status == 0, run.stderr
    assert lrs.count() == log.xapi.statements == 120
    assert run.result is not None
    assert run.result["lines"]["transformed"] == 120
    assert run.result["lines"]["lines"] == log.lines
    assert len(run.dead_letters()) == 10
    again = run_job(config | {"strict": True, "restart": True}, demo_lms, folder=tmp_path)
    assert again.status == 3
    assert lrs.count() == 120


def test_a_job_sends_caliper_envelopes(demo_lms: DemoLms, caliper_sink: CaliperSink, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    log = write_log(tmp_path / "logs" / "tracking.log.gz", MIX, names=CALIPER_GOOD_NAMES)
    caliper_sink.authorization = "Bearer token"
    config = {
        **local("source", tmp_path / "logs"),
        "transformer_type": "caliper",
        "lrs_endpoints": [{"url": caliper_sink.url, "bearer": "token"}],
    }
    run = run_job(config, demo_lms, folder=tmp_path)
    assert run.status == 0, run.stderr
    assert len(caliper_sink.event_ids()) == log.caliper.statements == 120


def test_a_job_uses_the_routers_of_its_lms_on_mariadb(mariadb_lms: DemoLms, lrs: Lrs, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    log = write_log(tmp_path / "logs" / "tracking.log", Mix(good=20))
    mariadb_lms.add_router(lrs.url, auth_scheme="Basic", username=lrs.username, password=lrs.password)
    run = run_job(local("source", tmp_path / "logs"), mariadb_lms, folder=tmp_path)
    assert run.status == 0, run.stderr
    assert len(lrs.ids()) == log.xapi.statements == 20
