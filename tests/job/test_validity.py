"""Which statements are invalid as ERB makes them, by the validators of others; what a check and a dead letter say."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import pytest
from django.test import override_settings

from tests.harness.erb import transformer
from tests.harness.forked_site import ForkedSite
from tests.harness.http_sinks import CaliperSink, ScriptedLrs
from tests.harness.parity import KINDS, scene, white_list
from tests.harness.site import USERS
from tests.harness.validators import complaints
from tutor_transform_logs.demo import events, samples
from tutor_transform_logs.demo.lms.tutor_demo_lms import roster
from tutor_transform_logs.demo.outcomes import Kind
from tutor_transform_logs.lms_job.deliver.lrs import Lrs
from tutor_transform_logs.lms_job.deliver.lrs_client import Target
from tutor_transform_logs.lms_job.model.dead_letters import INVALID, INVALID_FROM_ERB
from tutor_transform_logs.lms_job.model.delivery import SourcedStatement
from tutor_transform_logs.lms_job.model.erb_faults import faults_of
from tutor_transform_logs.lms_job.model.records import Line
from tutor_transform_logs.lms_job.read.events import Unparsable, parse
from tutor_transform_logs.lms_job.report.glossary import REASON_MEANINGS
from tutor_transform_logs.lms_job.transform.transformer import Untransformable

pytestmark = pytest.mark.usefixtures("lms")

ATTEMPTS = [
    f"{kind}.attempt.{what}" for kind in ("practice", "proctored", "timed") for what in ("created", "submitted")
]
EXAMS = {f"edx.special_exam.{attempt}" for attempt in ATTEMPTS}
VIDEOS = {
    *(f"{verb}_video" for verb in ("complete", "load", "pause", "play", "seek", "stop")),
    *(f"edx.video.{what}" for what in ("completed", "loaded", "paused", "played", "position.changed", "stopped")),
}
NO_IRI = "Internationalized Resource Identifier (IRI)"
# Not a fault: a block's key is an IRI of the scheme "block-v1", but Learning Locker takes letters, digits and _ alone.
LEARNING_LOCKERS_OWN = ("object.id", NO_IRI)

# (where, what) -> the events whose statements have it, and no others.
KNOWN: dict[Kind, dict[tuple[str, str], set[str]]] = {
    "xapi": {
        ("context.contextActivities.grouping[0].id", NO_IRI): EXAMS,
        LEARNING_LOCKERS_OWN: EXAMS,
    },
    "caliper": {
        ("data[0].target.id", "not an IRI"): VIDEOS,
        ("data[0].object.type", "not a term of Caliper"): {"edx.ui.lms.link_clicked"},
    },
}
# What only files, loggers and ClickHouse get: ERB's LRS client posts "Activity".
LOGGED: dict[Kind, dict[tuple[str, str], set[str]]] = {
    "xapi": {
        ("object", "ObjectTypeWarning"): {"problem_check"},
        ("context.contextActivities.parent[0].objectType", "RestrictedValueWarning"): {"problem_check"},
    },
    "caliper": {},
}


class Made(NamedTuple):
    """A statement or envelope as an LRS gets it and as files do, and the name of its event."""

    event: str
    fields: dict[str, Any]
    logged: dict[str, Any]


def one_of_each(kind: Kind) -> list[bytes]:
    """A line for an event of each type, all of users that every copy of the LMS knows under the same ids."""
    lines = []
    for number, name in enumerate(sorted(white_list(kind))):
        person = roster.user(1 + number % USERS)
        one = replace(scene(name, number), user_id=person.id, username=person.logged_as)
        lines.append(events.to_json(events.build(name, one)).encode())
    return lines


def statements_of(kind: Kind, lines: Iterable[bytes]) -> list[Made]:
    made: list[Made] = []
    lrs = Lrs(Target("http://127.0.0.1:9/xAPI", kind), 1.0, 1.0, 10**6)
    with override_settings(CALIPER_EVENTS_ENABLED=True, XAPI_EVENT_LOGGING_ENABLED=False), transformer(kind) as erb:
        for line in lines:
            try:
                event = parse(line)
                statements = erb.statements(event, line) if erb.known(event.name) else []
            except (Unparsable, Untransformable):
                continue
            for statement in statements:
                body = lrs.route(SourcedStatement(statement, event, Line(0, 0, 1, line)))
                assert body is not None
                made.append(Made(event.name, json.loads(body), json.loads(statement.body)))
    return made


@cache
def demo_statements(kind: Kind) -> list[Made]:
    """Those of all sample lines, and of an event of each type."""
    sampled = [line.data for name in samples.FILES for line in samples.FILES[name]()]
    return statements_of(kind, [*sampled, *one_of_each(kind)])


def faults_in(kind: Kind, statements: list[tuple[str, dict[str, Any]]]) -> dict[tuple[str, str], set[str]]:
    """What the validator finds in these statements of events -> the events."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for (event, _), wrong in zip(statements, complaints(kind, [fields for _, fields in statements]), strict=True):
        for complaint in wrong:
            found[complaint.where, complaint.what].add(event)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_validator_finds_the_known_faults_in_the_demos_statements_and_no_others(kind: Kind) -> None:
    """Also every known one: what was repaired in ERB must not stay in the list."""
    made = demo_statements(kind)
    assert len(made) > samples.expected(kind).statements
    assert faults_in(kind, [(one.event, one.fields) for one in made]) == KNOWN[kind]
    assert faults_in(kind, [(one.event, one.logged) for one in made]) == KNOWN[kind] | LOGGED[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_the_job_knows_the_faults_that_a_validator_finds(kind: Kind) -> None:
    made = demo_statements(kind)
    wrong = complaints(kind, [statement.fields for statement in made])
    invalid = [statement for statement, found in zip(made, wrong, strict=True) if set(found) - {LEARNING_LOCKERS_OWN}]
    assert invalid == [statement for statement in made if faults_of(kind, statement.fields)]


@pytest.fixture
def replayed(site: ForkedSite) -> Callable[[Kind], list[Made]]:
    """Makes a log of an event of each type; gives the statements that a run makes of it."""

    def place(kind: Kind) -> list[Made]:
        lines = one_of_each(kind)
        site.place("tracking.log", b"".join(line + b"\n" for line in lines))
        site.settings["transformer_type"] = kind
        return statements_of(kind, lines)

    return place


def note(stdout: str) -> str:
    """What ``--check`` says of invalid statements, on one line."""
    said = [json.loads(line) for line in stdout.splitlines()]
    [text] = [line["message"] for line in said if line.get("finding") == "note" and "invalid" in line["message"]]
    return str(text)


def test_a_check_says_what_a_strict_lrs_refuses(
    site: ForkedSite, scripted_lrs: ScriptedLrs, replayed: Callable[[Kind], list[Made]]
) -> None:
    made = replayed("xapi")
    site.settings |= {"log_format": "json"}
    site.to_lrs({"url": scripted_lrs.url})
    run = site.run(site.source(), command="check")
    assert run.status == 0, run.detail
    exams = sum(statement.event in EXAMS for statement in made)
    assert note(run.stdout) == (
        f"{exams} of {len(made)} sampled statements for {scripted_lrs.url} are invalid xAPI as "
        "event-routing-backends makes them: context.contextActivities.grouping[0].id is the code of the exam attempt, "
        f"and not an IRI ({exams}). A strict LRS refuses them: they become dead letters (invalid_from_erb), and the "
        "run ends with 3."
    )
    # What is in files is as ERB logs it.
    to_files = site.run(site.source(), site.to_files(), command="check", lrs_endpoints=[])
    assert to_files.status == 0, to_files.detail
    assert "invalid" not in to_files.stdout


def test_a_check_says_it_of_caliper(
    site: ForkedSite, caliper_sink: CaliperSink, replayed: Callable[[Kind], list[Made]]
) -> None:
    made = replayed("caliper")
    site.settings |= {"log_format": "json"}
    site.to_lrs({"url": caliper_sink.url})
    run = site.run(site.source(), command="check")
    assert run.status == 0, run.detail
    videos = sum(statement.event in VIDEOS for statement in made)
    links = sum(statement.event == "edx.ui.lms.link_clicked" for statement in made)
    assert note(run.stdout).startswith(
        f"{videos + links} of {len(made)} sampled statements for {caliper_sink.url} are invalid Caliper as "
        f'event-routing-backends makes them: target.id is "_:MediaLocation", and not an IRI ({videos}); '
        f'object.type is "Webpage", and not "WebPage" ({links}). A strict LRS refuses them'
    )


def test_the_dead_letter_of_an_invalid_statement_names_the_known_fault_of_erb(
    site: ForkedSite, scripted_lrs: ScriptedLrs, replayed: Callable[[Kind], list[Made]]
) -> None:
    """The LRS is as strict as the validator, and refuses one valid statement, too."""
    made = [statement.fields for statement in replayed("xapi")]
    site.to_lrs({"url": scripted_lrs.url})
    invalid = {fields["id"] for fields, wrong in zip(made, complaints("xapi", made), strict=True) if wrong}
    valid = next(fields["id"] for fields in made if fields["id"] not in invalid)
    scripted_lrs.refused = dict.fromkeys({*invalid, valid}, 400)
    run = site.run(site.source())
    assert run.status == 3, run.detail
    rejected = {letter["statement"]: letter for letter in run.dead_letters() if letter["stage"] == "deliver"}
    assert rejected.keys() == {*invalid, valid}
    assert {id_ for id_, letter in rejected.items() if letter["reason"] == INVALID_FROM_ERB} == invalid
    assert rejected[valid]["reason"] == INVALID
    assert rejected[valid]["detail"].startswith("400: ")
    exams = [letter for letter in rejected.values() if letter["event"] in EXAMS]
    assert exams
    for letter in exams:
        ours, _, the_lrss = letter["detail"].partition(". Answer: ")
        assert ours == (
            "the statement has a known fault of event-routing-backends (context.contextActivities.grouping[0].id is "
            "the code of the exam attempt, and not an IRI); that may be why the LRS refused it"
        )
        assert the_lrss == f'400: {{"detail": "statement {letter["statement"]} is not welcome"}}'
    assert run.result is not None
    assert run.result["reasons"][INVALID_FROM_ERB] == len(invalid)
    assert run.result["reasons"][INVALID] == 1
    [page] = site.ledger.rglob("report.html")
    assert REASON_MEANINGS[INVALID_FROM_ERB] in page.read_text()
