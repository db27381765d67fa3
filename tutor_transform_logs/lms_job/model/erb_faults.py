"""What event-routing-backends (ERB) makes against the specifications: known faults, which a strict LRS refuses.

Not a validator: it finds the faults that are listed here, in statements as they are sent. A test compares the list with
what independent validators find in a statement of every type of event. ``docs/explanation/invalid-statements.rst`` has
it for people.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from . import dead_letters
from .delivery import Rejection

STANDARDS = {"xapi": "xAPI", "caliper": "Caliper"}
# RFC 3987, 2.2: an IRI begins with a scheme.
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_EXAM_ATTEMPT = "http://adlnet.gov/expapi/activities/attempt"


class Fault(NamedTuple):
    """``what`` is wrong, with its place in the statement; ``found`` says whether a statement (as data) has it."""

    what: str
    found: Callable[[Mapping[str, Any]], bool]


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: object) -> Iterator[Mapping[str, Any]]:
    """The objects of an array; xAPI takes one object for an array of one."""
    yield from (_mapping(item) for item in (value if isinstance(value, list) else [value]))


def _has_attempt_code(fields: Mapping[str, Any]) -> bool:
    return any(
        _mapping(activity.get("definition")).get("type") == _EXAM_ATTEMPT
        and not _SCHEME.match(str(activity.get("id", "")))
        for activity in _mappings(_mapping(_mapping(fields.get("context")).get("contextActivities")).get("grouping"))
    )


def _has_blank_location(fields: Mapping[str, Any]) -> bool:
    return any(_mapping(event.get("target")).get("id") == "_:MediaLocation" for event in _mappings(fields.get("data")))


def _is_of_a_webpage(fields: Mapping[str, Any]) -> bool:
    return any(_mapping(event.get("object")).get("type") == "Webpage" for event in _mappings(fields.get("data")))


FAULTS: Mapping[str, tuple[Fault, ...]] = {
    "xapi": (
        Fault(
            "context.contextActivities.grouping[0].id is the code of the exam attempt, and not an IRI",
            _has_attempt_code,
        ),
    ),
    "caliper": (
        Fault('target.id is "_:MediaLocation", and not an IRI', _has_blank_location),
        Fault('object.type is "Webpage", and not "WebPage"', _is_of_a_webpage),
    ),
}
"""By transformer type."""


def faults_of(transformer_type: str, fields: Mapping[str, Any]) -> tuple[str, ...]:
    """The known faults of a statement or an envelope; none if it has none of them."""
    return tuple(fault.what for fault in FAULTS[transformer_type] if fault.found(fields))


def explained(transformer_type: str, rejection: Rejection) -> Rejection:
    """A rejection by an LRS, with the known faults of the statement as it was sent.

    That they are the reason is likely, but not certain: many an LRS repeats the whole statement in its answer, so a
    field's name in there proves nothing.
    """
    if rejection.reason != dead_letters.INVALID:
        return rejection
    found = faults_of(transformer_type, json.loads(rejection.statement.body))
    if not found:
        return rejection
    fault, refusal = ("a known fault", "that") if len(found) == 1 else ("known faults", "they")
    detail = (
        f"the statement has {fault} of event-routing-backends ({'; '.join(found)}); {refusal} may be why the LRS "
        f"refused it. Answer: {rejection.detail}"
    )
    return replace(rejection, reason=dead_letters.INVALID_FROM_ERB, detail=detail)
