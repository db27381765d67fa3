"""Writes statements as JSON directly, without turning them into plain data first.

The text is the same as that of ``json.dumps(statement.as_version())``. Shared actors, verbs and courses keep their
text, so each is written only once. Only objects that ``fast_path.tincan`` knows are written here; all others are turned
into plain data and encoded by ``json``.

:func:`text_and_reparse` also says whether tincan, given that JSON, would make the same JSON of it again. ERB's LRS
client posts what tincan makes of a statement's JSON (see ``deliver/wire_form``).
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
from tincan.serializable_base import SerializableBase

from .tincan import MAPS, SHARED, STORED_AS_IS, TIMESTAMP, keys, list_data, map_data, object_data, to_data

# No check for circular references: this data was parsed from JSON, and tincan adds none.
encode = json.JSONEncoder(check_circular=False, allow_nan=False).encode

# Types of which tincan may write some values in another way once it has parsed them ...
CHANGING = (SerializableBase, uuid.UUID, datetime.datetime, datetime.timedelta)
# ... except these, provided that what is in them stays the same. Subclasses may change: of ERB's GroupActivity, tincan
# makes an Activity. (The functions that write UUIDs and times look at each value.)
REPARSED_AS_WRITTEN = frozenset({*STORED_AS_IS, *MAPS, *SHARED, tincan.ActivityList, uuid.UUID, datetime.datetime})


class _Changing:
    """Counts what tincan may write in another way once it has parsed it again."""

    def __init__(self) -> None:
        self._next = count(1).__next__
        self.met = 0

    def note(self) -> None:
        self.met = self._next()


_changing = _Changing()


def _noted(write: Callable[[Any], str]) -> Callable[[Any], str]:
    def write_and_note(value: Any) -> str:
        _changing.note()
        return write(value)

    return write_and_note


class _ToText(dict[type, Callable[[Any], str]]):
    """Type -> the function that writes its values as JSON. It raises ``ValueError`` for NaN and infinity."""

    def __missing__(self, cls: Any) -> Callable[[Any], str]:
        write = _writer(cls)
        self[cls] = _noted(write) if issubclass(cls, CHANGING) and cls not in REPARSED_AS_WRITTEN else write
        return self[cls]


def _writer(cls: Any) -> Callable[[Any], str]:
    data = to_data[cls]
    if cls in SHARED:
        return operator.attrgetter("text")
    if data is object_data and _has_a_key_for_each_slot(cls):
        return _object_text
    if data is map_data:
        return _map_text
    if data is list_data:
        return _list_text
    if cls is datetime.datetime:
        return _datetime_text
    if cls is uuid.UUID:
        return _uuid_text
    if cls is datetime.timedelta:
        return lambda value: quoted(data(value))
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
    if not TIMESTAMP.fullmatch(text):
        _changing.note()
    return quoted(text)


def _uuid_text(value: uuid.UUID) -> str:
    text = str(value)
    # tincan reads the versions of RFC 4122 only.
    if text[14] not in "12345" or text[19] not in "89ab":
        _changing.note()
    return f'"{text}"'


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


def _map_text(obj: Any) -> str:
    texts = []
    for key, value in obj.items():
        if type(key) is not str or key[:1] == "_":
            _changing.note()
            return encode(map_data(obj))
        if value is not None:
            texts.append(f"{quoted(key)}: {_to_text[type(value)](value)}")
    return "{" + ", ".join(texts) + "}"


def _list_text(many: Any) -> str:
    texts = [_to_text[type(obj)](obj) if isinstance(obj, SerializableBase) else encode(obj) for obj in many]
    return "[" + ", ".join(texts) + "]"


def text_of(obj: Any) -> str:
    """As ``json.dumps(obj.as_version())``, for an object of tincan. Raises ``ValueError`` for NaN and infinity."""
    return _to_text[type(obj)](obj)


def text_and_reparse(statement: Any) -> tuple[str, bool]:
    """:func:`text_of` a statement, and: does tincan, parsing that text, make the same text of it again?

    ``False`` also where that is not certain.
    """
    before = _changing.met
    text = text_of(statement)
    return text, _changing.met == before
