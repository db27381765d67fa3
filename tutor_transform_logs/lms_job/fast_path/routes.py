"""How ERB's own transformers get from an event to a statement, in fewer steps.

ERB's ``XApiTransformer`` searches the class for the method of each field, takes actor, verb and timestamp twice, and
compares each part of a statement with 0. Here, what follows from the class is worked out once for it. All else is asked
of the transformer, as ERB asks it. Classes of other plugins are left to ERB's methods. This module replaces nothing
itself: ``patches`` does.
"""

from __future__ import annotations

import datetime
import importlib
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

import tincan
from tincan.base import Base
from tincan.serializable_base import SerializableBase

from .sources import ERB, ErbsOwn
from .tincan import SharedAgent, SharedVerb, layout_of, maker

METHODS = ("transform", "base_transform", "get_event_id", "get_context")
"""Methods of ``XApiTransformer`` that :func:`new_methods` replaces."""


class Route(NamedTuple):
    """What is known of a class of transformers."""

    fields: tuple[tuple[str, str], ...]
    """Key of a field -> the name of the method that makes it."""
    plain_id: bool
    """The id is made by ``XApiTransformer``, of its own actor and time."""


class _NeverDropped(dict[type, bool]):
    """Type -> whether ``BaseTransformerMixin.del_none`` keeps all of its values, and does not look into them."""

    def __missing__(self, cls: type) -> bool:
        of_tincan = issubclass(cls, SerializableBase) and cls.__eq__ is Base.__eq__
        plain = not (issubclass(cls, dict) or hasattr(cls, "__len__") or hasattr(cls, "__bool__"))
        self[cls] = (of_tincan and plain) or cls in (uuid.UUID, datetime.datetime)
        return self[cls]


_never_dropped = _NeverDropped()


class _Routes(dict[type, "Route | None"]):
    """Class of a transformer -> its route; ``None`` if ERB's own methods are called."""

    def __init__(self, transformer: Any) -> None:
        """``transformer``: ERB's class ``XApiTransformer``."""
        super().__init__()
        self._own = ErbsOwn()
        self._class = transformer
        self._mixin: Any = importlib.import_module(f"{ERB}.processors.mixins.base_transformer").BaseTransformerMixin

    def __missing__(self, cls: Any) -> Route | None:
        self[cls] = self._route(cls) if self._is_usual(cls) else None
        return self[cls]

    def _is_usual(self, cls: Any) -> bool:
        """Do ``super()`` in ERB's methods, and ``del_none``, mean those of the mixin?"""
        if not self._own[cls] or self._class not in cls.__mro__ or hasattr(cls, "__getattr__"):
            return False
        after = cls.__mro__[cls.__mro__.index(self._class) + 1]
        return after is self._mixin and cls.del_none is self._mixin.del_none

    def _route(self, cls: Any) -> Route | None:
        keys = (*cls.required_fields, *cls.additional_fields)
        if any(hasattr(cls, key) or not hasattr(cls, f"get_{key}") for key in keys):
            return None
        plain = ("get_event_id", "get_actor", "get_timestamp")
        return Route(
            tuple((key, f"get_{key}") for key in keys),
            cls.get_data is self._mixin.get_data
            and all(getattr(cls, name) is getattr(self._class, name) for name in plain),
        )


def new_methods(transformer_class: Any) -> dict[str, Callable[..., Any]]:
    """The replacements of :data:`METHODS` in ERB's class ``XApiTransformer``."""
    routes = _Routes(transformer_class)
    # Its functions are looked up at each call, because ``patches`` replaces some of them.
    erb = importlib.import_module(f"{ERB}.processors.xapi.transformer")
    make_id, make_context = _event_id(erb), maker(tincan.Context, "extensions", "context_activities")
    return {
        "transform": _transform(routes, vars(transformer_class)["transform"], erb),
        "base_transform": _base_transform(routes, vars(transformer_class)["base_transform"], make_id),
        "get_event_id": lambda self: make_id(self.get_actor(), self.get_timestamp(), self),
        "get_context": lambda self: make_context(self.get_context_extensions(), self.get_context_activities()),
    }


def _event_id(erb: Any) -> Callable[..., Any]:
    def make_id(actor: Any, timestamp: Any, transformer: Any) -> Any:
        name = actor.text if type(actor) is SharedAgent else actor.to_json()
        verb = transformer.get_verb()
        key = verb.text if type(verb) is SharedVerb else verb.to_json()
        return erb.get_uuid5(key, f"{name}-{timestamp}")

    return make_id


def _transform(routes: _Routes, original: Callable[..., Any], erb: Any) -> Callable[..., Any]:
    version = erb.constants.XAPI_SPECIFICATION_VERSION
    layout = layout_of(tincan.Statement)
    if layout is None:
        return original
    defaults, rules = layout.defaults, layout.rules

    def transform(self: Any) -> Any:
        """As ``XApiTransformer.transform``."""
        route = routes[type(self)]
        if route is None:
            return original(self)
        made = self.base_transform({})
        held = self.__dict__
        for key, method in route.fields:
            made[key] = held[key] if key in held else getattr(self, method)()
        made["version"] = version
        statement = object.__new__(tincan.Statement)
        slots = statement.__dict__
        slots.update(defaults)
        for key, value in made.items():
            kind = type(value)
            if not _never_dropped[kind]:
                # As del_none.
                if value is None or (value != 0 and not value):
                    continue
                if isinstance(value, dict):
                    self.del_none(value)
            # As the new constructor. (Of a name that no statement has, ERB's own code raises the error.)
            slot, taken, setter = rules[key]
            if kind in taken and kind is not str:
                slots[slot] = value
            else:
                setter(statement, value)
        return statement

    return transform


def _base_transform(routes: _Routes, original: Callable[..., Any], make_id: Callable[..., Any]) -> Callable[..., Any]:
    def base_transform(self: Any, transformed_event: Any) -> Any:
        """As ``XApiTransformer.base_transform``."""
        route = routes[type(self)]
        if route is None:
            return original(self, transformed_event)
        made = transformed_event or {}
        if route.plain_id:
            actor = self.get_actor()
            timestamp = self.event.get("timestamp") or self.get_timestamp()
            made["id"] = make_id(actor, timestamp, self)
            made["actor"], made["context"], made["timestamp"] = actor, self.get_context(), timestamp
        else:
            made["id"], made["actor"] = self.get_event_id(), self.get_actor()
            made["context"], made["timestamp"] = self.get_context(), self.get_timestamp()
        return made

    return base_transform
