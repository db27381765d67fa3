"""A destination that is added later gets the backlog; those before it get only what is new."""

from __future__ import annotations

import gzip

import pytest

from tests.harness.forked_site import ForkedSite
from tests.harness.http_sinks import ScriptedLrs, start_scripted_lrs
from tests.harness.runs import erbs_ids
from tutor_transform_logs.demo.log_writer import Mix

pytestmark = pytest.mark.usefixtures("lms")


@pytest.mark.parametrize("since", ["nothing", "appended", "rotated and compressed"])
def test_a_new_lrs_gets_the_backlog_and_the_other_one_only_what_is_new(
    site: ForkedSite, scripted_lrs: ScriptedLrs, since: str
) -> None:
    log = site.log(Mix(good=40, broken=2))
    whole = (site.logs / "tracking.log").read_bytes()
    cut = len(whole) if since == "nothing" else whole.index(b"\n", len(whole) // 2) + 1
    (site.logs / "tracking.log").write_bytes(whole[:cut])
    first = site.run(site.source(), lrs_endpoints=[{"url": scripted_lrs.url}], batch_size=7)
    assert first.status == 0, first.stdout
    before = len(scripted_lrs.requests)
    if since == "rotated and compressed":
        (site.logs / "tracking.log").unlink()
        (site.logs / "tracking.log-20260101.gz").write_bytes(gzip.compress(whole))
    else:
        (site.logs / "tracking.log").write_bytes(whole)
    with start_scripted_lrs() as new:
        both = [{"url": scripted_lrs.url}, {"url": new.url}]
        second = site.run(site.source(), lrs_endpoints=both, batch_size=7)
        assert second.status == 0, second.stdout
        assert second.result is not None
        assert second.result["lines"]["lines"] == log.xapi.lines
        assert set(new.statements) == set(scripted_lrs.statements) == erbs_ids(whole.splitlines())
        assert scripted_lrs.repeated == new.repeated == 0
        assert sum(len(request.json()) for request in scripted_lrs.requests[before:]) < len(new.statements)
        assert site.run(site.source(), lrs_endpoints=both).stdout.startswith("Nothing new")
