"""Known faults of ERB's statements: found where they are, and in nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutor_transform_logs.lms_job.model import dead_letters
from tutor_transform_logs.lms_job.model.delivery import OutgoingStatement, Rejection, SourcedStatement
from tutor_transform_logs.lms_job.model.erb_faults import FAULTS, explained, faults_of
from tutor_transform_logs.lms_job.model.records import Event, Line, Statement

ATTEMPT = "http://adlnet.gov/expapi/activities/attempt"
CODE = "0DC02C2F-B2A5-4C3F-8E3B-3D8A1F5B2A3C"

NAMES = st.sampled_from(
    ["context", "contextActivities", "grouping", "parent", "object", "objectType", "definition", "type", "id", "data"]
    + ["target", "x"]
)
TEXTS = st.sampled_from(["_:MediaLocation", "Webpage", ATTEMPT, CODE, "https://x/y", ""])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)


def attempt(id_: str, type_: str = ATTEMPT) -> dict[str, Any]:
    return {"id": id_, "definition": {"type": type_}}


def exam(id_: str, type_: str = ATTEMPT) -> dict[str, Any]:
    return {"context": {"contextActivities": {"grouping": [attempt(id_, type_)]}}}


@given(st.sampled_from(sorted(FAULTS)), st.dictionaries(NAMES, JSON, max_size=5))
def test_any_object_can_be_looked_at(kind: str, fields: dict[str, Any]) -> None:
    found = faults_of(kind, fields)
    # A fault is a matter of what ERB writes itself.
    assert not found or any(text in json.dumps(fields) for text in ("_:", "Webpage", ATTEMPT))


@pytest.mark.parametrize(
    ("kind", "fields", "found"),
    [
        ("xapi", exam(CODE), "grouping[0].id is the code"),
        ("xapi", {"context": {"contextActivities": {"grouping": attempt(CODE)}}}, "grouping[0].id is the code"),
        ("xapi", exam(f"urn:uuid:{CODE}"), ""),
        ("xapi", exam(f"https://lms.example.org/attempt/{CODE}"), ""),
        ("xapi", exam(CODE, "https://another.example.org/type"), ""),
        ("caliper", {"data": [{"target": {"id": "_:MediaLocation"}}]}, "target.id"),
        ("caliper", {"data": [{"target": {"id": "https://x/y"}}]}, ""),
        ("caliper", {"data": [{"object": {"type": "Webpage"}}]}, "object.type"),
        ("caliper", {"data": [{"object": {"type": "WebPage"}}]}, ""),
    ],
)  # fmt: skip
def test_a_fault_is_found_where_it_is(kind: str, fields: dict[str, Any], found: str) -> None:
    assert found in "; ".join(faults_of(kind, fields))
    assert bool(faults_of(kind, fields)) == bool(found)


def rejection(reason: str, fields: dict[str, Any]) -> Rejection:
    body = json.dumps(fields).encode()
    made = SourcedStatement(Statement("some-id", body), Event("name", {}), Line(0, 1, 1, b"x"))
    return Rejection(OutgoingStatement(made, body), reason, "400: no")


@pytest.mark.parametrize("reason", sorted(dead_letters.DELIVER_REASONS))
def test_only_a_statement_that_the_lrs_calls_invalid_is_explained(reason: str) -> None:
    with_fault, without = rejection(reason, exam(CODE)), rejection(reason, exam(f"urn:uuid:{CODE}"))
    assert explained("xapi", without) == without
    if reason != dead_letters.INVALID:
        assert explained("xapi", with_fault) == with_fault
        return
    told = explained("xapi", with_fault)
    assert (told.statement, told.reason) == (with_fault.statement, dead_letters.INVALID_FROM_ERB)
    assert told.detail == (
        "the statement has a known fault of event-routing-backends (context.contextActivities.grouping[0].id is the "
        "code of the exam attempt, and not an IRI); that may be why the LRS refused it. Answer: 400: no"
    )


def test_what_is_not_known_to_be_the_reason_is_not_said_to_be_it() -> None:
    event = {"target": {"id": "_:MediaLocation"}, "object": {"type": "Webpage"}}
    refused = rejection(dead_letters.INVALID, {"data": [event]})
    assert explained("caliper", refused).detail == (
        'the statement has known faults of event-routing-backends (target.id is "_:MediaLocation", and not an IRI; '
        'object.type is "Webpage", and not "WebPage"); they may be why the LRS refused it. Answer: 400: no'
    )
