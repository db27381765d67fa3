"""Where statements are logged, in an LMS that logs as Tutor's does: nowhere, unless somebody asked for it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from tests.harness.demo_lms import DemoLms
from tests.harness.erb import transformer
from tests.harness.forked_site import ForkedSite
from tests.harness.job import JobRun
from tests.harness.lms_logging import tutor_logging
from tests.harness.runs import erbs_ids
from tutor_transform_logs.demo.log_writer import Mix
from tutor_transform_logs.demo.outcomes import Expected
from tutor_transform_logs.lms_job.transform.transformer import Transformer

pytestmark = pytest.mark.usefixtures("lms")

MIX = Mix(good=400, unknown_user=2, broken=3)
ON_PURPOSE = {"on_purpose": {"class": "logging.FileHandler", "formatter": "raw"}}
LINE_OF_LMS = re.compile(r"^\d{4}-\d\d-\d\d [\d:,]+ [A-Z]+ \d+ \[(?P<logger>[\w.]+)\] \S+ - (?P<message>.*)$")
STATEMENT = '"version": "1.0.3"'


@dataclass(frozen=True)
class LoggingSite:
    """A site whose LMS logs to ``folder``, and its log to replay."""

    site: ForkedSite
    lms: DemoLms
    folder: Path
    ids: frozenset[str]
    expected: Expected

    def run(self, **more: Any) -> JobRun:
        for path in self.folder.iterdir():
            path.write_text("")
        return self.site.run(self.site.source(), self.site.to_files(), lms=self.lms, segment_bytes=64 * 1024, **more)

    def all_log(self) -> str:
        """What the run left in the LMS's log; that it is there shows that the LMS's logging was configured."""
        return (self.folder / "all.log").read_text()

    def on_purpose(self) -> list[str]:
        """The lines that the site's own handler got."""
        return (self.folder / "on_purpose.log").read_text().splitlines()


@pytest.fixture(scope="module")
def folder_of_lms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for all tests, as an LMS is started for each LOGGING."""
    return tmp_path_factory.mktemp("lms-logs")


@pytest.fixture
def make(site: ForkedSite, folder_of_lms: Path) -> Callable[..., LoggingSite]:
    log = site.log(MIX)
    ids = frozenset(erbs_ids(log.path.read_bytes().splitlines()))

    def make(*on: str) -> LoggingSite:
        handlers = {"on_purpose": {**ON_PURPOSE["on_purpose"], "filename": str(folder_of_lms / "on_purpose.log")}}
        logging = tutor_logging(folder_of_lms, handlers, on)
        return LoggingSite(site, site.lms.with_settings(LOGGING=logging), folder_of_lms, ids, log.xapi)

    return make


def logged(text: str) -> set[str]:
    """The ids of the statements that a text in the LMS's format has, as log forwarders find them."""
    found = (LINE_OF_LMS.match(line) for line in text.splitlines())
    return {json.loads(line["message"])["id"] for line in found if line and line["logger"] == "xapi_tracking"}


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("on", [(), ("console",), ("local", "console")], ids=str)
def test_no_statement_is_in_the_logs(
    make: Callable[..., LoggingSite], dry_run: bool, workers: int, on: tuple[str, ...]
) -> None:
    site = make(*on)
    run = site.run(dry_run=dry_run, workers=workers)
    assert run.status == 0, run.stderr
    assert site.all_log() == ""
    assert [line for line in run.stderr.splitlines() if STATEMENT in line or LINE_OF_LMS.match(line)] == []
    shown = [line for line in run.stdout.splitlines() if STATEMENT in line]
    assert bool(shown) == dry_run
    assert len(shown) <= 3
    assert {json.loads(line)["id"] for line in shown} <= site.ids
    assert not any(LINE_OF_LMS.match(line) for line in run.stdout.splitlines())


@pytest.mark.parametrize("dry_run", [False, True])
def test_to_a_program_every_line_of_both_streams_is_json(make: Callable[..., LoggingSite], dry_run: bool) -> None:
    site = make()
    run = site.run(dry_run=dry_run, workers=2, log_format="json")
    assert run.status == 0, run.stderr
    said = [json.loads(line) for line in run.stderr.splitlines()]
    assert all(line["message"] for line in said)
    results = [json.loads(line) for line in run.stdout.splitlines()]
    assert [result["event"] for result in results] == (["sample"] if dry_run else []) + ["result"]
    if dry_run:
        assert {statement["id"] for statement in results[0]["statements"]} <= site.ids
    assert site.all_log() == ""


def test_handlers_of_the_loggers_own_get_every_statement_of_a_run(make: Callable[..., LoggingSite]) -> None:
    site = make("on_purpose")
    run = site.run(workers=2)
    assert run.status == 0, run.stderr
    assert len(site.on_purpose()) == site.expected.statements
    assert {json.loads(line)["id"] for line in site.on_purpose()} == site.ids
    assert site.all_log() == ""
    assert STATEMENT not in run.stderr


def test_erbs_switch_turns_them_off(make: Callable[..., LoggingSite]) -> None:
    site = make("on_purpose")
    lms = site.lms.with_settings(XAPI_EVENT_LOGGING_ENABLED=False)
    assert replace(site, lms=lms).run().status == 0
    assert site.on_purpose() == []


@pytest.mark.usefixtures("lms")
@pytest.mark.parametrize("enabled", [True, False])
def test_a_second_transformer_of_a_process_sees_erbs_switch_as_the_lms_has_it(enabled: bool) -> None:
    """PLAN makes one of its own where it looks at what a table keeps."""
    with override_settings(XAPI_EVENT_LOGGING_ENABLED=enabled), transformer("xapi") as first:
        assert first.logging_enabled is enabled
        assert Transformer("xapi", True, 1.0).logging_enabled is enabled


def test_a_dry_run_does_not_feed_them(make: Callable[..., LoggingSite]) -> None:
    site = make("on_purpose")
    assert site.run(dry_run=True).status == 0
    assert site.on_purpose() == []


@pytest.mark.parametrize("dry_run", [False, True])
def test_statements_are_logged_where_they_are_asked_for(make: Callable[..., LoggingSite], dry_run: bool) -> None:
    site = make("on_purpose")
    run = site.run(dry_run=dry_run, log_statements=True, workers=2)
    assert run.status == 0, run.stderr
    assert len(site.on_purpose()) == site.expected.statements
    for text in (site.all_log(), run.stderr):
        assert text.count("[xapi_tracking]") == site.expected.statements
        assert logged(text) == site.ids
    # What else the LMS logs is not among them.
    assert all("[xapi_tracking]" in line for line in site.all_log().splitlines())
