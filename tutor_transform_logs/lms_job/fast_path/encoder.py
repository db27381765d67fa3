"""Writes statements as JSON directly, without turning them into plain data first.

The text is the same as that of ``json.dumps(statement.as_version())``. Shared actors, verbs and courses keep their
text, so each is written only once. Only objects that ``fast_path.tincan`` knows are written here; all others are turned
into plain data and encoded by ``json``.

:func:`text_and_wire_text` also gives the text that tincan would make of that text, once parsed: this is what ERB's LRS
client posts (see ``deliver/wire_form``). It is known without parsing where nothing changes, and for ERB's
``GroupActivity``, of which tincan makes an ``Activity``.
"""

from __future__ import annotations

import datetime
import json
import math
import operator
import uuid
from collections.abc import Callable
from itertools import count
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

import tincan
from tincan.conversions.iso8601 import jsonify_timedelta, make_timedelta
from tincan.serializable_base import SerializableBase

from .tincan import (
    MAPS,
    SHARED,
    STORED_AS_IS,
    TIMESTAMP,
    SharedActivityList,
    keys,
    list_data,
    map_data,
    object_data,
    to_data,
)

# No check for circular references: this data was parsed from JSON, and tincan adds none.
encode = json.JSONEncoder(check_circular=False, allow_nan=False).encode

# Types of which tincan may write some values in another way once it has parsed them ...
CHANGING = (SerializableBase, uuid.UUID, datetime.datetime, datetime.timedelta)
# ... except these, provided that what is in them stays the same. (The functions that write UUIDs, times and durations
# look at each value.)
REPARSED_AS_WRITTEN = frozenset(
    {*STORED_AS_IS, *MAPS, *SHARED, tincan.ActivityList, uuid.UUID, datetime.datetime, datetime.timedelta}
)
_OTHER_ACTIVITIES = frozenset(f"_{name}" for name in tincan.ContextActivities._props) - {"_parent"}
GROUP = '"objectType": "GroupActivity"'
ACTIVITY = '"objectType": "Activity"'


class _Changes:
    """Counts what tincan may write in another way once it has parsed it again."""

    def __init__(self) -> None:
        self._next = count(1).__next__
        self.unknown = 0
        self.groups = 0
        """Activities whose only change is from :data:`GROUP` to :data:`ACTIVITY`."""

    def note(self) -> None:
        self.unknown = self._next()


_changes = _Changes()


def _noted(write: Callable[[Any], str]) -> Callable[[Any], str]:
    def write_and_note(value: Any) -> str:
        _changes.note()
        return write(value)

    return write_and_note


class _ToText(dict[type, Callable[[Any], str]]):
    """Type -> the function that writes its values as JSON. It raises ``ValueError`` for NaN and infinity."""

    def __missing__(self, cls: Any) -> Callable[[Any], str]:
        write = _writer(cls)
        changes = issubclass(cls, CHANGING) and cls not in REPARSED_AS_WRITTEN and write is not _subclass_text
        self[cls] = _noted(write) if changes else write
        return self[cls]


def _writer(cls: Any) -> Callable[[Any], str]:
    data = to_data[cls]
    if cls in SHARED:
        return operator.attrgetter("text")
    if cls is tincan.ContextActivities and data is object_data:
        return _activities_text
    if data is object_data and _has_a_key_for_each_slot(cls):
        return _object_text if cls in STORED_AS_IS else _subclass_text
    if data is map_data:
        return _map_text
    if data is list_data:
        return _list_text
    if cls is datetime.datetime:
        return _datetime_text
    if cls is uuid.UUID:
        return _uuid_text
    if cls is datetime.timedelta:
        return _duration_text
    return lambda value: encode(data(value))


def _has_a_key_for_each_slot(cls: Any) -> bool:
    """Does tincan define a Python property for each value?

    If not, an object can have both ``name`` and ``_name``, and the text would have the same key twice.
    """
    return all(isinstance(getattr(cls, name, None), property) for name in cls._props)


def _float_text(number: float) -> str:
    return float.__repr__(number) if math.isfinite(number) else encode(number)


def _bool_text(value: bool) -> str:
    return "true" if value else "false"


