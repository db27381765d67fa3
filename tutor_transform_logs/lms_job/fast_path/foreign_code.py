"""Finds what other plugins have replaced, at run time, in the code that the fast path replaces or relies on.

The digests of :mod:`.sources` say what is written in the files of event-routing-backends (ERB) and tincan. A plugin can
put something else in a class or a module after they were imported. So this module compares what is in them now with
what their files compile to. Names prove nothing, since ``functools.wraps`` copies them: the code itself is compared.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.abc
import importlib.util
import inspect
import sys
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model

from .sources import ERB, TINCAN_MODULES

# A code object reduced to what its source decides. (Code objects of equal sources differ where Python has adapted them
# to what ran, or where coverage is measured.)
Key = tuple[Any, ...]
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
    """``name`` is no longer what its module defines. ``by`` is the module of what is there now; ``""`` if nothing."""

    name: str
    by: str

    def __str__(self) -> str:
        return f"{self.name} was replaced by {self.by}" if self.by else f"{self.name} was removed"


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
    known = frozenset().union(*(compiled(module).codes for module in modules))
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


class _Compiled:
    """What the file of a module defines."""

    def __init__(self, module: types.ModuleType) -> None:
        self.functions: dict[str, set[Key]] = {}
        """Name, with the classes it is in, of each function -> its code (several, if it is defined more than once)."""
        self.classes: list[str] = []
        self.imports: list[tuple[str, str, str]] = []
        """The name in the module, the module it is imported from, and the name there."""
        loader = module.__spec__.loader if module.__spec__ else None
        code, source = None, None
        if isinstance(loader, importlib.abc.InspectLoader):
            code, source = loader.get_code(module.__name__), loader.get_source(module.__name__)
        if code is None or source is None:
            raise ImportError(f"the code of {module.__name__} can't be read")
        self.codes = frozenset(_nested_keys(code))
        self._add(code, "")
        self._add_imports(source, module.__package__ or "")

    @staticmethod
    @functools.cache
    def of(module: types.ModuleType) -> _Compiled:
        return _Compiled(module)

    def _add(self, code: types.CodeType, prefix: str) -> None:
        for const in code.co_consts:
            if not isinstance(const, types.CodeType) or const.co_name.startswith("<"):
                continue
            name = f"{prefix}{const.co_name}"
            if const.co_flags & inspect.CO_OPTIMIZED:
                self.functions.setdefault(name, set()).add(_key(const))
            else:
                self.classes.append(name)
                self._add(const, f"{name}.")

    def _add_imports(self, text: str, package: str) -> None:
        todo: list[ast.stmt] = list(ast.parse(text).body)
        while todo:
            node = todo.pop()
            if isinstance(node, ast.ImportFrom):
                source = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
                self.imports += [(alias.asname or alias.name, source, alias.name) for alias in node.names]
            elif isinstance(node, (ast.Try, ast.If)):
                todo += node.body
        self.imports.sort()


@functools.cache
def compiled(module: types.ModuleType) -> _Compiled:
    """What the file of ``module`` defines. Raises as :func:`replaced_code`."""
    return _Compiled(module)


def _nested_keys(code: types.CodeType) -> Iterator[Key]:
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield _key(const)
            yield from _nested_keys(const)


def _key(code: types.CodeType) -> Key:
    consts = tuple(
        _key(const) if isinstance(const, types.CodeType) else (type(const).__name__, const) for const in code.co_consts
    )
    names = (code.co_name, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    return (*names, code.co_firstlineno, code.co_flags, code.co_code, consts)


def _functions(value: Any) -> Iterator[types.FunctionType]:
    """The functions that ``value`` calls, as far as decorators show them: itself and all that it wraps."""
    todo, seen = [value], set()
    while todo:
        found = todo.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        if isinstance(found, (staticmethod, classmethod)):
            todo.append(found.__func__)
        elif isinstance(found, property):
            todo += [found.fget, found.fset, found.fdel]
        elif isinstance(found, _LruCache):
            todo.append(found.__wrapped__)
        elif isinstance(found, types.FunctionType):
            yield found
            todo.append(getattr(found, "__wrapped__", None))
            todo += [cell.cell_contents for cell in found.__closure__ or () if _is_filled(cell)]


def _is_filled(cell: Any) -> bool:
    try:
        return isinstance(cell.cell_contents, types.FunctionType)
    except ValueError:
        return False


def _foreign(value: Any, known: frozenset[Key], expected: Iterable[Key] = ()) -> str | None:
    """The module that ``value`` comes from, if it is not the ``expected`` function in ``known`` decorators."""
    functions = list(_functions(value))
    for function in functions:
        if _key(function.__code__) not in known:
            return str(function.__globals__.get("__name__"))
    if expected and not any(_key(function.__code__) in expected for function in functions):
        return _origin(value)
    return None


def _origin(value: Any) -> str:
    return str(getattr(value, "__module__", None) or type(value).__module__)


def _in_module(module: types.ModuleType, known: frozenset[Key]) -> Iterator[Replaced]:
    own = compiled(module)
    namespaces: dict[str, Any] = {"": module}
    for name in own.classes:
        owner, _, own_name = name.rpartition(".")
        cls = vars(namespaces[owner]).get(own_name) if owner in namespaces else None
        if inspect.isclass(cls) and (cls.__module__, cls.__qualname__) == (module.__name__, name):
            namespaces[name] = cls
        elif owner in namespaces:
            yield Replaced(f"{module.__name__}.{name}", "" if cls is None else _origin(cls))
    for name, codes in own.functions.items():
        owner, _, own_name = name.rpartition(".")
        if owner not in namespaces:
            continue
        live = vars(namespaces[owner])
        by = _foreign(live[own_name], known, codes) if own_name in live else ""
        if by is not None:
            yield Replaced(f"{module.__name__}.{name}", by)
    for owner, cls in namespaces.items():
        if owner:
            for own_name, value in list(vars(cls).items()):
                by = None if f"{owner}.{own_name}" in own.functions else _added(value, known)
                if by is not None:
                    yield Replaced(f"{module.__name__}.{owner}.{own_name}", by)


def _added(value: Any, known: frozenset[Key]) -> str | None:
    """The module of a method, or of something that acts as one, which no file of ``known`` code defines."""
    if any(_functions(value)):
        return _foreign(value, known)
    if inspect.isclass(value) or isinstance(value, _BUILT_IN):
        return None
    return _origin(value) if callable(value) or hasattr(type(value), "__get__") else None


def _imported(module: types.ModuleType, replaced: set[str]) -> Iterator[Replaced]:
    """Names in ``module`` that are not (or no longer) what they are in the module that they are imported from."""
    for name, source, name_there in compiled(module).imports:
        there = sys.modules.get(source)
        if there is None or not hasattr(there, name_there) or f"{source}.{name_there}" in replaced:
            continue
        live = vars(module).get(name)
        if live is not getattr(there, name_there):
            yield Replaced(f"{module.__name__}.{name}", "" if live is None else _origin_of_function(live))


def _origin_of_function(value: Any) -> str:
    return next((str(function.__globals__.get("__name__")) for function in _functions(value)), _origin(value))


def _of_edx_platform() -> Iterator[Replaced]:
    helpers = importlib.import_module(f"{ERB}.helpers")
    if helpers.User is not get_user_model():
        yield Replaced(f"{ERB}.helpers.User", _origin(helpers.User))
    models = importlib.import_module(f"{ERB}.models")
    own = compiled(models)
    name = "get_value_from_dotted_path"
    by = _foreign(getattr(models, name), own.codes, own.functions[name])
    if by is not None:
        yield Replaced(f"{ERB}.models.{name}", by)
    for path in EDX_PLATFORM:
        value: Any = helpers
        for part in path.split("."):
            value = getattr(value, part, None)
        functions = list(_functions(getattr(value, "__func__", value)))
        for function in functions:
            module_name = str(function.__globals__.get("__name__"))
            if (
                not module_name.startswith(EDX_PLATFORM_PACKAGES)
                or _key(function.__code__) not in compiled(sys.modules[module_name]).codes
            ):
                yield Replaced(f"{ERB}.helpers.{path}", module_name)
                break
        if value is not None and not functions:
            yield Replaced(f"{ERB}.helpers.{path}", _origin(value))


def _of_objects(router: Any, known: frozenset[Key]) -> Iterator[Replaced]:
    """Methods that were put into the router's or a processor's object, and registries that are not ERB's."""
    for obj in (router, *(router.processors or ())):
        cls = type(obj)
        for name, value in vars(obj).items():
            if callable(value) and not inspect.isclass(value) and callable(getattr(cls, name, None)):
                yield Replaced(f"{cls.__module__}.{cls.__qualname__}().{name}", _origin_of_function(value))
        registry = getattr(obj, "registry", None)
        if registry is not None:
            get_transformer = getattr(registry, "get_transformer", None)
            by = _foreign(getattr(get_transformer, "__func__", get_transformer), known)
            if by is not None:
                yield Replaced(f"{cls.__module__}.{cls.__qualname__}.registry", by)
