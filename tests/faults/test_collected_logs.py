"""A log as collectors keep it becomes what the plain log becomes: run, killed, resumed, verified, delivered again."""

from __future__ import annotations

import functools
import gzip
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.harness import collectors, tally
from tests.harness.clickhouse import ClickHouse
from tests.harness.forked_site import ForkedSite
from tests.harness.http_sinks import CaliperSink, ScriptedLrs
from tests.harness.kills import chosen, steps_of
from tests.harness.parity import scene
from tests.harness.runs import check_sums
from tutor_transform_logs.demo import events
from tutor_transform_logs.demo.log_writer import Mix, write_log
from tutor_transform_logs.lms_job.read.wrappers import is_event

NewWorld = Callable[[str], ForkedSite]
MIX = Mix(good=30, page_view=12, unknown_user=2, type_error=1, broken=3, blank=1, copies=2)
# Of what is in parts, some parts end in the middle of the prefix, of the context and of the event.
PARTS = (40, 170, 600)
STEPS = ["source read: after", "batch: before", "deliver: after", "entry write: half", "entry write: after"]


@functools.cache
def log_lines(only_objects: bool = False) -> tuple[bytes, ...]:
    with tempfile.TemporaryDirectory() as folder:
        content = write_log(Path(folder) / "log", MIX, seed=6).path.read_bytes()
    lines = content.splitlines()
    assert not content.startswith(b"{")
    if only_objects:
        # As a tracker hands them to a logger; the broken ones are none.
        lines = [raw[raw.index(b"{") :] for raw in lines if raw.endswith(b"}")]
    return tuple(lines)


