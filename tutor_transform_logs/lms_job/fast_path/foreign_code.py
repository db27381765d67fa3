"""Finds what other plugins have replaced, at run time, in the code that the fast path replaces or relies on.

The digests of :mod:`.sources` say what is written in the files of event-routing-backends (ERB) and tincan. A plugin can
put something else in a class or a module after they were imported. So this module compares what is in them now with
what their files compile to (:mod:`.compiled`). Names prove nothing, since ``functools.wraps`` copies them: the code
itself is compared, with its default values, and what it calls through decorators.
"""

from __future__ import annotations

import functools
import gc
import importlib
import inspect
import sys
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model

from .compiled import DESCRIPTORS, Key, compiled, default_values, key_of
from .sources import ERB, TINCAN_MODULES

# What ERB's helpers call of edx-platform: the look-ups do the same with fewer queries.
EDX_PLATFORM = ("get_potentially_retired_user_by_username", "get_course_overviews", "ExternalId.add_new_user_id")
EDX_PLATFORM_PACKAGES = ("common.djangoapps.", "openedx.core.djangoapps.")
# How many replaced names the notice shows.
SHOWN = 3
_LruCache = type(functools.lru_cache(lambda: None))
# Descriptors that Python itself puts in classes.
_BUILT_IN = (types.GetSetDescriptorType, types.MemberDescriptorType, types.WrapperDescriptorType)


@dataclass(frozen=True)
class Replaced:
    """``name`` is no longer what its module defines. ``by`` is the module of what is there now; ``""`` if nothing.

    If that is the module that ``name`` is in, something was changed in what was there.
    """

    name: str
    by: str

    def __str__(self) -> str:
        if not self.by:
            return f"{self.name} was removed"
        if self.name.startswith(f"{self.by}."):
            return f"{self.name} was changed"
        return f"{self.name} was replaced by {self.by}"


def reason_against_fast_path(transformer_type: str, router: Any) -> str:
    """Why the fast path must stay off for this type, in one line; ``""`` if nothing speaks against it.

    The fast path must not be installed yet.
    """
    try:
        found = replaced_code(transformer_type, router)
    except (ImportError, OSError, SyntaxError, AttributeError) as error:
        return f"whether another plugin replaced code of event-routing-backends can't be found out ({error})"
    texts = [str(replaced) for replaced in found]
    if len(texts) > SHOWN:
        texts[SHOWN:] = [f"and {len(texts) - SHOWN} more"]
    return ", ".join(texts)


def replaced_code(transformer_type: str, router: Any) -> list[Replaced]:
    """What other plugins have replaced that matters to this type.

    Raises :class:`ImportError`, :class:`OSError` or :class:`SyntaxError` if the code of a module can't be read.
    """
    # Nobody has replaced anything in a module that was not imported yet.
    modules = [sys.modules[name] for name in _relied_on(transformer_type) if name in sys.modules]
    known = _Known(modules)
    found = [replaced for module in modules for replaced in _in_module(module, known)]
    names = {replaced.name for replaced in found}
    found += [replaced for module in modules for replaced in _imported(module, names)]
    found += _of_edx_platform()
    found += _of_objects(router, known)
    return sorted(found, key=lambda replaced: replaced.name)


def _relied_on(transformer_type: str) -> list[str]:
    processors = f"{ERB}.processors."
    types_of_others = tuple(f"{processors}{other}." for other in ("xapi", "caliper") if other != transformer_type)
    names = [
        name
        for name in sorted(sys.modules)
        if name.startswith(processors) and not name.startswith(types_of_others) and ".tests" not in name
    ]
    names += [
        f"{ERB}.helpers",
        f"{ERB}.backends.events_router",
        "eventtracking.processors.whitelist",
        "openedx_filters.tooling",
    ]
    if transformer_type == "xapi":
        names += ["tincan", *(f"tincan.{name}" for name in TINCAN_MODULES)]
    return names


