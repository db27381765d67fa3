"""What must be so after a run, and what ERB itself makes of the same lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from event_routing_backends.management.commands.helpers.event_log_parser import parse_json_event

from tests.harness import tally
from tests.harness.erb import statements_of_erb
from tests.harness.job import JobRun
from tests.harness.site import unpacked
from tutor_transform_logs.demo.outcomes import Expected


def erbs_ids(lines: Iterable[bytes]) -> set[str]:
    """The ids of the xAPI statements that ERB makes, in this process, of those of ``lines`` that it can."""
    ids = set()
    for line in lines:
        event = parse_json_event(line.decode("utf-8", "replace")) if line else None
        try:
            made = statements_of_erb("xapi", event) if event and "name" in event else []
        except Exception:
            continue
        ids |= {statement["id"] for statement in made}
    return ids


def statements(content: bytes) -> list[dict[str, Any]]:
    """The statements of an output file, which may be gzipped."""
    content = unpacked(content)
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
    for destination in result["destinations"]:
        assert destination["made"] + destination["not_routed"] == expected.statements
    check_sums(result)
    assert result["done"]
    assert result["status"] == status
    assert sum(result["reasons"].values()) == len(run.dead_letters())
    assert "accounted for." in run.stdout
    assert "Traceback" not in run.stdout + run.stderr
    return result


def check_sums(result: Mapping[str, Any]) -> None:
    """DESIGN's first promise, from the saved result alone."""
    lines = result["lines"]
    outcomes = sum(count for name, count in lines.items() if name != "lines")
    tally.same(lines["lines"], outcomes, f"lines do not add up: {lines}")
    for destination in result["destinations"]:
        got = destination["stored"] + destination["duplicates"] + destination["rejected"]
        tally.same(destination["made"], got, f"statements do not add up: {destination}")
    tally.same([], result["accounting_errors"], "the job itself found errors")


def assert_refused(run: JobRun, *detail: str, secrets: Iterable[str] = ()) -> None:
    """The run ended with status 1 and one clear line that holds ``detail``."""
    assert run.status == 1, run.stdout + run.stderr
    assert "Traceback" not in run.stdout + run.stderr
    before = ("20", "  ", "Destination: ", "Listing ")
    [line] = [line for line in run.stderr.splitlines() if line and not line.startswith(before)]
    for word in detail:
        assert word in line, (word, line)
    assert run.stdout == ""
    for secret in secrets:
        assert secret not in run.stdout + run.stderr
