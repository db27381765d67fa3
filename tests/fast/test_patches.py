"""What sites and other plugins do to ERB goes on working: filters, transformers of their own, other actors."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import tincan
from django.test import override_settings
from event_routing_backends.processors.openedx_filters.decorators import openedx_filter
from event_routing_backends.processors.xapi.event_transformers.video_events import VideoInteractionTransformers
from event_routing_backends.processors.xapi.registry import XApiTransformersRegistry
from event_routing_backends.processors.xapi.transformer import XApiTransformer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openedx_filters.tooling import OpenEdxPublicFilter

from tests.harness.erb import statements_of_erb, transformer
from tests.harness.fast_steps import Recorder
from tests.harness.parity import Way, assert_parity, scene, white_list
from tests.harness.variations import CHANGES, changed
from tutor_transform_logs.demo import events
from tutor_transform_logs.lms_job.fast_path import sources
from tutor_transform_logs.lms_job.fast_path.filters import filters_are_configured
from tutor_transform_logs.lms_job.model import dead_letters
from tutor_transform_logs.lms_job.read.events import parse
from tutor_transform_logs.lms_job.transform.transformer import Untransformable

pytestmark = pytest.mark.usefixtures("lms")

FILTERS = "event_routing_backends.processors.xapi"
ACTOR_FILTER = f"{FILTERS}.transformer.xapi_transformer.get_actor"
VIDEO_FILTER = f"{FILTERS}.video_events.base_video.get_object"
OWN_FILTER = "org.plugin.made"


@contextmanager
def way() -> Iterator[Way]:
    with transformer("xapi") as made:
        yield Way("xapi", made)


def line(name: str, number: int = 1) -> bytes:
    return events.to_json(events.build(name, scene(name, number))).encode()


def all_lines() -> list[bytes]:
    return [line(name, number) for number, name in enumerate(sorted(white_list("xapi")))]


def test_all_known_places_are_replaced() -> None:
    """With the ERB and the tincan that the tests have, nothing may be left out unseen; and all is put back."""
    assert sources.REPLACED_CODE.keys() == sources.KNOWN_SOURCES.keys()
    assert [name for name in sources.REPLACED_CODE if not sources.is_known(name)] == []
    with transformer("xapi") as made:
        assert made._xapi_fast_path is not None
        assert made.looks_ahead
        assert not hasattr(XApiTransformer.get_actor, "__wrapped__")
        assert "fast_path/tincan" in tincan.Statement.__init__.__code__.co_filename
    assert hasattr(XApiTransformer.get_actor, "__wrapped__")
    assert "fast_path/tincan" not in tincan.Statement.__init__.__code__.co_filename


@pytest.mark.parametrize("name", sorted(sources.KNOWN_SOURCES))
def test_code_of_an_unknown_version_stays_as_it_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sources.KNOWN_SOURCES, name, frozenset())
    with way() as fast:
        for raw in all_lines():
            assert_parity(fast, raw)


@pytest.mark.parametrize(
    ("filter_type", "step"), [(ACTOR_FILTER, "NamedActor"), (VIDEO_FILTER, "OtherObject")], ids=["actor", "object"]
)
def test_filters_that_are_configured_run(filter_type: str, step: str) -> None:
    pipeline = {"fail_silently": False, "pipeline": [f"tests.harness.fast_steps.{step}"]}
    with override_settings(OPEN_EDX_FILTERS_CONFIG={filter_type: pipeline}), way() as fast:
        for raw in all_lines():
            assert_parity(fast, raw)
        raw = line("play_video")
        [one] = fast.transformer.statements(parse(raw), raw)
        assert one.fields["actor"].get("name") == ("by play_video" if step == "NamedActor" else None)
        assert one.fields["object"]["id"].endswith("#filtered") == (step == "OtherObject")


@pytest.mark.parametrize("step", ["Recorder", "Failing"])
@pytest.mark.parametrize("broken", [False, True])
def test_steps_of_filters_run_as_often_as_in_erb(step: str, broken: bool) -> None:
    """Also if they fail, or something else of the event does after them."""
    pipeline = {"fail_silently": False, "pipeline": [f"tests.harness.fast_steps.{step}"]}
    raw = line("play_video")
    if broken:
        raw = json.dumps(json.loads(raw) | {"timestamp": ["x"], "time": ["x"]}).encode()
    with override_settings(OPEN_EDX_FILTERS_CONFIG={ACTOR_FILTER: pipeline}), way() as fast:
        Recorder.runs.clear()
        with contextlib.suppress(Exception):
            statements_of_erb("xapi", json.loads(raw))
        # A whole statement takes its actor twice: ERB makes the id from it.
        runs_of_erb = len(Recorder.runs)
        Recorder.runs.clear()
        if step == "Failing" or broken:
            with pytest.raises(Untransformable) as raised:
                fast.transformer.statements(parse(raw), raw)
            assert raised.value.reason == dead_letters.ERB_ERROR
            assert step != "Failing" or raised.value.detail == "RuntimeError: the step's own error"
        else:
            fast.transformer.statements(parse(raw), raw)
        assert len(Recorder.runs) == runs_of_erb > 0


def configured(step: str) -> Any:
    """A plugin's filter, with a name of its own."""
    pipeline = {"fail_silently": False, "pipeline": [f"tests.harness.fast_steps.{step}"]}
    return override_settings(OPEN_EDX_FILTERS_CONFIG={OWN_FILTER: pipeline})


