"""The last line of a log that is still being written: its dead letter goes when the line was completed."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from tests.harness.forked_site import ForkedSite
from tests.harness.job import JobRun
from tests.harness.parity import scene
from tutor_transform_logs.demo import events

INCOMPLETE = "incomplete_line"


def line(number: int) -> bytes:
    event = events.build("edx.course.enrollment.activated", scene("", number))
    return events.to_json(event).encode() + b"\n"


LINES = [line(number) for number in range(6)]
HALF = len(LINES[3]) // 2
BEGUN = b"".join(LINES[:3]) + LINES[3][:HALF]
NO_JSON = b"no json\n"


@pytest.fixture
def run(site: ForkedSite) -> Any:
    def run(content: bytes | None = None, **more: Any) -> JobRun:
        if content is not None:
            site.place("tracking.log", content)
        return site.run(site.source(), site.to_files(), **more)

    return run


def letters(site: ForkedSite) -> list[dict[str, Any]]:
    """All that the ledger has."""
    files = sorted(site.ledger.rglob("dead-letters.jsonl"))
    found = [json.loads(text) for file in files for text in file.read_text().splitlines()]
    assert len(files) <= len(found), "an empty file"
    return found


def reasons(site: ForkedSite) -> list[str]:
    return [letter["reason"] for letter in letters(site)]


def test_it_goes_with_the_run_that_reads_the_whole_line(site: ForkedSite, run: Any) -> None:
    assert run(BEGUN).status == 0
    [letter] = letters(site)
    assert (letter["reason"], letter["offset"], letter["line_number"]) == (INCOMPLETE, len(b"".join(LINES[:3])), 4)
    assert "Dead letters of earlier runs: 1 file" in run(command="status").stdout
    assert run(b"".join(LINES)).status == 0
    assert letters(site) == []
    # The run itself has none, and made a statement of each line once.
    assert site.result()["reasons"] == {}
    assert site.result()["dead_letters"] == ""
    assert len(site.output_lines()) == len(LINES)
    assert "Dead letters" not in run(command="status").stdout
    assert "Dead letters" not in run().stdout
    verified = run(command="verify")
    assert verified.status == 0, verified.detail
    assert run(retry_failed=True).status == 0
    assert len(site.output_lines()) == len(LINES)


def test_others_in_its_file_stay(site: ForkedSite, run: Any) -> None:
    site.place("tracking.log-b", NO_JSON + LINES[5])
    run(NO_JSON + BEGUN)
    assert sorted(reasons(site)) == [INCOMPLETE, "no_json", "no_json"]
    kept = [letter for letter in letters(site) if letter["reason"] != INCOMPLETE]
    run(NO_JSON + b"".join(LINES))
    assert letters(site) == kept


@pytest.mark.parametrize("times", [1, 2])
def test_delivered_again_meanwhile_it_stays_an_incomplete_line(site: ForkedSite, run: Any, times: int) -> None:
    run(BEGUN)
    before = letters(site)
    for _ in range(times):
        assert run(retry_failed=True).status == 0
    [letter] = letters(site)
    assert letter == {**before[0], "detail": letter["detail"]}
    assert run(b"".join(LINES)).status == 0
    assert letters(site) == []
    assert len(site.output_lines()) == len(LINES)


def test_it_goes_after_the_log_was_rotated_and_compressed(site: ForkedSite, run: Any) -> None:
    run(BEGUN)
    (site.logs / "tracking.log").unlink()
    site.place("tracking.log.1.gz", gzip.compress(b"".join(LINES)))
    assert run(line(7) * 3).status == 0
    assert letters(site) == []
    assert len(site.output_lines()) == len(LINES) + 3


def test_longer_and_still_incomplete_it_is_there_once(site: ForkedSite, run: Any) -> None:
    run(BEGUN)
    run(b"".join(LINES[:3]) + LINES[3][: HALF + 20])
    [letter] = letters(site)
    assert (letter["reason"], letter["line"]) == (INCOMPLETE, LINES[3][: HALF + 20].decode())
    run(b"".join(LINES))
    assert letters(site) == []


def test_a_line_completed_as_something_else_has_another_dead_letter(site: ForkedSite, run: Any) -> None:
    run(BEGUN)
    run(BEGUN + b"\n" + LINES[4])
    assert reasons(site) == ["no_json"]


def test_that_of_another_log_of_the_same_name_stays(site: ForkedSite, run: Any) -> None:
    """Logs of this name with an incomplete line at the same offset: which of the two letters is whose is not known."""
    other = [raw.replace(b"2026-", b"2025-") for raw in LINES]
    run(BEGUN)
    (site.logs / "tracking.log").rename(site.logs / "tracking.log.1")
    run(b"".join(other[:3]) + other[3][:HALF])
    assert reasons(site) == [INCOMPLETE, INCOMPLETE]
    run(b"".join(other))
    assert reasons(site) == [INCOMPLETE, INCOMPLETE]
    # Once both are completed, both letters go.
    site.place("tracking.log.1", b"".join(LINES))
    run()
    assert letters(site) == []
