"""Another plugin replaces code of ERB at run time: the statements have what it does, without the fast path."""

from __future__ import annotations

import functools
import importlib
import types
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import tincan
from event_routing_backends import helpers
from event_routing_backends.processors.caliper.transformer import CaliperTransformer
from event_routing_backends.processors.mixins.base_transformer import BaseTransformerMixin
from event_routing_backends.processors.transformer_utils.registry import TransformerRegistry
from event_routing_backends.processors.xapi import transformer as xapi_transformer
from event_routing_backends.processors.xapi.event_transformers.video_events import VideoInteractionTransformers
from event_routing_backends.processors.xapi.registry import XApiTransformersRegistry
from event_routing_backends.processors.xapi.transformer import XApiTransformer
from event_routing_backends.processors.xapi.transformer_processor import XApiProcessor

from tests.harness.erb import transformer
from tests.harness.parity import KINDS, Way, assert_parity, forget, scene, white_list
from tutor_transform_logs.demo import events
from tutor_transform_logs.demo.outcomes import Kind
from tutor_transform_logs.lms_job.fast_path import compiled, foreign_code
from tutor_transform_logs.lms_job.read.events import parse

pytestmark = pytest.mark.usefixtures("lms")

Patch = tuple[Any, str, Callable[[Any], Any]]


def named_actor(original: Any) -> Any:
    """An actor that depends on the event: one that is shared between events would be another event's."""

    def get_actor(self: Any) -> Any:
        actor = original(self)
        actor.name = f"{self.get_data('name')} at {self.get_timestamp()}"
        return actor

    return get_actor


