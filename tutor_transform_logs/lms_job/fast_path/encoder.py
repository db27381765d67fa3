"""Writes statements as JSON directly, without turning them into plain data first.

The text is the same as that of ``json.dumps(statement.as_version())``. Shared actors, verbs and courses keep their
text, so each is written only once. Only objects that ``fast_path.tincan`` knows are written here; all others are turned
into plain data and encoded by ``json``.
"""

from __future__ import annotations

import datetime
import json
import math
import operator
import uuid
from collections.abc import Callable
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

from tincan.serializable_base import SerializableBase

from .tincan import SHARED, keys, list_data, map_data, object_data, to_data

# No check for circular references: this data was parsed from JSON, and tincan adds none.
encode = json.JSONEncoder(check_circular=False, allow_nan=False).encode

# Types whose plain data is a string.
WRITTEN = frozenset({uuid.UUID, datetime.datetime, datetime.timedelta})


class _ToText(dict[type, Callable[[Any], str]]):
    """Type -> the function that writes its values as JSON. It raises ``ValueError`` for NaN and infinity."""

    def __missing__(self, cls: Any) -> Callable[[Any], str]:
        data = to_data[cls]
        if cls in SHARED:
            self[cls] = operator.attrgetter("text")
        elif data is object_data and _has_a_key_for_each_slot(cls):
            self[cls] = _object_text
        elif data is map_data:
            self[cls] = _map_text
        elif data is list_data:
            self[cls] = _list_text
        elif cls in WRITTEN:
            self[cls] = lambda value: quoted(data(value))
        else:
            self[cls] = lambda value: encode(data(value))
        return self[cls]


def _has_a_key_for_each_slot(cls: Any) -> bool:
    """Does tincan define a Python property for each value?

    If not, an object can have both ``name`` and ``_name``, and the text would have the same key twice.
    """
    return all(isinstance(getattr(cls, name, None), property) for name in cls._props)


def _float_text(number: float) -> str:
    return float.__repr__(number) if math.isfinite(number) else encode(number)


def _bool_text(value: bool) -> str:
    return "true" if value else "false"


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