@pytest.mark.parametrize("around", [lambda method: method, openedx_filter(filter_type=VIDEO_FILTER)])
def test_a_plugins_own_filter_around_erbs_method_runs_for_each_event(
    monkeypatch: pytest.MonkeyPatch, around: Callable[[Any], Any]
) -> None:
    """Also inside of another decorator; and no statement gets the actor that it made for another."""
    method = openedx_filter(filter_type=OWN_FILTER)(XApiTransformer.get_actor)
    monkeypatch.setattr(XApiTransformer, "get_actor", around(method))
    with configured("NamedActor"), way() as fast:
        for raw in all_lines():
            assert_parity(fast, raw)
        for name in ("play_video", "pause_video"):
            [one] = fast.transformer.statements(parse(line(name)), line(name))
            assert one.fields["actor"]["name"] == f"by {name}"


def test_a_failing_filter_of_a_plugins_transformer_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Filtered(VideoInteractionTransformers):  # type: ignore[misc]
        @openedx_filter(filter_type=OWN_FILTER)  # type: ignore[untyped-decorator]  # ERB has no types
        def get_object(self) -> Any:
            return super().get_object()

    class Inherits(Filtered):
        pass

    monkeypatch.setitem(XApiTransformersRegistry.mapping, "play_video", Inherits)
    raw = line("play_video")
    with configured("Failing"), way() as fast:
        assert fast.transformer._xapi_fast_path is not None
        Recorder.runs.clear()
        with pytest.raises(Untransformable, match="the step's own error"):
            fast.transformer.statements(parse(raw), raw)
        assert Recorder.runs == ["play_video"]


def test_a_filter_of_its_own_that_a_plugins_transformer_calls_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing shows that it runs one: no decorator of ERB, and no name of ERB's."""

    class PluginsFilter(OpenEdxPublicFilter):
        filter_type = "org.plugin.video.object.requested.v1"

    class Calls(VideoInteractionTransformers):  # type: ignore[misc]
        def get_object(self) -> Any:
            return PluginsFilter.run_pipeline(transformer=self, result=super().get_object())["result"]

    monkeypatch.setitem(XApiTransformersRegistry.mapping, "play_video", Calls)
    raw = line("play_video")
    config = {PluginsFilter.filter_type: {"pipeline": ["tests.harness.fast_steps.Failing"], "fail_silently": False}}
    with override_settings(OPEN_EDX_FILTERS_CONFIG=config), way() as fast:
        assert fast.transformer._xapi_fast_path is not None
        Recorder.runs.clear()
        with pytest.raises(Untransformable, match="the step's own error"):
            fast.transformer.statements(parse(raw), raw)
        assert Recorder.runs == ["play_video"]


