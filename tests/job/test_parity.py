"""The statements are ERB's, field for field: for every event type of ERB's white lists and every sample line.

Another way to make the statements is held to the same tests by adding it to ``WAYS``.
"""

from __future__ import annotations

import itertools
import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import override_settings
from event_routing_backends.management.commands.helpers.event_log_parser import parse_json_event

from tests.harness.erb import comparable, fields_of, statements_of_erb, transformer
from tests.harness.parity import KINDS, Way, assert_parity, forget, scene, white_list
from tutor_transform_logs.demo import events, samples
from tutor_transform_logs.demo.lms.tutor_demo_lms import roster
from tutor_transform_logs.demo.outcomes import Kind
from tutor_transform_logs.demo.scene import Scene
from tutor_transform_logs.lms_job.model import dead_letters
from tutor_transform_logs.lms_job.read.events import parse
from tutor_transform_logs.lms_job.transform.transformer import Transformer, Untransformable
from tutor_transform_logs.lms_job.util.errors import Unavailable

# name -> what makes the transformer to test
WAYS: dict[str, Callable[[Kind], AbstractContextManager[Transformer]]] = {
    "fast": transformer,
    "processors": partial(transformer, fast_path=False),
}

pytestmark = pytest.mark.usefixtures("lms")


@pytest.fixture(params=[(way, kind) for way in WAYS for kind in KINDS], ids=lambda pair: f"{pair[0]}-{pair[1]}")
def way(request: pytest.FixtureRequest) -> Iterator[Way]:
    name, kind = request.param
    with override_settings(CALIPER_EVENTS_ENABLED=True, XAPI_EVENT_LOGGING_ENABLED=False), WAYS[name](kind) as made:
        yield Way(kind, made)


def test_a_number_that_json_does_not_have_is_not_a_statement(way: Way) -> None:
    event = events.build("edx.completion.block_completion.changed", scene("", 1))
    event["event"]["completion"] = 1.8e306
    assert assert_parity(way, json.dumps(event).encode()) == 0


def test_every_type_of_erbs_white_list_is_the_same(way: Way) -> None:
    made = {}
    for number, name in enumerate(sorted(white_list(way.kind))):
        event = events.build(name, scene(name, number))
        for line in (
            events.to_json(event),
            events.with_prefix(events.to_json(event, ascii_only=False), scene(name, 1)),
        ):
            made[name] = assert_parity(way, line.encode())
    without = events.WITHOUT_XAPI_TRANSFORMER if way.kind == "xapi" else events.WITHOUT_CALIPER_TRANSFORMER
    assert {name for name, count in made.items() if not count} == without
    assert set(made) == white_list(way.kind)


@pytest.mark.parametrize("name", samples.FILES)
def test_every_sample_line_is_the_same(way: Way, name: str) -> None:
    made = sum(assert_parity(way, line.data) for line in samples.FILES[name]() if line.data)
    assert made == samples.expected(way.kind, name).statements


def test_an_object_without_an_id_makes_no_statement(way: Way) -> None:
    event = events.build("edx.ui.lms.sequence.next_selected", scene("", 1)) | {"event": None}
    assert assert_parity(way, json.dumps(event).encode()) == 0


def test_a_user_in_every_role_is_the_same(way: Way) -> None:
    """By id, by name, by an id in text, retired, without external ids yet, and nobody."""
    people: list[tuple[Any, str]] = [(person.id, person.logged_as) for person in roster.users(15)]
    people += [(None, person.logged_as) for person in roster.users(15)]
    people += [("", "learner0012"), ("12", "x"), (None, ""), (0, ""), (10**12, "nobody"), (None, "\ud800"), (True, "")]
    for number, (user_id, username) in enumerate(people):
        one = Scene(user_id, username, roster.course(0).key, f"2026-03-01T10:00:{number % 60:02d}+00:00", number)
        assert_parity(way, events.to_json(events.build("play_video", one)).encode())


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_a_database_that_fails_once_changes_nothing(way: Way, failing: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever query fails: the next try starts from the whole event again."""
    monkeypatch.setattr(time, "sleep", lambda secs: None)
    for number, name in enumerate(sorted(white_list(way.kind))):
        raw = events.to_json(events.build(name, scene(name, number))).encode()
        erbs_event = parse_json_event(raw.decode())
        assert erbs_event is not None
        theirs = statements_of_erb(way.kind, erbs_event)
        if not theirs:
            continue
        # Else ERB would answer from its caches and ask nothing.
        forget()
        queries = itertools.count(1)

        def fail_once(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            if next(queries) == failing:  # noqa: B023
                raise OperationalError("server has gone away")
            return execute(sql, params, many, context)

        with connection.execute_wrapper(fail_once):
            mine = way.transformer.statements(parse(raw), raw)
        assert [comparable(way.kind, fields) for fields in fields_of(mine)] == [
            comparable(way.kind, fields) for fields in theirs
        ]


def test_a_database_that_stays_away_is_unavailable() -> None:
    def fail(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        raise OperationalError("server has gone away")

    raw = events.to_json(events.build("play_video", scene("x", 1))).encode()
    forget()
    with (
        transformer("xapi", max_wait_secs=0.1) as made,
        connection.execute_wrapper(fail),
        pytest.raises(Unavailable, match="server has gone away"),
    ):
        made.statements(parse(raw), raw)


def reason(kind: Kind, event: dict[str, Any]) -> str:
    raw = json.dumps(event).encode()
    with transformer(kind) as made, pytest.raises(Untransformable) as raised:
        made.statements(parse(raw), raw)
    assert raised.value.detail
    return raised.value.reason


@pytest.mark.parametrize("kind", KINDS)
def test_reasons_are_told_apart(kind: Kind) -> None:
    one = scene("x", 1)
    nobody = Scene(roster.UNKNOWN_USER_BASE, "nobody", one.course, one.time)
    gone = Scene(one.user_id, one.username, roster.UNKNOWN_COURSE, one.time)
    missing = events.build("edx.course.enrollment.activated", one)
    missing = missing | {"event": {}}
    assert reason(kind, events.build("play_video", nobody)) == dead_letters.UNKNOWN_USER
    assert reason(kind, events.build("edx.course.enrollment.activated", gone)) == dead_letters.UNKNOWN_COURSE
    assert reason(kind, events.build("play_video", one) | {"event": ""}) == dead_letters.MISSING_FIELD
    type_error = events.build("play_video", one) | {"event": {"id": "x", "duration": [1]}}
    assert reason(kind, type_error) == dead_letters.ERB_ERROR


def test_caliper_ids_follow_from_the_line_alone() -> None:
    raw = events.to_json(events.build("play_video", scene("x", 1))).encode()
    other = raw.replace(b"195.5", b"195.6")
    with transformer("caliper") as made:
        ids = [made.statements(parse(line), line)[0].id for line in (raw, raw, other)]
    assert ids[0] == ids[1] != ids[2]
    with transformer("caliper", stable_ids=False) as made:
        random = [made.statements(parse(raw), raw)[0].id for _ in range(2)]
    assert len({*random, *ids}) == 4
    assert uuid.UUID(random[0]).version == 4
