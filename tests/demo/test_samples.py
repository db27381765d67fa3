"""The sample logs: always the same, all that real logs have in them, and labelled as ERB itself sees them."""

from __future__ import annotations

import gzip
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings
from event_routing_backends.management.commands.helpers.event_log_parser import parse_json_event
from eventtracking.processors.exceptions import EventEmissionExit
from eventtracking.tracker import get_tracker

import tutor_transform_logs.demo
from tutor_transform_logs.demo import events, log_writer, outcomes, samples
from tutor_transform_logs.demo.log_writer import Mix
from tutor_transform_logs.demo.outcomes import ExpectedOutcome, Kind

SHIPPED = Path(tutor_transform_logs.demo.__file__).parent / "logs"
KINDS: tuple[Kind, ...] = ("xapi", "caliper")

pytestmark = pytest.mark.usefixtures("lms")


@pytest.fixture(autouse=True)
def erb() -> Iterator[None]:
    """Caliper is off by default; and ERB logs each failure with its traceback, of which many are meant here."""
    logging.disable(logging.CRITICAL)
    with override_settings(CALIPER_EVENTS_ENABLED=True, XAPI_EVENT_LOGGING_ENABLED=False):
        yield
    logging.disable(logging.NOTSET)


def statements_of_erb(kind: Kind, event: dict[str, Any]) -> list[dict[str, Any]]:
    """What ERB's own chain of processors for this transformer type makes of an event."""
    processors = get_tracker().backends["event_transformer"].backends[kind].processors
    processors[0](event)  # the white list: raises for what it does not know
    result: list[dict[str, Any]] = [event]
    for processor in processors[1:]:
        result = processor(result)
    return result


def outcome_in_erb(kind: Kind, line: bytes) -> tuple[ExpectedOutcome, list[dict[str, Any]]]:
    """What ERB does with a line of a log, as the log writers name it."""
    if not line:
        return ExpectedOutcome("blank"), []
    event = parse_json_event(line.decode(errors="replace"))
    if event is None:
        return ExpectedOutcome("unparsable"), []
    if "name" not in event:
        return ExpectedOutcome("unknown_event"), []
    try:
        statements = statements_of_erb(kind, event)
    except EventEmissionExit:
        return ExpectedOutcome("unknown_event"), []
    except TypeError:
        return ExpectedOutcome("type_error"), []
    except ValueError as error:
        if str(error).startswith("User with"):
            return ExpectedOutcome("unknown_user"), []
        return ExpectedOutcome("unknown_course" if str(error).startswith("Course with") else "value_error"), []
    except Exception:
        return ExpectedOutcome("other_error"), []
    if not statements:
        return ExpectedOutcome("no_transformer"), []
    return ExpectedOutcome("transformed", len(statements)), statements


def test_the_builders_know_every_name_in_erbs_white_lists() -> None:
    backends = get_tracker().backends["event_transformer"].backends
    white_lists = {kind: backends[kind].processors[0].whitelist for kind in KINDS}
    assert set(events.BUILDERS) == white_lists["xapi"] | white_lists["caliper"]
    assert white_lists["caliper"] == events.CALIPER_NAMES


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", samples.FILES)
def test_erb_treats_each_sample_line_as_labelled(kind: Kind, name: str) -> None:
    seen: set[str] = set()
    for number, line in enumerate(samples.FILES[name](), 1):
        outcome, statements = outcome_in_erb(kind, line.data)
        assert outcome == line.expected_outcome(kind), f"{name}:{number}: {line.data[:120]!r}"
        ids = {str(statement.get("id") or statement["data"][0]["id"]) for statement in statements}
        assert len(ids) == len(statements)
        if kind == "xapi":
            # Only a copied line gives an id a second time.
            assert ids.isdisjoint(seen) != line.is_copy or not ids
        seen |= ids


@pytest.mark.parametrize("kind", KINDS)
def test_every_event_type_gives_a_statement_from_the_samples(kind: Kind) -> None:
    made: Counter[str] = Counter()
    for name in samples.FILES:
        for line in samples.FILES[name]():
            if line.expected_outcome(kind).outcome == "transformed":
                event = parse_json_event(line.data.decode())
                made[event["name"]] += 1
    good = log_writer.GOOD_NAMES if kind == "xapi" else log_writer.CALIPER_GOOD_NAMES
    assert made.keys() == set(good)


def test_the_samples_have_everything_in_them() -> None:
    xapi = samples.expected("xapi")
    for outcome in (*outcomes.UNTRANSFORMABLE_OUTCOMES, "blank", "unparsable", "no_transformer", "transformed"):
        assert xapi.count(outcome) > 0, outcome
    assert 0.4 < xapi.count("unknown_event") / xapi.lines < 0.6
    assert xapi.statements > xapi.count("transformed")  # children of multi-question problems
    assert xapi.distinct_statements == xapi.statements - 3
    text = b"".join(samples.content(name) for name in samples.FILES)
    for part in ("🤔", "数据", "لا", "\r\n", "[tracking] [user ", "\n{", "\\u6570"):
        assert part.encode() in text
    assert not samples.content("tracking.log").endswith(b"\n")


def test_writing_the_samples_again_gives_the_shipped_bytes(tmp_path: Path) -> None:
    written = samples.write(tmp_path)
    assert sorted(path.name for path in SHIPPED.iterdir()) == sorted(path.name for path in written)
    for path in written:
        mine, shipped = path.read_bytes(), (SHIPPED / path.name).read_bytes()
        if path.suffix == ".gz":
            # Another zlib may compress differently; what is in it must not differ, nor the header without time.
            assert mine[:10] == shipped[:10]
            mine, shipped = gzip.decompress(mine), gzip.decompress(shipped)
        assert mine == shipped
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 300_000


@pytest.mark.parametrize("kind", KINDS)
def test_big_logs_hold_what_they_say(kind: Kind, tmp_path: Path) -> None:
    mix = Mix(good=150, page_view=80, unknown_user=3, unknown_course=4, type_error=6, broken=5, blank=2, copies=7)
    log = log_writer.write_log(tmp_path / "tracking.log", mix, seed=3)
    found_outcomes, ids = Counter[ExpectedOutcome](), Counter[str]()
    lines = log.path.read_bytes().split(b"\n")[:-1]
    for line in lines:
        outcome, statements = outcome_in_erb(kind, line)
        found_outcomes[outcome] += 1
        ids.update(str(statement.get("id") or statement["data"][0]["id"]) for statement in statements)
    expected = log.expected(kind)
    assert outcomes.add_up(found_outcomes.items()).outcomes == expected.outcomes
    assert log.lines == len(lines) == expected.lines == mix.lines
    assert log.bytes == log.path.stat().st_size
    assert ids.total() == expected.statements
    if kind == "xapi":
        assert len(ids) == expected.distinct_statements == expected.statements - 7


def test_big_logs_are_the_same_for_the_same_arguments(tmp_path: Path) -> None:
    first, second, other = (
        log_writer.write_log(tmp_path / f"{index}.gz", 500, seed=seed).path.read_bytes()
        for index, seed in enumerate((1, 1, 2))
    )
    assert first == second != other
