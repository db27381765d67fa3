"""Verify and repair, against a real LRS, one that goes by the book, and files that were damaged."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.harness import tally
from tests.harness.demo_lms import DemoLms
from tests.harness.forked_site import ForkedSite
from tests.harness.http_sinks import Answer, ScriptedLrs
from tests.harness.job import JobRun
from tests.harness.object_store import Bucket
from tests.harness.ralph import Lrs
from tutor_transform_logs.demo.log_writer import CALIPER_GOOD_NAMES, LOG_START, Mix, write_log

GOOD = 240
COPIES = 4
MADE = GOOD + COPIES
NEW_USER = """
import sys, django
django.setup()
from django.contrib.auth import get_user_model
get_user_model().objects.get_or_create(id=int(sys.argv[1]), defaults={"username": sys.argv[2]})
"""
MIX = Mix(good=GOOD, page_view=300, unknown_user=3, type_error=2, broken=3, copies=COPIES)


def write(world: ForkedSite, mix: Mix, name: str = "tracking.log", **more: Any) -> Path:
    write_log(world.logs / name, mix, **more)
    return world.logs / name


def done(world: ForkedSite, **more: Any) -> None:
    ran = world.run(**more)
    assert ran.status == 0, ran.detail


def table(ran: JobRun) -> dict[str, int]:
    """The numbers of the table that VERIFY prints for one destination."""
    rows = [line.split("  ") for line in ran.stdout.splitlines() if line.startswith("  ") and line[2] != " "]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    return {row[0]: int(row[1].replace(",", "")) for row in cells if len(row) > 1}


def verified(world: ForkedSite, status: int, expected: dict[str, int], **more: Any) -> JobRun:
    """Verify; see that it ends with this status and this table."""
    ran = world.run(command="verify", **more)
    tally.add("faults")
    tally.same((status, expected), (ran.status, table(ran)), ran.detail)
    return ran


def named(ran: JobRun) -> dict[str, str]:
    """The statements that VERIFY names, and where it says that they come from."""
    lines = [line.split("  ") for line in ran.stdout.splitlines() if line.startswith("    ")]
    return {line[2]: line[3] for line in lines}


def ledger_of(world: ForkedSite) -> dict[str, bytes]:
    folder = world.folder / "ledger"
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "lock"}


def spread(log: Path) -> str:
    """Make ten events a second of a thousand; gives the log's text."""

    def later(found: re.Match[str]) -> str:
        moment = datetime.fromisoformat(found[0])
        return (LOG_START + 100 * (moment - LOG_START)).isoformat(timespec="microseconds")

    log.write_text(re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00", later, log.read_text()))
    return log.read_text()


def line_of(text: str, statement: dict[str, Any]) -> str:
    """Where in the log the event of a statement is; its time says which it is."""
    [number] = [number for number, line in enumerate(text.splitlines(), 1) if statement["timestamp"] in line]
    return f"tracking.log, line {number}"


def test_in_ralph(world: ForkedSite, lrs: Lrs) -> None:
    """All there; some lost and one altered; a sample; repaired."""
    text = spread(write(world, MIX))
    world.to_lrs(lrs.endpoint)
    done(world)
    ledger = ledger_of(world)
    good = verified(world, 0, {"found": MADE, "missing": 0})
    assert "All expected statements were found." in good.stdout
    # Ralph gives pages of 100: nowhere near one request for each statement.
    [requests] = [line.rpartition("(")[2] for line in good.stdout.splitlines() if line.endswith("requests)")]
    assert int(requests.split()[0]) < 10
    assert ledger_of(world) == ledger

    held = {statement["id"]: statement for statement in lrs.statements()}
    unique = [statement for statement in held.values() if text.count(statement["timestamp"]) == 1]
    lost, altered = unique[3:150:21], unique[-1]
    lrs.lose(statement["id"] for statement in lost)
    lrs.alter(altered["id"], verb={"id": "http://example.org/other"})
    ill = {"found": MADE - 8, "missing": 7, "different": 1}
    bad = verified(world, 3, ill)
    assert named(bad) == {statement["id"]: line_of(text, statement) for statement in [*lost, altered]}
    assert "To send what is missing: --repair." in bad.stdout
    assert lrs.count() == GOOD - 7
    assert ledger_of(world) == ledger

    first, second = (world.run(command="verify", verify_sample=20) for _ in range(2))
    assert first.stdout == second.stdout
    assert sum(table(first).values()) == 20
    assert "Sample: 20 lines, drawn at random" in first.stdout
    verified(world, 3, ill, verify_sample=10_000)

    repaired = world.run(command="verify", repair=True)
    assert repaired.status == 3, repaired.detail
    assert "Repaired: 7 missing statements sent again." in repaired.stdout
    assert {statement["id"] for statement in lrs.statements()} == set(held)
    [other] = [statement for statement in lrs.statements() if statement["id"] == altered["id"]]
    assert other["verb"] == {"id": "http://example.org/other"}
    verified(world, 3, {"found": MADE - 1, "missing": 0, "different": 1}, repair=True)
    # It is a job like any other afterwards, and keeps no copy of the lines.
    assert world.run().stdout.startswith("Nothing new")
    assert not list(world.folder.rglob("missing.jsonl"))


def test_in_an_lrs_by_the_book(world: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    """One whose times are times of storing: each statement is asked for by its id. What was rejected is not missed."""
    write(world, Mix(good=60, unknown_user=2))
    world.to_lrs({"url": scripted_lrs.url})
    done(world)
    refused, *_, voided, lost = list(scripted_lrs.statements)
    scripted_lrs.statements.clear()
    scripted_lrs.refused = {refused: 422}
    assert world.run(restart=True).status == 3
    scripted_lrs.voided = {voided}
    del scripted_lrs.statements[lost]
    asked = len(scripted_lrs.requests)
    verified(world, 3, {"found": 57, "voided": 1, "missing": 1, "dead letters": 1})
    assert all(request.method == "GET" for request in scripted_lrs.requests[asked:])
    scripted_lrs.refused = {}
    repaired = world.run(command="verify", repair=True)
    assert repaired.status == 0, repaired.detail
    assert lost in scripted_lrs.statements
    assert refused not in scripted_lrs.statements


def test_one_lrs_away_and_one_that_may_not_be_read(world: ForkedSite, scripted_lrs: ScriptedLrs, lrs: Lrs) -> None:
    write(world, Mix(good=30))
    world.to_lrs(lrs.endpoint, {"url": scripted_lrs.url})
    done(world)
    ends: list[tuple[int, Answer, str]] = [
        (4, Answer(503), "run the same command again"),
        (1, Answer(403), "give them the right to read statements"),
        (1, Answer(200, "<html>", headers={"Content-Type": "text/html"}), "not with statements"),
        (1, Answer(200, b"[" * 100_000, headers={"Content-Type": "text/\x1b[2J"}), "with text/\\x1b[2J and not with"),
        (1, Answer(302, headers={"Location": "https://elsewhere.example.org/"}), "set that URL instead"),
    ]
    for status, answer, detail in ends:
        scripted_lrs.script = [answer] * 50
        ran = world.run(command="verify", lrs_max_wait_secs=1)
        tally.add("faults")
        tally.same(status, ran.status, ran.detail)
        assert "stopped: " in ran.stdout
        assert detail in ran.stdout
        assert "  found                    30\n" in ran.stdout


def test_a_log_that_was_rotated_grown_or_deleted(world: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    old = write(world, Mix(good=20))
    other = write(world, Mix(good=10), "tracking.log.2", seed=5)
    world.to_lrs({"url": scripted_lrs.url})
    done(world)
    (world.logs / "tracking.log-20260101.gz").write_bytes(gzip.compress(old.read_bytes()))
    old.unlink()
    with other.open("ab") as log:
        log.write(write(world, Mix(good=3), "more", seed=6).read_bytes())
    verified(world, 0, {"found": 30, "missing": 0})
    other.unlink()
    less = verified(world, 0, {"found": 20, "missing": 0})
    assert "not verified: tracking.log.2: not in the source any more" in less.stdout
    assert "All statements that could be verified were found." in less.stdout


def test_in_files(world: ForkedSite) -> None:
    write(world, MIX)
    world.settings |= {"batch_size": 20, "output_max_bytes": 150_000}
    done(world)
    # A second plan, with files of its own.
    write(world, Mix(good=15), "tracking.log.1", seed=9)
    done(world)
    ledger, before = ledger_of(world), {path: path.read_bytes() for path in world.outputs_on_disk()}
    verified(world, 0, {"found": MADE + 15, "missing": 0})
    assert (ledger_of(world), {path: path.read_bytes() for path in world.outputs_on_disk()}) == (ledger, before)

    path = max(before, key=lambda path: len(before[path]))
    lines = before[path].splitlines(keepends=True)
    removed, changed = json.loads(lines[7]), json.loads(lines[30])
    lines[30] = lines[30].replace(changed["verb"]["id"].encode(), b"http://example.org/other", 1)
    path.write_bytes(b"".join(lines[:7] + lines[8:]) + lines[0])
    bad = verified(world, 3, {"found": MADE + 13, "missing": 1, "different": 1, "surplus": 1})
    assert named(bad).keys() == {removed["id"], changed["id"]}
    assert "Lost and damaged" not in bad.stdout

    assert world.run(command="verify", repair=True).status == 3
    [new] = set(world.outputs_on_disk()) - set(before)
    assert [json.loads(line) for line in new.read_bytes().splitlines()] == [removed]
    verified(world, 3, {"found": MADE + 14, "missing": 0, "different": 1, "surplus": 1})
    verified(world, 3, {"found": MADE + 14, "missing": 0, "different": 1}, verify_sample=100_000)


@pytest.mark.parametrize("where", ["local", "nanio"])
def test_lost_and_damaged_batches(world: ForkedSite, nanio_bucket: Bucket, where: str) -> None:
    """Caliper, whose envelopes say when they were made: that does not count."""
    write(world, MIX, names=CALIPER_GOOD_NAMES)
    world.settings |= {"transformer_type": "caliper", "output_layout": "batches", "output_compression": "gzip"}
    world.settings["batch_size"] = 20
    if where == "nanio":
        world.in_bucket(nanio_bucket, "destination")
    done(world)
    verified(world, 0, {"found": MADE, "missing": 0})
    if where == "local":
        first, second = world.outputs_on_disk()[:2]
        first.unlink()
        second.write_bytes(second.read_bytes()[:-200])
    else:
        first_key, second_key, *_ = [key for key in nanio_bucket.keys("destination/") if key.endswith(".gz")]
        nanio_bucket.store.client().delete_object(Bucket=nanio_bucket.name, Key=first_key)
        nanio_bucket.put(second_key, nanio_bucket.get(second_key)[:-200])
    bad = world.run(command="verify")
    tally.same(3, bad.status, bad.detail)
    assert "  lost: " in bad.stdout
    assert "  damaged after " in bad.stdout
    assert "To write lost and damaged files again, with everything else: --restart." in bad.stdout
    lost = table(bad)["missing"]
    assert lost > 18
    repaired = world.run(command="verify", repair=True)
    assert f"Repaired: {lost} missing statements sent again." in repaired.stdout, repaired.detail
    # The files are as they were: what was in them is in another one now.
    verified(world, 3, {"found": MADE, "missing": 0})


def lose(path: Path, how: str) -> None:
    path.unlink()
    if how == "a directory":
        path.mkdir()


@pytest.mark.parametrize("how", ["gone", "a directory"])
def test_output_files_are_known_without_the_record_of_their_batches(world: ForkedSite, how: str) -> None:
    write(world, MIX)
    world.settings |= {"batch_size": 20, "output_max_bytes": 150_000}
    done(world)
    write(world, Mix(good=15), "tracking.log.1", seed=9)
    done(world)
    before = world.output()
    [job] = world.ledger.iterdir()
    lose(job / "0001/joining.json", how)
    verified(world, 0, {"found": MADE + 15, "missing": 0})
    done(world, command="verify", repair=True)
    assert world.output() == before
    first = world.outputs_on_disk()[0]
    in_first = len(first.read_bytes().splitlines())
    first.unlink()
    bad = verified(world, 3, {"found": MADE + 15 - in_first, "missing": in_first})
    assert f"  lost: {first}" in bad.stdout
    assert f"Repaired: {in_first} missing" in world.run(command="verify", repair=True).stdout
    assert len(world.output_lines()) == MADE + 15


@pytest.mark.parametrize("how", ["gone", "a directory"])
def test_output_files_that_no_record_names_are_not_written_again(world: ForkedSite, how: str) -> None:
    write(world, MIX)
    world.settings["batch_size"] = 20
    done(world)
    before = world.output()
    [job] = world.ledger.iterdir()
    lose(job / "0001/joining.json", how)
    (job / "0001/result.json").unlink()
    for more in ({}, {"repair": True}):
        ran = world.run(command="verify", **more)
        tally.same(1, ran.status, ran.detail)
        assert f"{job}/0001/joining.json is missing" in ran.detail
        assert str(world.outputs_on_disk()[0]) in ran.detail
        assert "report this" not in ran.detail
    assert world.output() == before


@pytest.mark.parametrize("layout", ["single", "batches"])
def test_files_are_known_without_the_entry_that_counts_them(world: ForkedSite, layout: str) -> None:
    write(world, MIX)
    world.settings |= {"batch_size": 20, "output_layout": layout}
    done(world)
    before = world.output()
    [entry] = world.ledger.glob("*/0001/000001.files.json")
    entry.unlink()
    verified(world, 0, {"found": MADE, "missing": 0})
    done(world, command="verify", repair=True)
    assert world.output() == before


def test_the_filters_of_the_job_are_those_of_its_verification(world: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    write(world, Mix(good=40))
    world.to_lrs({"url": scripted_lrs.url})
    world.settings["event"] = ["play_video", "edx.video.*"]
    done(world)
    some = len(scripted_lrs.statements)
    assert 0 < some < 40
    verified(world, 0, {"found": some, "missing": 0})
    verified(world, 0, {"found": some, "missing": 0}, verify_sample=1000)


def test_after_a_restart_only_what_was_made_since_counts(world: ForkedSite) -> None:
    write(world, Mix(good=10))
    world.settings["output_layout"] = "batches"
    done(world)
    done(world, restart=True)
    for path in world.outputs_on_disk():
        if "-0002-" in path.name:
            path.unlink()
    verified(world, 3, {"found": 0, "missing": 10})


def test_an_unfinished_run_is_verified_as_far_as_it_came(world: ForkedSite) -> None:
    write(world, Mix(good=60))
    assert world.run(steps={"label": "entry write: after", "number": 4}).status == -9
    ran = verified(world, 0, {"found": 24, "missing": 0})
    part = next(path for path in world.outputs_on_disk() if ".parts-" in str(path))
    part.unlink()
    verified(world, 3, {"found": 18, "missing": 6})
    refused = world.run(command="verify", repair=True)
    tally.same(1, refused.status, refused.detail)
    assert "run it again without --repair first" in refused.stderr
    assert "Traceback" not in ran.detail + refused.detail


def test_a_killed_repair_is_taken_up(new_world: Callable[[str], ForkedSite], new_lrs: Callable[[], Lrs]) -> None:
    for number, label in enumerate(
        ["save plan: after", "POST statements: sent", "entry write: after", "finish plan: before"]
    ):
        world, lrs = new_world(f"killed-{number}"), new_lrs()
        write(world, Mix(good=30))
        world.to_lrs(lrs.endpoint)
        done(world)
        lrs.lose([statement["id"] for statement in lrs.statements()][::3])
        killed = world.run(command="verify", repair=True, steps={"label": label, "number": 1})
        tally.add("kills")
        tally.same(-9, killed.status, f"not killed at {label}: {killed.detail}")
        again = world.run(command="verify", repair=True)
        tally.same(0, again.status, f"{label}: {again.detail}")
        tally.same(30, lrs.count(), label)
        assert not list(world.folder.rglob("missing.jsonl"))


REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "Caliper by HTTP": ({"transformer_type": "caliper"}, "Caliper has no way to read"),
    "a dry run": ({"dry_run": True}, "Leave --dry-run out"),
    "never run": ({}, "has not run yet"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_can_not_be_verified_is_said(world: ForkedSite, scripted_lrs: ScriptedLrs, name: str) -> None:
    more, detail = REFUSALS[name]
    write(world, Mix(good=3))
    world.to_lrs({"url": scripted_lrs.url})
    ran = world.run(command="verify", **more)
    tally.same((1, ""), (ran.status, ran.stdout), ran.detail)
    assert detail in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
    assert scripted_lrs.requests == []


def test_caliper_without_stable_ids_can_not_be_verified(world: ForkedSite) -> None:
    ran = world.run(command="verify", transformer_type="caliper", caliper_stable_ids=False)
    tally.same(1, ran.status, ran.detail)
    assert "CALIPER_STABLE_IDS" in ran.stderr


def test_lines_that_could_not_be_transformed_then_are_not_missed_now(
    demo_lms: DemoLms, new_world: Callable[..., ForkedSite], scripted_lrs: ScriptedLrs
) -> None:
    world = new_world("world", demo_lms)
    write(world, Mix(good=5, unknown_user=2), users=6)
    world.to_lrs({"url": scripted_lrs.url})
    done(world)
    [letters] = world.folder.rglob("dead-letters.jsonl")
    for letter in map(json.loads, letters.read_text().splitlines()):
        event = json.loads(letter["line"][letter["line"].index("{") :])
        demo_lms.run_python("-c", NEW_USER, str(event["context"]["user_id"]), event["username"])
    verified(world, 0, {"found": 5, "missing": 0, "dead letters": 2})
