"""The steps from an event to a statement that ERB's own transformers leave out with the fast path change nothing."""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import tincan
from event_routing_backends import helpers
from event_routing_backends.processors.xapi.event_transformers import video_events
from event_routing_backends.processors.xapi.event_transformers.enrollment_events import EnrollmentActivatedTransformer
from event_routing_backends.processors.xapi.registry import XApiTransformersRegistry
from event_routing_backends.processors.xapi.transformer import XApiTransformer
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.erb import transformer
from tests.harness.parity import Way, assert_parity, scene, white_list
from tests.harness.variations import STRANGE
from tutor_transform_logs.demo import events
from tutor_transform_logs.lms_job.fast_path import patches
from tutor_transform_logs.lms_job.fast_path.block_ids import video_block_ids
from tutor_transform_logs.lms_job.fast_path.routes import METHODS
from tutor_transform_logs.lms_job.fast_path.tincan import SharedVerb
from tutor_transform_logs.lms_job.read.events import parse

pytestmark = pytest.mark.usefixtures("lms")
COURSES = st.sampled_from(["course-v1:a+b+c", "ccx-v1:a+b+c+ccx@1", "a/b/c", "", ":", "course-v1:é", None, 1, ["x:y"]])


def line(name: str, number: int = 1) -> bytes:
    return events.to_json(events.build(name, scene(name, number))).encode()


@pytest.fixture
def fast() -> Iterator[Way]:
    with transformer("xapi") as made:
        yield Way("xapi", made)


def test_every_type_of_event_takes_the_fast_path(fast: Way) -> None:
    """It falls back to ERB's own code without a word where it fails."""
    for name in METHODS:
        assert "fast_path/routes" in vars(XApiTransformer)[name].__code__.co_filename
    path = fast.transformer._xapi_fast_path
    assert path is not None
    for name in sorted(white_list("xapi") - events.WITHOUT_XAPI_TRANSFORMER):
        assert path.statements(parse(line(name))), name


def outcome(function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except Exception as error:
        return type(error), str(error)


@given(st.text(), st.text())
def test_ids_are_those_of_erb(key: str, name: str) -> None:
    mine, theirs = patches._get_uuid5(key, name), helpers.get_uuid5(key, name)
    assert (mine, mine.version, mine.variant, mine.is_safe) == (theirs, 5, theirs.variant, theirs.is_safe)
    assert (str(mine), repr(mine), hash(mine)) == (str(theirs), repr(theirs), hash(theirs))
    assert type(mine) is uuid.UUID
    assert pickle.loads(pickle.dumps(mine)) == mine


@given(st.lists(st.tuples(STRANGE | st.text(), COURSES), max_size=5))
def test_ids_of_videos_are_those_of_erb(videos: list[tuple[Any, Any]]) -> None:
    make = video_block_ids(helpers.make_video_block_id)
    for video, course in videos * 2:
        assert outcome(make, video, course) == outcome(helpers.make_video_block_id, video, course)


def test_the_verb_of_a_class_is_shared_until_the_class_has_another(fast: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = line("edx.course.enrollment.activated")
    for display in (None, "joined", "came"):
        if display:
            verb = tincan.Verb(id="http://example.org/verb", display={"en": display})
            monkeypatch.setattr(EnrollmentActivatedTransformer, "_verb", verb)
        assert type(EnrollmentActivatedTransformer(dict(parse(raw).fields)).get_verb()) is SharedVerb
        assert_parity(fast, raw)
        [statement] = fast.transformer.statements(parse(raw), raw)
        assert display in (None, statement.fields["verb"]["display"]["en"])


class AttributeVideo(video_events.VideoInteractionTransformers):  # type: ignore[misc]
    """Has a field as an attribute, and one that is empty."""

    __module__ = "event_routing_backends.later"
    result = tincan.Result(success=True)
    additional_fields = ("result", "attachments")

    def get_attachments(self) -> Any:
        return []


class HeldVideo(video_events.VideoInteractionTransformers):  # type: ignore[misc]
    """Puts a field into the object."""

    __module__ = "event_routing_backends.later"

    def get_object(self) -> Any:
        self.result = tincan.Result(response="held")
        return super().get_object()


class OtherVideo(video_events.VideoInteractionTransformers):  # type: ignore[misc]
    """Makes its id of another time, and drops other fields."""

    __module__ = "event_routing_backends.later"

    def get_timestamp(self) -> Any:
        return "2026-03-01T10:00:00+00:00"

    def get_result(self) -> Any:
        return None

    def del_none(self, source_dict: Any) -> Any:
        source_dict.pop("context", None)
        return super().del_none(source_dict)


class ShortVideo(video_events.VideoInteractionTransformers):  # type: ignore[misc]
    """Lacks a method for one of its fields."""

    __module__ = "event_routing_backends.later"
    additional_fields = ("result", "something")


@pytest.mark.parametrize("other", [AttributeVideo, HeldVideo, OtherVideo, ShortVideo])
def test_transformers_of_a_later_erb_make_what_they_make(
    fast: Way, other: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever fields and methods they have."""
    monkeypatch.setitem(XApiTransformersRegistry.mapping, "play_video", other)
    for name in ("play_video", "pause_video", "play_video"):
        assert_parity(fast, line(name))
