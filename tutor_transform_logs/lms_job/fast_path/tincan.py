"""Faster functions for tincan's objects: to create them, to nest them, and to turn them into plain data.

tincan passes every value through ``Base.__setattr__`` twice and copies every dictionary twice. If a property stores the
values of a type unchanged, the functions here put such a value directly into the object. All other values go through
tincan's own setters, with its conversions, checks and errors. Classes that differ from those known here (a subclass
with its own ``__init__`` or ``as_version``) are left to tincan completely. This module replaces nothing itself:
``patches`` does.
"""

from __future__ import annotations

import datetime
import json
import re
import uuid
from collections.abc import Callable
from typing import Any

import tincan
from tincan.agent_account import AgentAccount
from tincan.base import Base
from tincan.conversions.iso8601 import jsonify_timedelta
from tincan.score import Score
from tincan.serializable_base import SerializableBase
from tincan.typed_list import TypedList

from ..util.bounded_dict import BoundedDict

Setter = Callable[[Any, Any], None]
# The name of a slot, the types whose values it stores unchanged, and the setter for all other values.
Rule = tuple[str, frozenset[type], Setter]

NONE = type(None)


class SharedAgent(tincan.Agent):  # type: ignore[misc]
    """An actor that statements share and nobody changes. ``text`` is its JSON."""

    __slots__ = ("text",)


class SharedVerb(tincan.Verb):  # type: ignore[misc]
    """A verb that statements share and nobody changes. ``text`` is its JSON."""

    __slots__ = ("text",)


class SharedActivityList(tincan.ActivityList):  # type: ignore[misc]
    """Activities that statements share and nobody changes. ``text`` is their JSON."""

    __slots__ = ("text",)


SHARED = frozenset({SharedAgent, SharedVerb, SharedActivityList})
# For each class and property: the types of values that the setter stores unchanged. (Empty strings always go through
# the setter, because some setters refuse them.)
STORED_AS_IS: dict[type, dict[str, tuple[type, ...]]] = {
    AgentAccount: {"name": (str,), "home_page": (str,)},
    tincan.Agent: {"name": (str,), "mbox_sha1sum": (str,), "account": (AgentAccount,)},
    tincan.Verb: {"id": (str,), "display": (tincan.LanguageMap,)},
    tincan.Activity: {"id": (str,), "definition": (tincan.ActivityDefinition,)},
    tincan.ActivityDefinition: {
        "name": (tincan.LanguageMap,),
        "description": (tincan.LanguageMap,),
        "type": (str,),
        "extensions": (tincan.Extensions,),
    },
    tincan.ContextActivities: {
        "category": (tincan.ActivityList,),
        "parent": (tincan.ActivityList, SharedActivityList),
        "grouping": (tincan.ActivityList,),
        "other": (tincan.ActivityList,),
    },
    tincan.Context: {
        "context_activities": (tincan.ContextActivities,),
        "statement": (tincan.StatementRef,),
        "extensions": (tincan.Extensions,),
    },
    tincan.StatementRef: {"id": (uuid.UUID,)},
    Score: {"scaled": (float,), "raw": (float,), "min": (float,), "max": (float,)},
    tincan.Result: {
        "score": (Score,),
        "success": (bool,),
        "completion": (bool,),
        "duration": (datetime.timedelta,),
        "response": (str,),
        "extensions": (tincan.Extensions,),
    },
    tincan.Statement: {
        "id": (uuid.UUID,),
        "actor": (tincan.Agent, SharedAgent),
        "verb": (tincan.Verb, SharedVerb),
        "object": (tincan.Activity,),
        "timestamp": (datetime.datetime,),
        "context": (tincan.Context,),
        "result": (tincan.Result,),
        "version": (str,),
    },
}
# Setters that store the same value whatever they are given.
CONSTANT: dict[tuple[type, str], str] = {
    (tincan.Agent, "object_type"): "Agent",
    (tincan.Activity, "object_type"): "Activity",
    (tincan.StatementRef, "object_type"): "StatementRef",
}
CORRECTED: dict[str, str] = SerializableBase._props_corrected
ATOMS = frozenset({str, int, float, bool})
MAPS = frozenset({tincan.LanguageMap, tincan.Extensions})
# The form of the tracker's own timestamps. For these, aniso8601, datetime.fromisoformat and isoformat agree.
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?\+00:00", re.ASCII)

ORIGINAL_INITS: dict[type, Callable[..., None]] = {cls: vars(cls)["__init__"] for cls in STORED_AS_IS}
_original_as_version = SerializableBase.as_version
_original_setattr = Base.__setattr__
_original_language_map = tincan.LanguageMap.__init__