def test_filters_of_the_platform_do_not_slow_the_job_down() -> None:
    """None of them runs while ERB makes a statement."""
    with override_settings(OPEN_EDX_FILTERS_CONFIG={"org.openedx.learning.student.login.requested.v1": {}}), way():
        assert not filters_are_configured()
        assert "interning" in XApiTransformer.get_actor.__code__.co_filename


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.integers(0, 10**6), CHANGES), min_size=20, max_size=20))
def test_with_filters_the_errors_are_those_of_erb(varied: list[tuple[int, list[tuple[int, str, Any]]]]) -> None:
    """The fallback, which would run the steps again, is not asked for them."""
    names = sorted(white_list("xapi"))
    pipeline = {"fail_silently": False, "pipeline": ["tests.harness.fast_steps.Recorder"]}
    with override_settings(OPEN_EDX_FILTERS_CONFIG={ACTOR_FILTER: pipeline}), way() as fast:
        for number, changes in varied:
            event = changed(events.build(names[number % len(names)], scene("", number)), changes)
            assert_parity(fast, json.dumps(event).encode())


class PluginsVideo(VideoInteractionTransformers):  # type: ignore[misc]
    """A transformer that changes what ERB's own methods give it."""

    def get_actor(self) -> Any:
        actor = super().get_actor()
        actor.name = f"session {self.extract_sessionid()}"
        return actor

    def get_verb(self) -> Any:
        verb = super().get_verb()
        verb.display["fr"] = f"jouer {self.get_data('timestamp')}"
        return verb

    def get_context_activities(self) -> Any:
        activities = super().get_context_activities()
        activities.parent[0].definition.description = tincan.LanguageMap({"en": self.get_data("timestamp")})
        activities.parent.append(tincan.Activity(id="https://example.org/other"))
        return activities


class PlainVideo:
    """A transformer that has nothing of ERB's."""

    def __init__(self, event: dict[str, Any]) -> None:
        self.event = event

    def transform(self) -> Any:
        return tincan.Statement(
            id="0d6a1d5c-8b1b-5d0a-9d3e-1c1f3f1d5d11",
            actor={"objectType": "Agent", "mbox": "a@example.org"},
            verb={"id": "https://example.org/verb", "display": {"en": "did"}},
            object={"id": "https://example.org/object", "objectType": "Activity", "definition": {"name": {"en": "x"}}},
            timestamp="2026-03-01T10:00:00.5+01:00",
            attachments=None,
        )


class BrokenVideo(PlainVideo):
    """A transformer that sets what tincan does not know."""

    def transform(self) -> Any:
        return tincan.Statement(colour="red")


@pytest.mark.parametrize("plugins", [PluginsVideo, PlainVideo, BrokenVideo])
def test_transformers_of_other_plugins_work(plugins: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(XApiTransformersRegistry.mapping, "play_video", plugins)
    with way() as fast:
        # Before and after ERB's own of the same user, verb and course: nothing is changed for those.
        for name in ("pause_video", "play_video", "pause_video", "play_video", "stop_video"):
            for number in (1, 2, 51):
                assert_parity(fast, line(name, number))


@pytest.mark.parametrize("kind", ["mbox", "mbox_sha1sum", "external_id"])
@pytest.mark.parametrize("looked_up", [True, False])
def test_actors_of_every_kind_are_the_same(kind: str, looked_up: bool) -> None:
    with override_settings(XAPI_AGENT_IFI_TYPE=kind), way() as fast:
        lines = [line("play_video", number) for number in range(15)]
        lines += [json.dumps(json.loads(raw) | {"context": {}, "username": "nobody"}).encode() for raw in lines[:1]]
        if looked_up:
            fast.transformer.look_up(parse(raw) for raw in lines)
        for raw in lines:
            assert_parity(fast, raw)
