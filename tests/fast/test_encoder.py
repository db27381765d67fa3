"""A statement's JSON text, beside ``json.dumps`` of what tincan itself makes plain data of."""

from __future__ import annotations

import datetime
import json
import uuid
from typing import Any

import pytest
import tincan
from event_routing_backends.processors.xapi.event_transformers.problem_interaction_events import JSONEncodedResult
from event_routing_backends.processors.xapi.statements import GroupActivity
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tutor_transform_logs.lms_job.fast_path.encoder import text_and_wire_text, text_of
from tutor_transform_logs.lms_job.fast_path.tincan import SharedActivityList

TEXTS = st.text(max_size=8) | st.sampled_from(['"', "\\", "é", "\u2028", "\ud800", "</script>", "\x7f"])
NUMBERS = st.integers() | st.booleans() | st.floats() | st.sampled_from([-0.0, 1e22, 2**70, float("nan"), float("inf")])
MAPS = st.dictionaries(TEXTS, TEXTS, max_size=2).map(tincan.LanguageMap)
# What tincan's own as_version gives as it is, or turns into plain data itself.
OF_TINCAN = (
    MAPS
    | st.builds(uuid.UUID, int=st.integers(0, 2**128 - 1))
    | st.datetimes(timezones=st.just(datetime.timezone.utc))
    | st.timedeltas(datetime.timedelta(0), datetime.timedelta(days=9))
    | st.builds(tincan.Verb, id=st.just("http://v"), display=MAPS)
)
PLAIN = st.recursive(
    st.none() | TEXTS | NUMBERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
# Names that tincan spells in another way, or takes a character from.
KEYS = TEXTS | st.sampled_from(["_id", "__id", "_object_type", "object_type", "http://id.tincanapi.com/extension/x"])
EXTENSIONS = st.dictionaries(KEYS, PLAIN | OF_TINCAN, max_size=4).map(tincan.Extensions)
ACTIVITIES = st.builds(
    lambda group, **values: (GroupActivity if group else tincan.Activity)(**values),
    st.booleans(),
    id=st.just("http://a"),
    definition=st.builds(
        tincan.ActivityDefinition,
        name=MAPS,
        description=st.none() | MAPS,
        type=st.just("http://t"),
        extensions=EXTENSIONS,
    ),
)
ZONES = st.integers(-24 * 60 + 1, 24 * 60 - 1).map(
    lambda minutes: datetime.timezone(datetime.timedelta(minutes=minutes))
)
ZONES |= st.just(datetime.timezone.utc)
FLOATS = st.none() | st.floats(-1, 1)


@st.composite
def statements(draw: st.DrawFn) -> Any:
    """With all that ERB's transformers put into one."""
    account = tincan.AgentAccount(name=draw(TEXTS.filter(bool)), home_page="http://localhost")
    parents = tincan.ActivityList(draw(st.lists(ACTIVITIES, max_size=2)))
    return tincan.Statement(
        id=draw(st.none() | st.builds(uuid.UUID, int=st.integers(0, 2**128 - 1))),
        actor=tincan.Agent(account=account),
        verb=tincan.Verb(id="http://v", display=draw(MAPS)),
        object=draw(ACTIVITIES),
        timestamp=draw(st.datetimes(timezones=ZONES)),
        context=tincan.Context(
            registration=draw(st.none() | st.builds(uuid.UUID, int=st.integers(0, 2**128 - 1))),
            extensions=draw(EXTENSIONS),
            context_activities=tincan.ContextActivities(parent=parents),
        ),
        result=tincan.Result(
            score=tincan.Score(scaled=draw(FLOATS), raw=draw(st.none() | st.floats(allow_nan=False))),
            success=draw(st.none() | st.booleans()),
            duration=draw(st.none() | st.timedeltas(datetime.timedelta(-9), datetime.timedelta(days=9))),
            extensions=draw(st.none() | EXTENSIONS),
        ),
    )


@settings(max_examples=300)
@given(statements() | EXTENSIONS | MAPS | ACTIVITIES)
@example(tincan.Extensions({"a": float("nan")}))
@example(tincan.Extensions({"a": {"b": float("-inf")}}))
@example(tincan.Extensions({"a": "b", "_id": "c"}))
def test_the_text_is_that_of_its_data(obj: Any) -> None:
    try:
        expected = json.dumps(obj.as_version(), allow_nan=False)
    except ValueError as error:
        with pytest.raises(ValueError, match="Out of range") as raised:
            text_of(obj)
        assert str(raised.value) == str(error)  # noqa: PT017
    else:
        assert text_of(obj) == expected


@settings(max_examples=500)
@given(statements())
def test_the_wire_text_is_what_tincan_makes_of_the_text(statement: Any) -> None:
    try:
        text, wire_text = text_and_wire_text(statement)
    except ValueError:
        assume(False)
    if wire_text is not None:
        assert tincan.Statement(json.loads(text)).to_json() == wire_text


class Labelled(tincan.Activity):  # type: ignore[misc]
    """A subclass with a property of its own, which tincan does not know."""

    _props = (*tincan.Activity._props, "label")
    label = property(lambda self: self._label, lambda self, value: object.__setattr__(self, "_label", value))


class Course(tincan.Activity):  # type: ignore[misc]
    """A subclass with another type."""

    object_type = property(tincan.Activity.object_type.fget, lambda self, _: setattr(self, "_object_type", "Course"))


GROUP = GroupActivity(id="http://a", definition={"name": {"en": '"objectType": "GroupActivity"'}})


@pytest.mark.parametrize(
    ("change", "known"),
    [
        ({}, True),
        ({"object": GROUP}, True),
        ({"context": tincan.Context(context_activities={"parent": [GROUP, GroupActivity(id="http://b")]})}, True),
        ({"result": JSONEncodedResult(response=["a", "é"])}, True),
        ({"result": tincan.Result(duration=datetime.timedelta(days=2, seconds=3661.5))}, True),
        ({"result": tincan.Result(duration=datetime.timedelta(seconds=-1))}, False),
        ({"object": Labelled(id="http://a", label="x")}, False),
        ({"object": Course(id="http://a")}, False),
        ({"context": tincan.Context(extensions={"__id": 1})}, False),
        ({"context": tincan.Context(extensions={"x": GROUP})}, False),
        ({"object": GROUP, "context": tincan.Context(extensions={"x": {"objectType": "GroupActivity"}})}, False),
        ({"id": uuid.UUID(int=1)}, False),
    ],
)
def test_what_may_change_is_known(change: dict[str, Any], known: bool) -> None:
    values = {
        "id": uuid.uuid5(uuid.NAMESPACE_URL, "x"),
        "actor": tincan.Agent(mbox="mailto:x@example.org"),
        "verb": tincan.Verb(id="http://v", display={"en": "did"}),
        "object": tincan.Activity(id="http://a", definition={"name": {"en": "a"}, "extensions": {"http://e": [1]}}),
        "timestamp": datetime.datetime(2026, 3, 1, tzinfo=datetime.timezone.utc),
        "result": tincan.Result(score={"raw": 1}, success=True, response="x"),
    }
    for _ in range(2):
        text, wire_text = text_and_wire_text(tincan.Statement({**values, **change}))
        assert (wire_text is not None) == known
        if known:
            assert wire_text == tincan.Statement(json.loads(text)).to_json()


@pytest.mark.parametrize(
    "others", [{}, {"grouping": [{"id": "http://b"}]}, {"category": []}, {"other": [], "parent": None}]
)
@pytest.mark.parametrize("display", ["a", 'é"'])
def test_activities_that_are_shared_are_written_with_those_that_are_not(others: dict[str, Any], display: str) -> None:
    shared = SharedActivityList([tincan.Activity(id="http://a", definition={"name": {"en": display}})])
    object.__setattr__(shared, "text", json.dumps(shared[0].as_version()).join("[]"))
    activities = tincan.ContextActivities(**{"parent": shared, **others})
    assert (activities.parent is shared) == ("parent" not in others)
    assert text_of(activities) == json.dumps(activities.as_version())


@pytest.mark.parametrize("zone", [datetime.timezone.utc, datetime.timezone(datetime.timedelta(0), "Z"), None])
@pytest.mark.parametrize("microsecond", [0, 1, 120_000])
@pytest.mark.parametrize("year", [1, 999, 2026, 9999])
def test_a_time_is_written_as_by_tincan(year: int, microsecond: int, zone: datetime.tzinfo | None) -> None:
    statement = tincan.Statement(timestamp=datetime.datetime(year, 3, 1, 10, 59, 0, microsecond, zone))
    assert text_of(statement) == json.dumps(statement.as_version())
    text, wire_text = text_and_wire_text(statement)
    assert wire_text in (text, None if zone is None else text)
    if wire_text is not None:
        assert tincan.Statement(json.loads(text)).to_json() == wire_text
