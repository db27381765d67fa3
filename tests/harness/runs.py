"""Runs of the job on folders of a test, and what is to be found after them."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from event_routing_backends.management.commands.helpers.event_log_parser import parse_json_event

from tests.harness.erb import statements_of_erb
from tests.harness.job import DemoLms, JobRun, local, run_job
from tutor_transform_logs.demo import log_writer
from tutor_transform_logs.demo.log_writer import BigLog, Mix
from tutor_transform_logs.demo.outcomes import Expected

# Users 1 to 6 all have their external ids from the seed, so every copy of the LMS makes the same statements of theirs.
USERS = 6
SINGLE_NAME = re.compile(r"\d\d-\d\d-\d\d_\d\d-\d\d-\d\d_(xapi|caliper)(-\d+)?\.log(\.gz)?")


@dataclass(frozen=True)
class Site:
    """An LMS with a folder of logs, one for output, and the job's ledger."""

    lms: DemoLms
    folder: Path

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def source(self, prefix: str = "tracking.log") -> dict[str, Any]:
        return local("source", self.logs, prefix=prefix)

    def to_files(self, prefix: str = "") -> dict[str, Any]:
        return local("destination", self.out, prefix=prefix)

    def log(self, mix: Mix, *, name: str = "tracking.log", **more: Any) -> BigLog:
        """Write a log of users that every copy of the LMS knows under the same ids."""
        return log_writer.write_log(self.logs / name, mix, **{"users": USERS, **more})

    def run(self, *parts: Mapping[str, Any], command: str = "run", lms: DemoLms | None = None, **more: Any) -> JobRun:
        config: dict[str, Any] = {"lrs_max_wait_secs": 5}
        for part in (*parts, more):
            config.update(part)
        return run_job(config, lms or self.lms, folder=self.folder, command=command)

    def output(self, below: str = "") -> dict[str, bytes]:
        """All files of the output, hidden ones too, by their name below it."""
        root = self.out / below
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def site(demo_lms: DemoLms, tmp_path: Path) -> Site:
    made = Site(demo_lms, tmp_path)
    made.logs.mkdir()
    made.out.mkdir()
    return made


def erbs_ids(lines: Iterable[bytes]) -> set[str]:
    """The ids of the xAPI statements that ERB makes, in this process, of those of ``lines`` that it can."""
    ids = set()
    for line in lines:
        event = parse_json_event(line.decode("utf-8", "replace")) if line else None
        try:
            ids |= {one["id"] for one in statements_of_erb("xapi", event)} if event and "name" in event else set()
        except Exception:
            continue
    return ids


def statements(content: bytes) -> list[dict[str, Any]]:
    """The statements of an output file, which may be gzipped."""
    if content.startswith(b"\x1f\x8b"):
        content = gzip.decompress(content)
    assert content.endswith(b"\n")
    return [json.loads(line) for line in content.splitlines()]


def assert_accounted(run: JobRun, expected: Expected, *, status: int = 0) -> dict[str, Any]:
    """The run's lines are what they should have become, and its sums hold; gives its result."""
    assert run.status == status, run.stdout + run.stderr[-3000:]
    assert run.result is not None
    result = run.result
    lines = result["lines"]
    failed_in_erb = expected.untransformable + expected.count("no_transformer")
    assert lines == {
        "lines": expected.lines,
        "blank": expected.count("blank"),
        "unparsable": expected.count("unparsable"),
        "unknown_event": expected.count("unknown_event"),
        "filtered": 0,
        "transformed": expected.count("transformed"),
        "untransformable": failed_in_erb,
    }
    assert result["reasons"].get("unknown_user", 0) == expected.count("unknown_user")
    assert result["reasons"].get("unknown_course", 0) == expected.count("unknown_course")
    for one in result["destinations"]:
        assert one["made"] + one["not_routed"] == expected.statements
        assert one["made"] == one["stored"] + one["duplicates"] + one["rejected"]
    assert result["accounting_errors"] == []
    assert result["done"]
    assert result["status"] == status
    assert sum(result["reasons"].values()) == len(run.dead_letters())
    assert "accounted for." in run.stdout
    assert "Traceback" not in run.stdout + run.stderr
    return result


def assert_refused(run: JobRun, *detail: str, secrets: Iterable[str] = ()) -> None:
    """The run ended with status 1 and one clear line that holds ``detail``."""
    assert run.status == 1, run.stdout + run.stderr
    assert "Traceback" not in run.stdout + run.stderr
    [line] = [line for line in run.stderr.splitlines() if line and not line.startswith(("20", "  ", "Listing "))]
    for word in detail:
        assert word in line
    assert run.stdout == ""
    for secret in secrets:
        assert secret not in run.stdout + run.stderr
