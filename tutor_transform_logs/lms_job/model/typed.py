"""Checks values that were read from JSON: each field of a dataclass has to be of the type that its annotation names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cache
from typing import Any, TypeVar

from .counts import whole_number

T = TypeVar("T")
AFTER_9999 = 253_402_300_800
"""In seconds since 1970: no calendar has later times."""


def checked(values: T) -> T:
    """``values``, a dataclass. Raises ``ValueError`` for a field whose value is not of the annotated type."""
    kind: Any = type(values)
    for name, check in _checks(kind):
        value = getattr(values, name)
        if not check(value):
            raise ValueError(f"{value!r} is no {name}")
    return values


def _is_count(value: object) -> bool:
    try:
        whole_number(value)
    except ValueError:
        return False
    return True


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < AFTER_9999


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_table_of_counts(value: object) -> bool:
    return isinstance(value, Mapping) and all(map(_is_text, value)) and all(map(_is_count, value.values()))


# By the text of the annotation. Every number of the job's records is a count, an offset or a time.
_BY_TYPE: dict[str, Callable[[object], bool]] = {
    "int": _is_count,
    "int | None": lambda value: value is None or _is_count(value),
    "float": _is_number,
    "str": _is_text,
    "bool": _is_flag,
    "Mapping[str, int]": _is_table_of_counts,
    "tuple[str, ...]": lambda value: isinstance(value, tuple) and all(map(_is_text, value)),
}


@cache
def _checks(kind: type[Any]) -> tuple[tuple[str, Callable[[object], bool]], ...]:
    return tuple((field.name, _BY_TYPE[str(field.type)]) for field in fields(kind) if str(field.type) in _BY_TYPE)
