"""The helper that runs the job: a real process, in an LMS of its own, to a real LRS."""

from __future__ import annotations

from pathlib import Path

from tests.harness.demo_lms import DemoLms
from tests.harness.forked_site import ForkedSite
from tests.harness.http_sinks import CaliperSink
from tests.harness.ralph import Lrs
from tutor_transform_logs.demo.log_writer import CALIPER_GOOD_NAMES, Mix

MIX = Mix(good=120, page_view=60, broken=3, unknown_user=5, type_error=2, blank=1)


def test_a_job_stores_what_the_log_writer_said(demo_lms: DemoLms, lrs: Lrs, tmp_path: Path) -> None:
    site = ForkedSite(tmp_path, demo_lms)
    log = site.log(MIX, users=50)
    site.settings = {**site.source(), "destination_provider": "LRS", "lrs_endpoints": [lrs.endpoint]}
    run = site.run()
    assert run.status == 0, run.stderr
    assert lrs.count() == log.xapi.statements == 120
    assert run.result is not None
    assert run.result["lines"]["transformed"] == 120
    assert run.result["lines"]["lines"] == log.lines
    assert len(run.dead_letters()) == 10
    again = site.run(strict=True, restart=True)
    assert again.status == 3
    assert lrs.count() == 120


def test_a_job_sends_caliper_envelopes(demo_lms: DemoLms, caliper_sink: CaliperSink, tmp_path: Path) -> None:
    site = ForkedSite(tmp_path, demo_lms)
    log = site.log(MIX, name="tracking.log.gz", users=50, names=CALIPER_GOOD_NAMES)
    caliper_sink.authorization = "Bearer token"
    endpoints = [{"url": caliper_sink.url, "bearer": "token"}]
    run = site.run(site.source(), transformer_type="caliper", lrs_endpoints=endpoints)
    assert run.status == 0, run.stderr
    assert len(caliper_sink.event_ids()) == log.caliper.statements == 120


def test_a_job_uses_the_routers_of_its_lms_on_mariadb(mariadb_lms: DemoLms, lrs: Lrs, tmp_path: Path) -> None:
    site = ForkedSite(tmp_path, mariadb_lms)
    log = site.log(Mix(good=20), users=50)
    mariadb_lms.add_router(lrs.url, auth_scheme="Basic", username=lrs.username, password=lrs.password)
    run = site.run(site.source())
    assert run.status == 0, run.stderr
    assert len(lrs.ids()) == log.xapi.statements == 20