class _Known:
    """The functions that the files of these modules define, as they define them."""

    def __init__(self, modules: Iterable[types.ModuleType]) -> None:
        self._definitions: dict[Key, list[tuple[types.ModuleType, str]]] = {}
        for module in modules:
            for key, defaults in compiled(module).codes.items():
                self._definitions.setdefault(key, []).append((module, defaults))

    def has(self, function: types.FunctionType) -> bool:
        """With the same code, global variables and default values."""
        return any(
            function.__globals__ is vars(module) and defaults in ("", default_values(function))
            for module, defaults in self._definitions.get(key_of(function.__code__), ())
        )


class _Calls:
    """What ``value`` calls, as far as decorators show it: itself and all that it wraps."""

    def __init__(self, value: Any) -> None:
        self.functions: list[types.FunctionType] = []
        self.others: list[Any] = []
        """What can't be looked into, or calls something else than it says."""
        todo, seen = [value], {id(None)}
        while todo:
            found = todo.pop()
            if id(found) in seen:
                continue
            seen.add(id(found))
            # Subclasses may do anything else.
            if type(found) in (staticmethod, classmethod):
                todo.append(found.__func__)
            elif type(found) is property:
                todo += [found.fget, found.fset, found.fdel]
            elif type(found) is _LruCache:
                # Its __wrapped__ is an attribute that anybody can set.
                inside = [called for called in gc.get_referents(found) if isinstance(called, types.FunctionType)]
                todo += inside or [object()]
            elif isinstance(found, types.FunctionType):
                self.functions.append(found)
                todo += self._inside(found)
            else:
                self.others.append(found)

    def _inside(self, function: types.FunctionType) -> list[Any]:
        """What the variables of the functions around it hold, if that can be called."""
        held = dict(zip(function.__code__.co_freevars, map(_contents, function.__closure__ or ()), strict=True))
        owner = held.pop("__class__", None)
        inside = [value for value in held.values() if callable(value) and not inspect.isclass(value)]
        wrapped = getattr(function, "__wrapped__", None)
        is_owners = owner is None or function.__qualname__.startswith(f"{owner.__qualname__}.")
        if not is_owners or not any(wrapped is value for value in (None, *inside)):
            self.others.append(function)
        return inside

    def origin(self) -> str:
        """The module that the function is from, or that the first of ``others`` is from."""
        for function in self.functions:
            return str(function.__globals__.get("__name__"))
        return _origin(self.others[0])


def _contents(cell: types.CellType) -> Any:
    """``None`` if nothing was put into it yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _foreign(value: Any, known: _Known) -> str | None:
    """The module that ``value`` comes from, if it calls anything but ``known`` functions."""
    calls = _Calls(value)
    for function in calls.functions:
        if not known.has(function):
            return str(function.__globals__.get("__name__"))
    return _origin(calls.others[0]) if calls.others else None


def _changed(value: Any, known: _Known, codes: set[Key], descriptor: type | None) -> str | None:
    """As :func:`_foreign`, or if it is not the function that its module's file defines: of this code, so decorated."""
    by = _foreign(value, known)
    if by is not None:
        return by
    kind = type(value) if type(value) in DESCRIPTORS.values() else None
    parts = [value.fget, value.fset, value.fdel] if isinstance(value, property) else [value]
    found = [codes.intersection(map(_code_key, _Calls(part).functions)) for part in parts if part is not None]
    # A property may have got its other parts from a base class.
    is_own = set().union(*found) == codes if kind is property else bool(found[0])
    return None if kind is descriptor and is_own else _Calls(value).origin()


def _code_key(function: types.FunctionType) -> Key:
    return key_of(function.__code__)


def _origin(value: Any) -> str:
    if isinstance(value, types.ModuleType):
        return value.__name__
    return str(getattr(value, "__module__", None) or type(value).__module__)


