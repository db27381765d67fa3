"""A statement's JSON text, beside ``json.dumps`` of what tincan itself makes plain data of."""

from __future__ import annotations

import datetime
import json
import uuid
from typing import Any

import pytest
import tincan
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tutor_transform_logs.lms_job.fast_path.encoder import text_of

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
KEYS = TEXTS | st.sampled_from(["_id", "_object_type", "object_type", "http://id.tincanapi.com/extension/x"])
EXTENSIONS = st.dictionaries(KEYS, PLAIN | OF_TINCAN, max_size=4).map(tincan.Extensions)
ACTIVITIES = st.builds(
    tincan.Activity,
    id=st.just("http://a"),
    definition=st.builds(
        tincan.ActivityDefinition,
        name=MAPS,
        description=st.none() | MAPS,
        type=st.just("http://t"),
        extensions=EXTENSIONS,
    ),
)
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
        timestamp=draw(st.datetimes(timezones=st.just(datetime.timezone.utc))),
        context=tincan.Context(
            registration=draw(st.none() | st.builds(uuid.UUID, int=st.integers(0, 2**128 - 1))),
            extensions=draw(EXTENSIONS),
            context_activities=tincan.ContextActivities(parent=parents),
        ),
        result=tincan.Result(
            score=tincan.Score(scaled=draw(FLOATS), raw=draw(st.none() | st.floats(allow_nan=False))),
            success=draw(st.none() | st.booleans()),
            duration=draw(st.none() | st.timedeltas(datetime.timedelta(0), datetime.timedelta(days=9))),
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