def wrapped(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A decorator whose result has all names of the original."""
    return lambda original: functools.wraps(original)(change(original))


def other_course(original: Any) -> Any:
    return lambda course_id: {**original(course_id), "display_name": f"the plugin's {course_id}"}


def other_id(original: Any) -> Any:
    return functools.lru_cache(functools.wraps(original)(lambda who, kind: f"{kind} {who}"))


def marked_statements(original: Any) -> Any:
    def transform_event(self: Any, event: Any) -> Any:
        made = original(self, event)
        for statement in made or []:
            statement["stored"] = "2026-01-01T00:00:00Z"
        return made

    return transform_event


def actor_of_subclass(original: Any) -> Any:
    """A method that the class did not have: it changes what the base class gives it."""
    return lambda self: named_actor(XApiTransformer.get_actor)(self)


def other_code(original: Any) -> Any:
    def get_object_iri(self: Any, object_type: str, object_id: str) -> str:
        return f"https://plugin.example/{object_type}/{object_id}"

    copy: Any = functools.partialmethod(get_object_iri)
    return copy


class PluginsAgent(tincan.Agent):  # type: ignore[misc]
    """An agent with a name."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"name": "the plugin's", **kwargs})


class PluginsProperty(property):
    """A property that has the function of another and does something else."""

    def __get__(self, *args: Any) -> Any:
        return f"{super().__get__(*args)} of the plugin"


class PluginsMixin:
    """Is put before the classes that a class of ERB is made of."""

    def extract_sessionid(self) -> str:
        return "the plugin's session"


PLUGINS_UUID = types.SimpleNamespace(**{**vars(uuid), "uuid5": lambda namespace, name: uuid.uuid3(namespace, name)})


def with_language(original: Any) -> Any:
    def to_json(self: Any, *args: Any) -> str:
        text: str = original(self, *args)
        return text.replace('"en"', '"en-GB"').replace('"en-US"', '"en-GB"')

    return to_json


PATCHES: dict[str, tuple[tuple[Kind, ...], Patch]] = {
    "method": (("xapi",), (XApiTransformer, "get_actor", named_actor)),
    "decorated method": (("xapi",), (XApiTransformer, "get_actor", wrapped(named_actor))),
    "method of Caliper": (
        ("caliper",),
        (CaliperTransformer, "get_actor", lambda original: lambda self: {"id": self.get_timestamp()}),
    ),
    "method added to a subclass": (("xapi",), (VideoInteractionTransformers, "get_actor", actor_of_subclass)),
    "function in its module": (KINDS, (helpers, "get_course_from_id", other_course)),
    "function imported by name": (("xapi",), (xapi_transformer, "get_course_from_id", other_course)),
    "cached and decorated function": (("xapi",), (xapi_transformer, "get_anonymous_user_id", other_id)),
    "processor": (("xapi",), (XApiProcessor, "transform_event", marked_statements)),
    "callable object": (KINDS, (BaseTransformerMixin, "get_object_iri", other_code)),
    "property": (
        KINDS,
        (BaseTransformerMixin, "transformer_version", lambda _: property(lambda self: "the plugin's 1.0")),
    ),
    "static method": (
        KINDS,
        (
            BaseTransformerMixin,
            "find_nested",
            lambda original: staticmethod(lambda found, key: None if key == "session" else original(found, key)),
        ),
    ),
    "class imported by name": (("xapi",), (xapi_transformer, "Agent", lambda _: PluginsAgent)),
    "method of tincan": (("xapi",), (tincan.Verb, "to_json", with_language)),
    "class method": (
        KINDS,
        (
            TransformerRegistry,
            "get_transformer",
            lambda original: classmethod(lambda cls, event: original.__func__(cls, {**event, "session": "plugin"})),
        ),
    ),
    "function of edx-platform": (
        KINDS,
        (helpers.ExternalId, "add_new_user_id", lambda original: classmethod(original.__func__.__call__)),
    ),
    "module that is imported": (KINDS, (helpers, "uuid", lambda _: PLUGINS_UUID)),
    "cached function that names the original": (
        KINDS,
        (
            helpers,
            "get_course_from_id",
            lambda original: functools.wraps(original)(functools.lru_cache(other_course(original))),
        ),
    ),
    "subclass of a descriptor": (
        KINDS,
        (BaseTransformerMixin, "transformer_version", lambda original: PluginsProperty(original.fget)),
    ),
    "user model": (KINDS, (helpers, "User", lambda original: type("User", (), {"objects": original.objects}))),
}
CASES = [pytest.param(kind, name, id=f"{kind}-{name}") for name, (kinds, _) in PATCHES.items() for kind in kinds]


def apply(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, (owner, attribute, change) = PATCHES[name]
    original = vars(owner).get(attribute, getattr(owner, attribute, None))
    monkeypatch.setattr(owner, attribute, change(original), raising=False)
    forget()


def lines(kind: Kind) -> list[bytes]:
    """Events of each type, twice, of two users and two courses."""
    names = sorted(white_list(kind))
    scenes = [(name, number) for number in range(2) for name in names]
    return [events.to_json(events.build(name, scene(name, number))).encode() for name, number in scenes]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_statements_have_what_a_plugin_does(kind: Kind, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with transformer(kind) as untouched:
        assert [notice for notice in untouched.notices if "fast path" in notice] == []
        assert untouched.looks_ahead
    apply(name, monkeypatch)
    with transformer(kind) as made:
        [notice] = [notice for notice in made.notices if "fast path" in notice]
        assert notice.startswith(f"The fast path is off for {kind}: ")
        assert " was replaced by " in notice
        assert notice.count("\n") == 0
        assert not made.looks_ahead
        assert made._xapi_fast_path is None
        raws = lines(kind)
        made.look_up(parse(raw) for raw in raws)
        assert sum(assert_parity(Way(kind, made), raw) for raw in raws) > 20
    forget()


def test_the_notice_says_what_was_replaced_and_by_what(monkeypatch: pytest.MonkeyPatch) -> None:
    apply("decorated method", monkeypatch)
    apply("function in its module", monkeypatch)
    with transformer("xapi") as made:
        assert made.notices[-1] == (
            "The fast path is off for xapi: "
            f"event_routing_backends.helpers.get_course_from_id was replaced by {__name__}, "
            f"event_routing_backends.processors.xapi.transformer.XApiTransformer.get_actor was replaced by {__name__}."
        )
    monkeypatch.undo()
    forget()


def test_a_patch_of_one_type_leaves_the_other_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    apply("method", monkeypatch)
    with transformer("caliper") as made:
        assert made.looks_ahead
        assert [notice for notice in made.notices if "fast path" in notice] == []


def test_code_that_was_exchanged_in_a_function_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def get_timestamp(self: Any) -> Any:
        return "2026-03-01T10:00:00+00:00"

    monkeypatch.setattr(XApiTransformer.get_timestamp, "__code__", get_timestamp.__code__)
    with transformer("xapi") as made:
        assert "XApiTransformer.get_timestamp was changed" in made.notices[-1]
        for raw in lines("xapi")[:10]:
            assert_parity(Way("xapi", made), raw)


def plugins_actor(self: Any) -> Any:
    return tincan.Agent(mbox=f"{self.get_data('name')}@plugin.example".replace("/", "."))


def decorated() -> Any:
    """The cell of ERB's decorator that holds the method."""
    method: Any = vars(XApiTransformer)["get_actor"]
    [cell] = [cell for cell in method.__closure__ if callable(cell.cell_contents)]
    return cell


@pytest.mark.parametrize(
    ("owner", "attribute", "value", "name"),
    [
        (helpers.get_user_email, "__defaults__", ("nobody",), "helpers.get_user_email"),
        (BaseTransformerMixin.get_data, "__defaults__", (True,), "BaseTransformerMixin.get_data"),
        (XApiTransformer.get_timestamp, "__kwdefaults__", {"x": 1}, "XApiTransformer.get_timestamp"),
        (decorated(), "cell_contents", plugins_actor, "XApiTransformer.get_actor"),
        (decorated(), "cell_contents", vars(XApiTransformer)["get_verb"], "XApiTransformer.get_actor"),
        (decorated(), "cell_contents", functools.partial(plugins_actor), "XApiTransformer.get_actor"),
    ],
)
def test_what_a_function_is_made_of_is_seen(
    owner: Any, attribute: str, value: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with transformer("xapi", fast_path=False) as made:
        monkeypatch.setattr(owner, attribute, value)
        [found] = foreign_code.replaced_code("xapi", made.router)
        assert found.name.endswith(name)
        monkeypatch.undo()
        assert foreign_code.replaced_code("xapi", made.router) == []


def test_another_base_class_is_seen() -> None:
    bases = XApiTransformer.__bases__
    try:
        XApiTransformer.__bases__ = (PluginsMixin, *bases)
        with transformer("xapi") as made:
            assert f"XApiTransformer.__bases__ was replaced by {__name__}" in made.notices[-1]
            for raw in lines("xapi")[:10]:
                assert_parity(Way("xapi", made), raw)
    finally:
        XApiTransformer.__bases__ = bases


def test_other_descriptors_global_variables_and_names_of_python_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    original = XApiTransformer.get_timestamp
    copy = types.FunctionType(original.__code__, {**original.__globals__, "x": 1}, original.__name__)
    monkeypatch.setattr(XApiTransformer, "get_timestamp", functools.wraps(original)(copy))
    monkeypatch.setattr(XApiTransformer, "get_context", staticmethod(XApiTransformer.get_context))
    monkeypatch.setattr(helpers, "str", lambda value: "the plugin's", raising=False)
    with transformer("xapi", fast_path=False) as made:
        found = [str(replaced) for replaced in foreign_code.replaced_code("xapi", made.router)]
    assert found == [
        f"event_routing_backends.helpers.str was replaced by {__name__}",
        "event_routing_backends.processors.xapi.transformer.XApiTransformer.get_context was changed",
        "event_routing_backends.processors.xapi.transformer.XApiTransformer.get_timestamp was changed",
    ]


def test_methods_in_objects_and_other_registries_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    class Registry(XApiTransformersRegistry):  # type: ignore[misc]
        @classmethod
        def get_transformer(cls, event: Any) -> Any:
            return super().get_transformer(event)

    with transformer("xapi", fast_path=False) as made:
        assert foreign_code.replaced_code("xapi", made.router) == []
        processor = made.router.processors[-1]
        monkeypatch.setattr(made.router, "process_event", lambda event: [], raising=False)
        monkeypatch.setattr(processor, "transform_event", lambda event: [], raising=False)
        monkeypatch.setattr(processor, "registry", Registry)
        found = [str(replaced) for replaced in foreign_code.replaced_code("xapi", made.router)]
        router, own = type(made.router), "event_routing_backends.processors.xapi.transformer_processor.XApiProcessor"
        assert found == [
            f"{router.__module__}.{router.__qualname__}().process_event was replaced by {__name__}",
            f"{own}().transform_event was replaced by {__name__}",
            f"{own}.registry was replaced by {__name__}",
        ]


def test_what_is_gone_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(XApiTransformer, "get_context_extensions")
    monkeypatch.delattr(xapi_transformer, "XApiVerbTransformerMixin")
    with transformer("xapi", fast_path=False) as made:
        found = {str(replaced) for replaced in foreign_code.replaced_code("xapi", made.router)}
    assert {text for text in found if "removed" in text} >= {
        "event_routing_backends.processors.xapi.transformer.XApiTransformer.get_context_extensions was removed",
        "event_routing_backends.processors.xapi.transformer.XApiVerbTransformerMixin was removed",
    }


def test_code_that_cannot_be_read_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("event_routing_backends.helpers")
    compiled.compiled.cache_clear()
    monkeypatch.setattr(module, "__spec__", None)
    with transformer("xapi") as made:
        assert made.notices[-1].startswith("The fast path is off for xapi: ")
        assert "the code of event_routing_backends.helpers can't be read" in made.notices[-1]
        assert not made.looks_ahead
    compiled.compiled.cache_clear()