def _datetime_text(value: datetime.datetime) -> str:
    text = value.isoformat()
    if value.tzinfo is datetime.timezone.utc:
        # Always as in TIMESTAMP, of which nothing is escaped.
        return f'"{text}"'
    if not TIMESTAMP.fullmatch(text):
        _changes.note()
    return quoted(text)


def _uuid_text(value: uuid.UUID) -> str:
    text = str(value)
    # tincan reads the versions of RFC 4122 only.
    if text[14] not in "12345" or text[19] not in "89ab":
        _changes.note()
    return f'"{text}"'


def _duration_text(value: datetime.timedelta) -> str:
    text: str = jsonify_timedelta(value)
    try:
        if jsonify_timedelta(make_timedelta(text)) != text:
            _changes.note()
    except ValueError:
        # A negative one.
        _changes.note()
    return quoted(text)


_to_text = _ToText({str: quoted, int: int.__repr__, float: _float_text, bool: _bool_text})


class _Names(dict[str, str]):
    """Name of a slot -> the JSON text in front of its value: the key and a colon."""

    def __missing__(self, slot: str) -> str:
        self[slot] = f"{quoted(keys[slot])}: "
        return self[slot]


_names = _Names()


def _object_text(obj: Any) -> str:
    texts = [_names[slot] + _to_text[type(value)](value) for slot, value in obj.__dict__.items() if value is not None]
    return "{" + ", ".join(texts) + "}"


def _activities_text(obj: Any) -> str:
    """Nearly all statements have a course as the only parent, whose text is known."""
    slots = obj.__dict__
    parent = slots.get("_parent")
    if type(parent) is SharedActivityList and all(slots.get(other) is None for other in _OTHER_ACTIVITIES):
        return f'{{"parent": {parent.text}}}'
    return _object_text(obj)


class _Overridden(dict[type, "tuple[str, ...] | None"]):
    """Subclass of a known class -> the properties that it overrides; ``None`` if it has properties of its own."""

    def __missing__(self, cls: Any) -> tuple[str, ...] | None:
        known = _known(cls)
        names = tuple(name for name in cls._props if getattr(cls, name) is not getattr(known, name, None))
        self[cls] = names if set(cls._props) == set(known._props) else None
        return self[cls]


_overridden = _Overridden()


def _known(cls: type) -> Any:
    return next(base for base in cls.__mro__ if base in STORED_AS_IS)


def _subclass_text(obj: Any) -> str:
    """An object of a subclass, of which tincan makes one of the known class."""
    cls = type(obj)
    names = _overridden[cls]
    known = _known(cls)
    for name in ("",) if names is None else names:
        value = obj.__dict__.get(f"_{name}")
        if known is tincan.Activity and name == "object_type" and value == "GroupActivity":
            _changes.groups += 1
        elif name == "" or type(value) not in STORED_AS_IS[known].get(name, ()) or value == "":
            _changes.note()
    return _object_text(obj)


def _map_text(obj: Any) -> str:
    groups = _changes.groups
    texts = []
    for key, value in obj.items():
        if type(key) is not str or key[:1] == "_":
            _changes.note()
            return encode(map_data(obj))
        if value is not None:
            texts.append(f"{quoted(key)}: {_to_text[type(value)](value)}")
    if _changes.groups != groups:
        # tincan keeps what is in a map as it is.
        _changes.note()
    return "{" + ", ".join(texts) + "}"


def _list_text(many: Any) -> str:
    texts = [_to_text[type(obj)](obj) if isinstance(obj, SerializableBase) else encode(obj) for obj in many]
    return "[" + ", ".join(texts) + "]"


def text_of(obj: Any) -> str:
    """As ``json.dumps(obj.as_version())``, for an object of tincan. Raises ``ValueError`` for NaN and infinity."""
    return _to_text[type(obj)](obj)


def text_and_wire_text(statement: Any) -> tuple[str, str | None]:
    """:func:`text_of` a statement, and the text that tincan makes of that text; ``None`` where this is not certain."""
    unknown, groups = _changes.unknown, _changes.groups
    text = text_of(statement)
    groups = _changes.groups - groups
    if _changes.unknown != unknown:
        return text, None
    if not groups:
        return text, text
    # If it is there this often, it is nowhere else, such as in the text of an answer.
    return text, text.replace(GROUP, ACTIVITY) if text.count(GROUP) == groups else None
