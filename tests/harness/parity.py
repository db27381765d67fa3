"""A statement of the job beside the one that ERB makes of the same line."""

from __future__ import annotations

import copy
import functools
import json
import uuid
from dataclasses import dataclass
from typing import Any

import pytest
import tincan
from event_routing_backends import helpers
from event_routing_backends.management.commands.helpers.event_log_parser import parse_json_event
from eventtracking.tracker import get_tracker

from tests.harness.erb import comparable, fields_of, statements_of_erb
from tutor_transform_logs.demo import events
from tutor_transform_logs.demo.lms.tutor_demo_lms import roster
from tutor_transform_logs.demo.outcomes import Kind
from tutor_transform_logs.demo.scene import Scene
from tutor_transform_logs.lms_job.deliver.lrs import Lrs
from tutor_transform_logs.lms_job.deliver.lrs_client import Target
from tutor_transform_logs.lms_job.fast_path import patches
from tutor_transform_logs.lms_job.model import dead_letters
from tutor_transform_logs.lms_job.model.delivery import SourcedStatement
from tutor_transform_logs.lms_job.model.records import Line
from tutor_transform_logs.lms_job.read.events import Unparsable, parse
from tutor_transform_logs.lms_job.transform.transformer import Transformer, Untransformable

KINDS: tuple[Kind, ...] = ("xapi", "caliper")


LINE = Line(0, 0, 1, b"")


@dataclass(frozen=True)
class Way:
    """One of ``WAYS`` for one type, ready."""

    kind: Kind
    transformer: Transformer

    @functools.cached_property
    def lrs(self) -> Lrs:
        """An endpoint of this type, which nothing is sent to."""
        return Lrs(Target("http://127.0.0.1:9/xAPI", self.kind), 1.0, 1.0, 10**6)


def white_list(kind: Kind) -> set[str]:
    [processor] = [
        processor
        for processor in get_tracker().backends["event_transformer"].backends[kind].processors
        if hasattr(processor, "whitelist")
    ]
    return set(processor.whitelist)


def scene(name: str, number: int) -> Scene:
    person = roster.user(1 + number % 50)
    return Scene(
        user_id=person.id,
        username=person.logged_as,
        course=roster.course(number % 5).key,
        time=f"2026-03-0{1 + number % 9}T10:{number % 60:02d}:00.{number % 1000:03d}001+00:00",
        number=number,
    )


def is_json(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


def without_collectors(event: dict[str, Any]) -> dict[str, Any]:
    """What ERB has read in a line, without what a collector has put there; the job differs from ERB on purpose."""
    if "event" in event and "time" in event and (event["time"] or not event.get("timestamp")):
        event["timestamp"] = event["time"]
    try:
        context = json.loads(event["context"])
    except (KeyError, TypeError, ValueError, RecursionError):
        return event
    return {**event, "context": context} if isinstance(context, dict) else event


def assert_parity(way: Way, raw: bytes) -> int:
    """Compare what the job makes of a line with what ERB makes of it; gives the number of statements."""
    erbs_event = parse_json_event(raw.decode("utf-8", "replace"))
    try:
        event = parse(raw)
    except Unparsable:
        assert erbs_event is None
        return 0
    assert erbs_event is not None
    erbs_event = without_collectors(erbs_event)
    assert event.fields == erbs_event
    name = erbs_event.get("name", "")
    assert event.name == name
    detail: str | None = None
    try:
        theirs = statements_of_erb(way.kind, erbs_event) if name else []
    except Exception as error:
        theirs, detail = [], str(error)
    assert way.transformer.known(name) == (name in white_list(way.kind))
    if not way.transformer.known(name):
        assert not theirs
        assert detail is None
        return 0
    if not theirs:
        with pytest.raises(Untransformable) as raised:
            way.transformer.statements(event, raw)
        if detail is None:
            # An object without an id makes no statement either.
            has = name not in (events.WITHOUT_XAPI_TRANSFORMER | events.WITHOUT_CALIPER_TRANSFORMER)
            assert raised.value.reason == (dead_letters.NO_STATEMENT if has else dead_letters.NO_TRANSFORMER)
        else:
            # With ERB's own text, so that the reader of a dead letter can find them.
            assert detail in raised.value.detail
        return 0
    if not all(is_json(statement) for statement in theirs):
        # ERB would send a number that JSON does not have (1.8e306 as a per cent is Infinity): no LRS could read it.
        with pytest.raises(Untransformable) as raised:
            way.transformer.statements(event, raw)
        assert raised.value.reason == dead_letters.NOT_JSON
        return 0
    mine = way.transformer.statements(event, raw)
    # This is the event in which match_params are looked up: ERB has taken fields out of it.
    assert event.fields == erbs_event
    assert [comparable(way.kind, fields) for fields in fields_of(mine)] == [
        comparable(way.kind, fields) for fields in theirs
    ]
    for statement, their in zip(mine, theirs, strict=True):
        assert json.loads(statement.body) == json.loads(json.dumps(statement.fields))
        assert statement.body.count(b"\n") == 0
        if way.kind == "xapi":
            # Also in their order, which is what a reader of the files sees.
            assert statement.body.decode("ascii") == json.dumps(their)
            assert statement.id == their["id"]
            assert statement.timestamp is None or statement.timestamp.isoformat() == their["timestamp"]
            assert way.lrs.route(SourcedStatement(statement, event, LINE)) == posted_by_erb(their)
        else:
            assert statement.id == statement.fields["data"][0]["id"]
            assert uuid.UUID(statement.id).version == 5
    return len(mine)


def posted_by_erb(statement: dict[str, Any]) -> bytes:
    """What tincan's RemoteLRS, which ERB's LRS client is, posts of a statement that ERB's processor returned.

    The statement itself where it raises an error: ERB posts nothing then.
    """
    with patches.removed():
        try:
            posted: str = tincan.Statement(copy.deepcopy(statement)).to_json()
        except Exception:
            posted = json.dumps(statement)
    return posted.encode("ascii")


def forget() -> None:
    """Empty ERB's caches: it would answer from them and ask the database nothing."""
    for helper in vars(helpers).values():
        if hasattr(helper, "cache_clear"):
            helper.cache_clear()