class ClassLayout:
    """What is needed to create objects of ``cls``, which is ``known`` (in ``STORED_AS_IS``) or a subclass of it."""

    def __init__(self, cls: type, known: type) -> None:
        blank: Any = object.__new__(cls)
        ORIGINAL_INITS[known](blank)
        self.defaults: dict[str, Any] = dict(vars(blank))
        self.rules: dict[str, Rule] = {}
        for name in cls._props:  # type: ignore[attr-defined]  # every class of tincan has them
            self.rules[name] = _rule(cls, known, name)
            camel = CORRECTED.get(f"_{name}")
            # Score is the only class that does not accept the names used in JSON.
            if camel is not None and known is not Score:
                self.rules[camel] = self.rules[name]


def _rule(cls: type, known: type, name: str) -> Rule:
    declared = getattr(cls, name, None)
    setter = declared.fset if isinstance(declared, property) else None
    if setter is None:
        # tincan itself handles, or refuses, such a name.
        return f"_{name}", frozenset(), lambda obj, value: setattr(obj, name, value)
    if declared is getattr(known, name, None):
        if (known, name) in CONSTANT:
            return f"_{name}", frozenset(), _constant(f"_{name}", CONSTANT[known, name])
        if (known, name) == (tincan.Statement, "timestamp"):
            return f"_{name}", frozenset({NONE, datetime.datetime}), _timestamp(setter)
        types = STORED_AS_IS[known].get(name)
        if types is not None:
            return f"_{name}", frozenset({NONE, *types}), _number(setter, f"_{name}") if known is Score else setter
    return f"_{name}", frozenset(), setter


def _constant(slot: str, text: str) -> Setter:
    def put(obj: Any, value: Any) -> None:
        obj.__dict__[slot] = text

    return put


def _number(setter: Setter, slot: str) -> Setter:
    def put(obj: Any, value: Any) -> None:
        if type(value) is int and -(2**53) < value < 2**53:
            obj.__dict__[slot] = float(value)
        else:
            setter(obj, value)

    return put


def _timestamp(setter: Setter) -> Setter:
    def put(obj: Any, value: Any) -> None:
        if type(value) is str and TIMESTAMP.fullmatch(value):
            try:
                obj.__dict__["_timestamp"] = datetime.datetime.fromisoformat(value)
                return
            except ValueError:
                pass
        setter(obj, value)

    return put


class _ClassLayouts(dict[type, "ClassLayout | None"]):
    """Class -> its layout, created on first use; ``None`` for a class that is left to tincan."""

    def __missing__(self, cls: type) -> ClassLayout | None:
        known = next((base for base in cls.__mro__ if base in STORED_AS_IS), None)
        usual = (
            known is not None
            and getattr(cls, "__init__", None) in (known.__init__, NEW_INITS.get(known))  # type: ignore[misc]
            and getattr(cls, "as_version", None) in (as_version, _original_as_version)
            and cls.__setattr__ in (set_attribute, _original_setattr)
            and not hasattr(cls, "__slots__")
        )
        self[cls] = ClassLayout(cls, known) if usual and known is not None else None
        return self[cls]


_layouts = _ClassLayouts()


def _new_init(original: Callable[..., None]) -> Callable[..., None]:
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        layout = _layouts[type(self)]
        if layout is None or len(args) > 1 or (args and type(args[0]) is not dict):
            original(self, *args, **kwargs)
            return
        values = {**args[0], **kwargs} if args else kwargs
        slots = self.__dict__
        slots.update(layout.defaults)
        rules = layout.rules
        for name, value in values.items():
            try:
                slot, taken, setter = rules[name]
            except KeyError:
                setattr(self, name, value)
                continue
            kind = type(value)
            if kind in taken and (value or kind is not str):
                slots[slot] = value
            else:
                setter(self, value)

    return __init__


NEW_INITS = {cls: _new_init(original) for cls, original in ORIGINAL_INITS.items()}


def layout_of(cls: type) -> ClassLayout | None:
    """The layout of a class; ``None`` if it is left to tincan."""
    return _layouts[cls]


def maker(cls: type, *names: str) -> Callable[..., Any]:
    """A function that makes objects as ``cls`` does of values by these names; in fewer steps where those are plain.

    Only for properties that store no text, and once ``patches`` has replaced what creates objects.
    """
    layout = _layouts[cls]
    if layout is None:
        return lambda *values: cls(**dict(zip(names, values, strict=True)))
    defaults = layout.defaults
    slots = [layout.rules[name][:2] for name in names]

    def make(*values: Any) -> Any:
        made: Any = object.__new__(cls)
        stored = made.__dict__
        stored.update(defaults)
        for (slot, taken), value in zip(slots, values):  # noqa: B905  # there are as many
            if type(value) not in taken:
                return cls(**dict(zip(names, values, strict=True)))
            stored[slot] = value
        return made

    return make