def _in_module(module: types.ModuleType, known: _Known) -> Iterator[Replaced]:
    own = compiled(module)
    namespaces: dict[str, Any] = {"": module}
    for name in own.classes:
        owner, _, own_name = name.rpartition(".")
        cls = vars(namespaces[owner]).get(own_name) if owner in namespaces else None
        if inspect.isclass(cls) and (cls.__module__, cls.__qualname__) == (module.__name__, name):
            namespaces[name] = cls
        elif owner in namespaces:
            yield Replaced(f"{module.__name__}.{name}", "" if cls is None else _origin(cls))
    for name in own.builtins & vars(module).keys():
        yield Replaced(f"{module.__name__}.{name}", _Calls(vars(module)[name]).origin())
    for name, codes in own.functions.items():
        owner, _, own_name = name.rpartition(".")
        if owner not in namespaces:
            continue
        live = vars(namespaces[owner])
        by = _changed(live[own_name], known, codes, own.descriptors[name]) if own_name in live else ""
        if by is not None:
            yield Replaced(f"{module.__name__}.{name}", by)
    for owner, cls in namespaces.items():
        if owner:
            bases = own.classes[owner] or cls.__bases__
            if bases != cls.__bases__:
                other = next((base for base in cls.__bases__ if base not in bases), cls)
                yield Replaced(f"{module.__name__}.{owner}.__bases__", _origin(other))
            for own_name, value in list(vars(cls).items()):
                by = None if f"{owner}.{own_name}" in own.functions else _added(value, known)
                if by is not None:
                    yield Replaced(f"{module.__name__}.{owner}.{own_name}", by)


def _added(value: Any, known: _Known) -> str | None:
    """The module of a method, or of something that acts as one, which no file of ``known`` code defines."""
    if _Calls(value).functions:
        return _foreign(value, known)
    if inspect.isclass(value) or isinstance(value, _BUILT_IN):
        return None
    return _origin(value) if callable(value) or hasattr(type(value), "__get__") else None


def _imported(module: types.ModuleType, replaced: set[str]) -> Iterator[Replaced]:
    """Names in ``module`` that are not (or no longer) what they are in the module that they are imported from."""
    for name, source, name_there in compiled(module).imports:
        there: Any = sys.modules.get(source)
        if there is None or f"{source}.{name_there}" in replaced:
            continue
        live = vars(module).get(name)
        if live is not (getattr(there, name_there, live) if name_there else there):
            yield Replaced(f"{module.__name__}.{name}", "" if live is None else _Calls(live).origin())


def _of_edx_platform() -> Iterator[Replaced]:
    helpers = importlib.import_module(f"{ERB}.helpers")
    if helpers.User is not get_user_model():
        yield Replaced(f"{ERB}.helpers.User", _origin(helpers.User))
    models = importlib.import_module(f"{ERB}.models")
    name = "get_value_from_dotted_path"
    by = _changed(getattr(models, name), _Known([models]), compiled(models).functions[name], None)
    if by is not None:
        yield Replaced(f"{ERB}.models.{name}", by)
    for path in EDX_PLATFORM:
        value: Any = helpers
        for part in path.split("."):
            value = getattr(value, part, None)
        calls = _Calls(getattr(value, "__func__", value))
        for function in calls.functions:
            module_name = str(function.__globals__.get("__name__"))
            is_platforms = module_name.startswith(EDX_PLATFORM_PACKAGES)
            if not is_platforms or not _Known([sys.modules[module_name]]).has(function):
                yield Replaced(f"{ERB}.helpers.{path}", module_name)
                break
        else:
            if calls.others:
                yield Replaced(f"{ERB}.helpers.{path}", calls.origin())


def _of_objects(router: Any, known: _Known) -> Iterator[Replaced]:
    """Methods that were put into the router's or a processor's object, and registries that are not ERB's."""
    for obj in (router, *(router.processors or ())):
        cls = type(obj)
        for name, value in vars(obj).items():
            if callable(value) and not inspect.isclass(value) and callable(getattr(cls, name, None)):
                yield Replaced(f"{cls.__module__}.{cls.__qualname__}().{name}", _Calls(value).origin())
        registry = getattr(obj, "registry", None)
        if registry is not None:
            get_transformer = getattr(registry, "get_transformer", None)
            by = _foreign(getattr(get_transformer, "__func__", get_transformer), known)
            if by is not None:
                yield Replaced(f"{cls.__module__}.{cls.__qualname__}.registry", by)
