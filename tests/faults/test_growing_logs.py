"""A log with lines in parts that grows, wherever it ended: the same statements as of the whole log, each once."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tests.harness import collectors, tally
from tests.harness.forked_site import ForkedSite
from tests.harness.http_sinks import ScriptedLrs, start_scripted_lrs
from tests.harness.job import JobRun
from tests.harness.kills import chosen, steps_of
from tests.harness.parity import scene
from tests.harness.runs import check_sums
from tutor_transform_logs.demo import events
from tutor_transform_logs.lms_job.model.plan import HEAD_BYTES

NewWorld = Callable[[str], ForkedSite]


def event(log: int, number: int) -> bytes:
    """Of another time in each log, and so a statement with another id."""
    time = datetime(2026, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=log * 10 + number)
    made = events.build("edx.course.enrollment.activated", replace(scene("", 4), time=time.isoformat()))
    # Logs are told apart by their first bytes.
    context = {"log": log, **made["context"]}
    kept = ("username", "event", "time", "event_source", "event_type")
    return json.dumps({"name": made["name"], "context": context, **{key: made[key] for key in kept}}).encode()


def mixed(log: int, wrap: Callable[..., list[bytes]]) -> bytes:
    """Lines of two streams, most of them in parts, and nearly always one that is unfinished."""
    first, last = (wrap([event(log, number)], [90, 200]) for number in (0, 1))
    whole = wrap([event(log, 2)], stream="stderr")
    other = wrap([event(log, 3)], [150], stream="stderr")
    noise = wrap([b"GET /heartbeat"], [5], stream="stderr")
    order = [first[0], whole[0], first[1], other[0], first[2], last[0], other[1]]
    order += [noise[0], last[1], *noise[1:], last[2]]
    return collectors.joined(order)


def in_one_stream(log: int, wrap: Callable[..., list[bytes]]) -> bytes:
    lines = [event(log, 0), b"GET /heartbeat", event(log, 1), event(log, 2)]
    return collectors.joined(wrap(lines, [90, 200]))


CONTENTS: Mapping[str, Callable[[int], bytes]] = {
    "docker": lambda log: mixed(log, collectors.docker),
    "cri": lambda log: mixed(log, collectors.cri),
    "fluent bit": lambda log: in_one_stream(log, collectors.fluent_bit),
    "fluentd": lambda log: in_one_stream(log, collectors.fluentd_driver),
}


@pytest.mark.parametrize("form", CONTENTS)
def test_wherever_it_ended_it_makes_the_same_statements(new_world: NewWorld, form: str) -> None:
    """Each log ends at another byte when the first run reads it; ``tests/job/test_batches`` tries all bytes."""
    step = 1 if tally.LONG else 31
    logs = {f"tracking.log.{cut:05}": cut for cut in range(1, len(CONTENTS[form](0)), step)}
    grown, undisturbed = new_world("grown"), new_world("undisturbed")
    for name, cut in logs.items():
        undisturbed.place(name, CONTENTS[form](cut))
        grown.place(name, CONTENTS[form](cut)[:cut])
    run(undisturbed)
    run(grown)
    tally.add("inputs", len(logs))
    for name, cut in logs.items():
        grown.place(name, CONTENTS[form](cut))
    run(grown)
    expected, found = Counter(undisturbed.output_lines()), Counter(grown.output_lines())
    assert len(expected) >= 3 * len(logs)
    differ = [*(expected - found), *(found - expected)]
    tally.same([], differ, "statements that came too often, or not at all")
    assert letters(grown) == letters(undisturbed)
    assert run(grown).stdout.startswith("Nothing new")
    verified = grown.run(command="verify")
    tally.same(0, verified.status, verified.detail)


def test_an_lrs_gets_each_statement_once(new_world: NewWorld, scripted_lrs: ScriptedLrs) -> None:
    logs = {f"tracking.log.{cut:05}": cut for cut in range(1, len(CONTENTS["cri"](0)), 97)}
    world = new_world("grown")
    world.to_lrs({"url": scripted_lrs.url, "username": "u", "password": "p"})
    for end in (lambda cut: cut, lambda cut: cut + 200, lambda _: None):
        for name, cut in logs.items():
            world.place(name, CONTENTS["cri"](cut)[: end(cut)])
        run(world)
    tally.same((4 * len(logs), 0), (len(scripted_lrs.statements), scripted_lrs.repeated), "statements")


def test_an_lrs_that_is_added_gets_all_and_the_other_one_nothing_twice(
    new_world: NewWorld, scripted_lrs: ScriptedLrs
) -> None:
    """What was whole behind an unfinished line is known to one, and new to the other."""
    logs = {f"tracking.log.{cut:05}": cut for cut in range(900, len(CONTENTS["cri"](0)), 130)}
    world = new_world("grown")
    world.to_lrs({"url": scripted_lrs.url, "username": "u", "password": "p"})
    for name, cut in logs.items():
        world.place(name, CONTENTS["cri"](cut)[:cut])
    run(world)
    assert scripted_lrs.statements
    with start_scripted_lrs() as added:
        world.to_lrs(*({"url": lrs.url, "username": "u", "password": "p"} for lrs in (scripted_lrs, added)))
        for name, cut in logs.items():
            world.place(name, CONTENTS["cri"](cut))
        run(world)
        tally.same((4 * len(logs), 0), (len(scripted_lrs.statements), scripted_lrs.repeated), "statements")
        tally.same((4 * len(logs), 0), (len(added.statements), added.repeated), "statements of the new one")


@pytest.mark.parametrize("form", ["docker", "cri"])
def test_cut_off_and_whole_later_it_makes_the_same_statements(new_world: NewWorld, form: str) -> None:
    """As a compressed log that is read while it is copied to the source."""
    length = len(CONTENTS[form](0))
    logs = {f"tracking.log.{cut:05}.gz": cut for cut in range(300, length, 29 if tally.LONG else 290)}
    cut_off, whole = new_world("cut-off"), new_world("whole")
    for name, cut in logs.items():
        packed = gzip.compress(CONTENTS[form](cut), 0)
        whole.place(name, packed)
        cut_off.place(name, packed[:cut])
    run(whole)
    assert run(cut_off, status=3).detail.count("truncated gzip data") >= len(logs)
    for name in logs:
        cut_off.place(name, (whole.logs / name).read_bytes())
    run(cut_off)
    tally.same(sorted(whole.output_lines()), sorted(cut_off.output_lines()), "statements")
    assert letters(cut_off) == letters(whole)


def test_so_does_a_packed_archive_of_a_small_log(new_world: NewWorld) -> None:
    """The log is shorter than what its fingerprint is usually made of, and then ends before that."""
    logs = range(40, 100, 1 if tally.LONG else 4)
    cut_off, whole = new_world("cut-off"), new_world("whole")
    for log in logs:
        lines = collectors.joined([event(log, number) for number in range(3)])
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            member = tarfile.TarInfo("t.log")
            member.size = len(lines)
            tar.addfile(member, io.BytesIO(lines))
        assert 512 < len(lines) < HEAD_BYTES
        # Without most of the zeros at its end.
        packed = gzip.compress(archive.getvalue()[: tarfile.BLOCKSIZE * (len(lines) // tarfile.BLOCKSIZE + 4)], 0)
        whole.place(f"{log}.tar", packed)
        cut_off.place(f"{log}.tar", packed[: len(packed) * log // 100])
    run(whole)
    ran = run(cut_off, status=3)
    tally.add("inputs", len(logs))
    assert "truncated" in ran.detail
    read_first = len(cut_off.output_lines())
    for log in logs:
        cut_off.place(f"{log}.tar", (whole.logs / f"{log}.tar").read_bytes())
    run(cut_off)
    assert 0 < read_first < len(cut_off.output_lines())
    tally.same(sorted(whole.output_lines()), sorted(cut_off.output_lines()), "statements")
    assert letters(cut_off) == letters(whole)


def test_killed_while_it_reads_the_rest_it_is_the_same(new_world: NewWorld) -> None:
    steps = ["batch: before", "deliver: after", "entry write: half", "entry write: after"]
    content = CONTENTS["cri"](1)

    def world_of(name: str, cut: int) -> ForkedSite:
        world = new_world(f"{name}-{cut}")
        world.place("tracking.log", content[:cut])
        run(world)
        world.place("tracking.log", content)
        return world

    for cut in range(len(content) // 2, len(content), 90 if tally.LONG else 400):
        reference = world_of("reference", cut)
        labels = steps_of(reference, steps)
        expected = told(reference)
        for number, (label, occurrence) in enumerate(chosen(labels, steps, every=tally.LONG)):
            world = world_of(f"killed-{number}", cut)
            killed = world.run(steps={"label": label, "number": occurrence})
            tally.add("kills")
            tally.same(-9, killed.status, f"not killed at {label} {occurrence}: {killed.detail}")
            again = world.run()
            tally.same(0, again.status, again.detail)
            tally.same(expected, told(world), f"cut at {cut}, killed at {label} {occurrence}")


@pytest.mark.parametrize("form", ["docker", "cri", "plain"])
def test_rotated_in_the_middle_of_a_line_both_halves_say_so(new_world: NewWorld, form: str) -> None:
    """Rotated between two runs, and before the first one."""
    lines = [event(0, number) for number in range(4)]
    if form == "plain":
        content = collectors.joined(lines)
        cut = content.index(b"\n") + 100
    else:
        parts = {"docker": collectors.docker, "cri": collectors.cri}[form](lines, [90, 200])
        content, cut = collectors.joined(parts), len(collectors.joined(parts[:5]))
    for seen_before in (True, False):
        world = new_world(f"rotated-{seen_before}")
        world.place("tracking.log", content[:cut])
        if seen_before:
            run(world)
        (world.logs / "tracking.log").rename(world.logs / "tracking.log.1")
        world.place("tracking.log", content[cut:])
        run(world)
        found = [(name, reason, number) for name, reason, _, number in letters(world)]
        assert sorted(found) == [("tracking.log", "no_beginning", 1), ("tracking.log.1", "incomplete_line", 2)]
        rest, first = (line for _, _, line, _ in letters(world))
        assert lines[1].decode() == first + rest
        assert len(world.output_lines()) == 3
        before = letters(world)
        assert world.run(retry_failed=True).status == 0
        assert letters(world) == before


def told(world: ForkedSite) -> dict[str, Any]:
    """The outcome. Two runs in one second have no order."""
    outcome = world.outcome()
    return {**outcome, "statements": sorted(outcome["statements"]), "manifest": sorted(outcome["manifest"])}


def run(world: ForkedSite, status: int = 0) -> JobRun:
    ran = world.run(batch_size=1000)
    tally.same(status, ran.status, ran.detail)
    if world.ledger.exists():
        check_sums(world.result())
    return ran


def letters(world: ForkedSite) -> list[tuple[str, str, str, int]]:
    """All that the ledger has."""
    found = [json.loads(text) for path in world.ledger.rglob("dead-letters.jsonl") for text in path.open()]
    return sorted((each["object"], each["reason"], each["line"], each["line_number"]) for each in found)