class _Allowed(dict[type, "frozenset[str]"]):
    """Class -> the attributes that tincan allows on its objects: its properties and their slots."""

    def __missing__(self, cls: type) -> frozenset[str]:
        props: list[str] = cls._props  # type: ignore[attr-defined]
        self[cls] = frozenset([*props, *(f"_{name}" for name in props)])
        return self[cls]


_allowed = _Allowed()


def set_attribute(self: Any, attr: str, value: Any) -> None:
    """As ``Base.__setattr__``."""
    if attr in _allowed[type(self)]:
        object.__setattr__(self, attr, value)
    else:
        _original_setattr(self, attr, value)


class _Keys(dict[str, str]):
    """Name of a slot -> its key in JSON. There are only as many as tincan has properties."""

    def __missing__(self, slot: str) -> str:
        key = CORRECTED.get(slot, slot)
        self[slot] = key[1:] if key.startswith("_") else key
        return self[slot]


keys = _Keys()


class _ToData(dict[type, Callable[[Any], Any]]):
    """Type -> the function that turns its values into plain data. Values that JSON has as they are stay unchanged."""

    def __missing__(self, cls: Any) -> Callable[[Any], Any]:
        if cls in SHARED:
            self[cls] = _shared_data
        elif cls in MAPS:
            self[cls] = map_data
        elif issubclass(cls, TypedList):
            self[cls] = list_data if cls.as_version in (as_version, _original_as_version) else _own_as_version
        elif issubclass(cls, SerializableBase):
            self[cls] = object_data if _layouts[cls] is not None else _own_as_version
        elif issubclass(cls, list):
            self[cls] = list_data
        elif issubclass(cls, uuid.UUID):
            self[cls] = str
        elif issubclass(cls, datetime.timedelta):
            self[cls] = jsonify_timedelta
        elif issubclass(cls, datetime.datetime):
            self[cls] = cls.isoformat
        else:
            self[cls] = _itself
        return self[cls]


to_data = _ToData()


def _shared_data(obj: Any) -> Any:
    """Not kept, because it is rarely needed and there may be thousands of actors."""
    return json.loads(obj.text)


def _itself(value: Any) -> Any:
    return value


def _own_as_version(value: Any) -> Any:
    return value.as_version()


def object_data(obj: Any) -> dict[str, Any]:
    plain = {}
    for slot, value in obj.__dict__.items():
        if value is not None:
            kind = type(value)
            plain[keys[slot]] = value if kind in ATOMS else to_data[kind](value)
    return plain


def map_data(obj: Any) -> Any:
    plain = {}
    for key, value in obj.items():
        if type(key) is not str or key[:1] == "_":
            return _original_as_version(obj)
        if value is not None:
            kind = type(value)
            plain[key] = value if kind in ATOMS else to_data[kind](value)
    return plain


def list_data(many: Any) -> list[Any]:
    return [to_data[type(item)](item) if isinstance(item, SerializableBase) else item for item in many]


def as_version(self: Any, version: str = tincan.Version.latest) -> Any:
    """As ``SerializableBase.as_version``. (No class of tincan depends on the version.)"""
    found = to_data[type(self)]
    return _original_as_version(self, version) if found is _own_as_version else found(self)


_texts: BoundedDict[tuple[Any, ...], str] = BoundedDict(10_000)


def to_json(self: Any, version: str = tincan.Version.latest) -> str:
    """As ``SerializableBase.to_json``. The JSON of verbs is kept, because ERB needs it for every statement's id."""
    cls = type(self)
    if cls in SHARED:
        known: str = self.text
        return known
    if cls is not tincan.Verb or type(self._display) is not tincan.LanguageMap:
        return json.dumps(self.as_version(version))
    key = (self._id, *self._display.items())
    text = _texts.get(key)
    if text is None:
        text = json.dumps(self.as_version(version))
        _texts.put(key, text)
    return text


def make_language_map(self: Any, *args: Any, **kwargs: Any) -> None:
    """As ``LanguageMap.__init__``."""
    texts = dict(*args, **kwargs)
    for text in texts.values():
        if not isinstance(text, str):
            _original_language_map(self, *args, **kwargs)
            return
    dict.__init__(self, texts)