def two_streams(lines: Sequence[bytes], wrap: Callable[..., list[bytes]]) -> bytes:
    """Every line in parts, and between them parts of lines of another stream that hold none."""
    noise = wrap([b"[pid: 7] GET /heartbeat => generated 61 bytes"] * (len(lines) // 3), [9, 20], stream="stderr")
    mixed = []
    for part in wrap(lines, PARTS):
        mixed += [part, *noise[:1]]
        noise = noise[1:]
    return collectors.joined([*mixed, *noise])


def outcome(world: ForkedSite) -> dict[str, Any]:
    """What must not depend on the form of the log."""
    result = world.result()
    check_sums(result)
    letters = [json.loads(text) for path in sorted(world.ledger.rglob("dead-letters.jsonl")) for text in path.open()]
    return {
        "statements": sorted(world.output_lines()),
        "lines": result["lines"],
        "reasons": result["reasons"],
        "event types": result["event_types"],
        "days": result["days"],
        "dead letters": sorted((letter["reason"], letter["line"], letter["line_number"]) for letter in letters),
    }


def plain(new_world: NewWorld, lines: Sequence[bytes], **more: Any) -> dict[str, Any]:
    world = new_world("plain")
    world.place("tracking.log", collectors.joined(lines))
    ran = world.run(**more)
    assert ran.status == 0, ran.detail
    return outcome(world)


@pytest.mark.parametrize("form", [*collectors.OF_LINES, *collectors.OF_OBJECTS])
def test_every_form_becomes_what_the_plain_log_becomes(new_world: NewWorld, form: str) -> None:
    of_objects = form in collectors.OF_OBJECTS
    lines = log_lines(of_objects)
    content = {**collectors.OF_LINES, **collectors.OF_OBJECTS}[form](lines)
    world = new_world("wrapped")
    world.place("tracking.log", content)
    tally.add("inputs")
    ran = world.run()
    assert ran.status == 0, ran.detail
    expected = plain(new_world, lines)
    assert expected["lines"]["transformed"] == 32
    if form == "vector's parse_json":
        # Its keys are in another order.
        expected["dead letters"] = outcome(world)["dead letters"]
    tally.same(expected, outcome(world), form)
    verified = world.run(command="verify")
    assert verified.status == 0, verified.detail
    assert world.run().stdout.startswith("Nothing new")


@pytest.mark.parametrize(
    ("key", "own"),
    [
        ("event", {"event_type": "log", "host": "lms-0"}),
        ("message", {"name": "lms", "event": {"dataset": "lms"}}),
        ("message", {"context": {"env": "prod"}, "event": {"kind": "event"}}),
    ],
)
def test_so_do_events_in_objects_with_an_event_and_a_name_of_their_own(
    new_world: NewWorld, key: str, own: dict[str, object]
) -> None:
    # Where the line is not an event, nothing tells such an object from an event.
    lines = [raw for raw in log_lines() if is_event(raw)]
    world = new_world("wrapped")
    world.place("tracking.log", collectors.joined(collectors.in_key(key, **own)(lines)))
    tally.add("inputs")
    ran = world.run()
    assert ran.status == 0, ran.detail
    assert outcome(world)["lines"]["transformed"] == 32
    tally.same(plain(new_world, lines), outcome(world), key)


@pytest.mark.parametrize("form", collectors.IN_PARTS)
@pytest.mark.parametrize("packed", [False, True])
def test_so_does_every_form_with_lines_in_parts(new_world: NewWorld, form: str, packed: bool) -> None:
    content = collectors.joined(collectors.IN_PARTS[form](log_lines(), PARTS))
    world = new_world("wrapped")
    world.place("tracking.log", gzip.compress(content) if packed else content)
    tally.add("inputs")
    ran = world.run()
    assert ran.status == 0, ran.detail
    tally.same(plain(new_world, log_lines()), outcome(world), form)


def test_so_do_lines_from_which_the_line_ends_were_taken(new_world: NewWorld) -> None:
    lines = (*log_lines(), *log_lines()[:1])
    world = new_world("wrapped")
    world.place("tracking.log", collectors.joined(collectors.trimmed(collectors.docker(lines))))
    tally.add("inputs")
    ran = world.run()
    assert ran.status == 0, ran.detail
    tally.same(plain(new_world, lines), outcome(world), "without line ends")


def test_caliper_events_have_the_ids_of_the_plain_log(new_world: NewWorld, caliper_sink: CaliperSink) -> None:
    sent = []
    for name, content in (
        ("plain", collectors.joined(log_lines())),
        ("docker", collectors.joined(collectors.docker(log_lines(), PARTS))),
        ("trimmed", collectors.joined(collectors.trimmed(collectors.docker(log_lines(), PARTS)))),
        ("cloudwatch", collectors.OF_LINES["cloudwatch by firehose"](log_lines())),
    ):
        world = new_world(name)
        world.place("tracking.log", content)
        world.to_lrs({"url": caliper_sink.url, "bearer": "k"})
        ran = world.run(transformer_type="caliper")
        assert ran.status == 0, ran.detail
        sent.append(sorted(event["id"] for envelope in caliper_sink.envelopes for event in envelope["data"]))
        caliper_sink.envelopes.clear()
    tally.same([sent[0]] * 4, sent, "ids of Caliper events")
    assert len(sent[0]) > 10


@pytest.mark.parametrize("form", ["docker", "cri", "array, pretty-printed", "cloudwatch by firehose"])
def test_killed_and_run_again_it_is_the_same(new_world: NewWorld, form: str) -> None:
    wrap = {"docker": collectors.docker, "cri": collectors.cri}.get(form)
    lines = log_lines(form in collectors.OF_OBJECTS)
    content = two_streams(lines, wrap) if wrap else {**collectors.OF_LINES, **collectors.OF_OBJECTS}[form](lines)

    def world_of(name: str) -> ForkedSite:
        world = new_world(name)
        world.place("tracking.log", content)
        return world

    reference = world_of("reference")
    labels = steps_of(reference, STEPS)
    expected = reference.outcome()
    assert b"".join(expected["statements"]) == b"".join(line + b"\n" for line in plain_output(new_world, lines)), (
        "not the statements of the plain log"
    )
    for number, (label, occurrence) in enumerate(chosen(labels, STEPS, every=tally.LONG)):
        world = world_of(f"killed-{number}")
        killed = world.run(steps={"label": label, "number": occurrence})
        tally.add("kills")
        tally.same(-9, killed.status, f"not killed at {label} {occurrence}: {killed.detail}")
        again = world.run()
        tally.same(0, again.status, again.detail)
        tally.same(expected, world.outcome(), f"killed at {label} {occurrence}")


def plain_output(new_world: NewWorld, lines: Sequence[bytes]) -> list[bytes]:
    world = new_world("plain")
    world.place("tracking.log", collectors.joined(lines))
    assert world.run().status == 0
    return world.output_lines()


@pytest.mark.parametrize(
    "form", ["docker", "cri", "array, pretty-printed", "array, a line each", "one after the other"]
)
def test_it_is_cut_into_segments_between_lines(new_world: NewWorld, form: str) -> None:
    """Two workers share one object, which is long enough for several segments."""
    lines = log_lines(form in collectors.OF_OBJECTS) * 20
    wrap = {"docker": collectors.docker, "cri": collectors.cri}.get(form)
    content = two_streams(lines, wrap) if wrap else collectors.OF_OBJECTS[form](lines)
    world = new_world("wrapped")
    world.place("tracking.log", content)
    tally.add("inputs")
    settings = {"workers": 2, "segment_bytes": 64 * 1024, "batch_size": 100}
    ran = world.run(**settings)
    assert ran.status == 0, ran.detail
    [job] = world.ledger.iterdir()
    segments = json.loads((job / "plan.json").read_text())["segments"]
    assert (len(segments) > 3) == (form in ("docker", "cri"))
    found, expected = outcome(world), plain(new_world, lines, **settings)
    tally.same(expected["statements"], found["statements"], "statements")
    tally.same(expected["lines"]["transformed"], found["lines"]["transformed"], "lines")
    if not wrap:
        tally.same(expected, found, form)


def test_rows_of_clickhouse_are_those_of_the_plain_log(new_world: NewWorld, aspects_clickhouse: ClickHouse) -> None:
    server, rows = aspects_clickhouse, []
    for name, content in (
        ("plain", collectors.joined(log_lines())),
        ("docker", two_streams(log_lines(), collectors.docker)),
        ("cri", two_streams(log_lines(), collectors.cri)),
    ):
        server.clear()
        world = new_world(name)
        world.place("tracking.log", content)
        settings = {key: value for key, value in world.settings.items() if not key.startswith("destination_")}
        world.settings = {**settings, **server.destination()}
        ran = world.run()
        assert ran.status == 0, ran.detail
        rows.append(server.rows())
        gaps = world.run(command="gaps")
        assert gaps.status == 0, gaps.detail
        assert gaps.stdout.splitlines()[-1].startswith("Nothing is missing"), gaps.stdout
    tally.same([rows[0]] * 3, rows, "rows of the table")
    assert rows[0]


@pytest.mark.parametrize("fast_path", [True, False])
def test_an_event_without_a_time_makes_no_statement(new_world: NewWorld, fast_path: bool) -> None:
    """A collector took it. A ``timestamp`` is taken for it, as ERB does, unless the time is there."""
    own, other = "2026-01-31T23:59:59.123456+00:00", "2026-02-01T00:00:00+00:00"
    event = {**events.build("edx.course.enrollment.activated", scene("", 4))}
    del event["time"]
    times: list[dict[str, object]] = [
        {"time": own, "timestamp": other},
        {"timestamp": own},
        {"time": None, "timestamp": own, "@timestamp": other},
        {"time": "", "timestamp": own},
        {"@timestamp": other, "date": 1769904000.123},
        {"time": None},
        {"timestamp": ""},
        {},
    ]
    world = new_world("no time")
    world.place("tracking.log", collectors.joined([json.dumps({**event, **each}).encode() for each in times]))
    tally.add("inputs")
    ran = world.run(fast_path=fast_path)
    assert ran.status == 0, ran.detail
    made = [json.loads(line) for line in world.output_lines()]
    assert [statement["timestamp"] for statement in made] == [own] * 4
    assert world.result()["reasons"] == {"no_time": 4}
    [path] = world.ledger.rglob("dead-letters.jsonl")
    details = [json.loads(text)["detail"] for text in path.open()]
    assert "perhaps to @timestamp or date: let it keep the field time" in details[0]
    assert all("the event has no time" in detail for detail in details)
    verified = world.run(command="verify")
    assert verified.status == 0, verified.detail


def test_rejected_lines_are_delivered_again(new_world: NewWorld, scripted_lrs: ScriptedLrs) -> None:
    """A dead letter holds the line of the log, so a retry makes the same statement."""
    world = new_world("wrapped")
    world.place("tracking.log", two_streams(log_lines(), collectors.docker))
    world.to_lrs({"url": scripted_lrs.url, "username": "u", "password": "p"})
    assert world.run().status == 0
    sent = dict(scripted_lrs.statements)
    refused = list(sent)[3:20:4]
    again = new_world("again")
    again.place("tracking.log", two_streams(log_lines(), collectors.docker))
    again.to_lrs({"url": scripted_lrs.url, "username": "u", "password": "p"})
    scripted_lrs.statements.clear()
    scripted_lrs.refused = dict.fromkeys(refused, 409)
    assert again.run().status == 3
    [path] = again.ledger.rglob("dead-letters.jsonl")
    letters = [json.loads(text) for text in path.open()]
    assert all(letter["line"].encode() in log_lines() for letter in letters if letter["stage"] == "deliver")
    scripted_lrs.refused = {}
    assert again.run(retry_failed=True).status == 0
    tally.same(sent.keys(), scripted_lrs.statements.keys(), "statements after the retry")


def test_dead_letters_of_an_earlier_version_are_unwrapped(new_world: NewWorld) -> None:
    """It took what a collector had wrapped for no event."""
    world = new_world("earlier")
    lines = [raw for raw in log_lines() if b'"ghost' not in raw and b"{" in raw and raw.endswith(b"}")][:5]
    world.place("tracking.log", b"".join(b"no event\n" for _ in lines))
    assert world.run().status == 0
    [path] = world.ledger.rglob("dead-letters.jsonl")
    letters = [json.loads(text) for text in path.open()]
    wrapped = collectors.docker(lines)
    text = "".join(
        json.dumps({**letter, "line": raw.decode()}) + "\n" for letter, raw in zip(letters, wrapped, strict=True)
    )
    path.write_text(text)
    ran = world.run(retry_failed=True)
    assert ran.status == 0, ran.detail
    assert sorted(world.output_lines()) == plain(new_world, lines)["statements"]


def test_a_last_line_in_parts_is_read_again_when_it_was_continued(new_world: NewWorld) -> None:
    wrapped = collectors.docker(log_lines(), PARTS)
    world = new_world("wrapped")
    # Between all parts of the last lines; lines are in up to four.
    for count in range(len(wrapped) - 9, len(wrapped) + 1):
        world.place("tracking.log", collectors.joined(wrapped[:count]))
        ran = world.run()
        assert ran.status == 0, ran.detail
    expected = plain(new_world, log_lines())
    tally.same(expected["statements"], sorted(world.output_lines()), "statements")
    letters = [json.loads(text) for path in world.ledger.rglob("dead-letters.jsonl") for text in path.open()]
    tally.same(sum(expected["reasons"].values()), len(letters), "dead letters")


WRONG = {
    "access.log": b'10.0.0.1 - - [01/Feb/2026:00:00:00 +0000] "GET /heartbeat HTTP/1.1" 200 61\n' * 3000,
    "statements.log.gz": gzip.compress(b'{"actor": {}, "verb": {"id": "http://v"}, "object": {}}\n' * 3000),
    "binary": bytes(range(256)) * 300,
    "newlines": b"\n" * 300_000,
}


@pytest.mark.parametrize("workers", [1, 2])
def test_logs_of_a_wrong_kind_are_left_out_and_the_others_are_read(new_world: NewWorld, workers: int) -> None:
    expected = plain(new_world, log_lines())
    world = new_world("mixed")
    world.place("tracking.log", collectors.joined(log_lines()))
    for name, content in WRONG.items():
        world.place(name, content)
        tally.add("inputs")
    (world.logs / "empty").touch()
    check = world.run(command="check")
    assert check.stdout.count("no tracking log: ") == len(WRONG), check.detail
    settings = {"workers": workers, "segment_bytes": 64 * 1024}
    ran = world.run(**settings)
    tally.same(3, ran.status, ran.detail)
    found = outcome(world)
    tally.same(expected, found, "what is made of the log")
    result = world.result()
    assert [problem.partition(": ")[0] for problem in result["problems"]] == sorted(WRONG)
    assert "looks like nginx's or Apache's access log" in ran.stdout
    assert "4 logs could not be read" in ran.stdout
    [job] = world.ledger.iterdir()
    contents = json.loads((job / "plan.json").read_text())["contents"]
    assert sorted(content["length"] > 0 for content in contents) == [False] * len(WRONG) + [True]
    # Not done: told again, and read once that is allowed.
    again = world.run(**settings)
    tally.same(3, again.status, again.detail)
    assert "no tracking log" in again.detail
    tally.same(expected["statements"], sorted(world.output_lines()), "nothing is made twice")
    allowed = world.run(max_invalid_ratio=1, **settings)
    tally.same(0, allowed.status, allowed.detail)
    assert world.result()["lines"]["unparsable"] > 6000


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_with_too_many_dead_letters_stops_and_goes_on_later(new_world: NewWorld, workers: int) -> None:
    lines = [*log_lines(), *[b"no event"] * 40, *log_lines()]
    expected = plain(new_world, lines)
    world = new_world("limited")
    world.place("tracking.log", collectors.joined(lines))
    world.place("other.log", collectors.joined(log_lines()[:1]))
    stopped = world.run(max_dead_letters=20, workers=workers)
    tally.same(4, stopped.status, stopped.detail)
    assert "max_dead_letters allows (20)" in stopped.detail
    done = world.run(workers=workers)
    tally.same(0, done.status, done.detail)
    tally.same(expected["lines"]["lines"] + 1, world.result()["lines"]["lines"], "lines")
