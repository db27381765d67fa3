"""Which Open edX filters run while ERB makes statements: ERB's own, and those that plugins put around methods."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from django.conf import settings

from .sources import ERB


def filter_type(method: Any) -> str | None:
    """The filter that ERB's decorator ``openedx_filter`` runs after a method; ``None`` for any other method."""
    if not inspect.isfunction(method) or not hasattr(method, "__wrapped__"):
        return None
    if set(method.__code__.co_freevars) != {"filter_type", "func"}:
        return None
    closed = inspect.getclosurevars(method).nonlocals
    return str(closed["filter_type"]) if closed.get("func") is method.__wrapped__ else None


def classes_of_erb() -> Iterator[type]:
    """The classes of the modules of ERB's processors that are imported."""
    for module_name, module in list(sys.modules.items()):
        if module_name.startswith(f"{ERB}.processors."):
            yield from (
                value
                for value in list(vars(module).values())
                if inspect.isclass(value) and value.__module__ == module_name
            )


def filters_are_configured(transformers: Iterable[Any] = ()) -> bool:
    """Do steps of other plugins run while ERB makes statements?

    They do if a filter is configured whose name is one of ERB's, or whichever a plugin has chosen for a method of ERB's
    or of ``transformers``, the registered ones.
    """
    configured = {str(name) for name in getattr(settings, "OPEN_EDX_FILTERS_CONFIG", None) or {}}
    if any(name.startswith(f"{ERB}.") for name in configured):
        return True
    return bool(configured) and not configured.isdisjoint(_filter_types([*classes_of_erb(), *transformers]))


def _filter_types(values: Iterable[Any]) -> Iterator[str]:
    """The filters of all methods of these classes, of their base classes, and of the classes that they hold."""
    todo, seen = list(values), set()
    while todo:
        value = todo.pop()
        if not inspect.isclass(value) or value in seen:
            continue
        seen.add(value)
        todo += value.__mro__
        for attribute in list(vars(value).values()):
            todo.append(attribute)
            yield from _filter_types_around(attribute)


def _filter_types_around(attribute: Any) -> Iterator[str]:
    """Decorators may be around each other, or in a property."""
    method = attribute.fget if isinstance(attribute, property) else attribute
    while method is not None:
        found = filter_type(method)
        if found is not None:
            yield found
        method = vars(method).get("__wrapped__") if hasattr(method, "__dict__") else None
