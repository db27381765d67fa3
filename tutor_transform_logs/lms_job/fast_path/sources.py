"""The code of ERB and tincan that the fast path replaces, and the versions of that code that are known."""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

ERB = "event_routing_backends"
PACKAGES = ("edx-event-routing-backends", "event-tracking", "tincan", "edx-tincan-py35")
# The modules of tincan whose behaviour ``fast_path.tincan`` reproduces.
TINCAN_MODULES = (
    "base",
    "serializable_base",
    "typed_list",
    "language_map",
    "extensions",
    "agent",
    "agent_account",
    "verb",
    "activity",
    "activity_definition",
    "activity_list",
    "context",
    "context_activities",
    "statement",
    "statement_base",
    "statement_ref",
    "result",
    "score",
    "version",
    "conversions.iso8601",
)


class ErbsOwn(dict[type, bool]):
    """Class -> whether it and all its base classes are ERB's own."""

    def __missing__(self, cls: type) -> bool:
        self[cls] = all(base is object or base.__module__.startswith(f"{ERB}.") for base in cls.__mro__)
        return self[cls]


@dataclass(frozen=True)
class ReplacedCode:
    """A piece of code that the fast path replaces."""

    description: str
    code: Callable[[], tuple[Any, ...]]
    """Returns the functions, classes or modules that the replacement depends on."""


def _base_transformer() -> tuple[Any, ...]:
    return (importlib.import_module(f"{ERB}.processors.mixins.base_transformer"),)


def _block_ids() -> tuple[Any, ...]:
    # With the format of an id, which is a constant of the module.
    return (importlib.import_module(f"{ERB}.helpers"),)


def _get_data() -> tuple[Any, ...]:
    mixin = importlib.import_module(f"{ERB}.processors.mixins.base_transformer").BaseTransformerMixin
    models = importlib.import_module(f"{ERB}.models")
    return mixin.get_data, mixin.find_nested, models.get_value_from_dotted_path


def _get_uuid5() -> tuple[Any, ...]:
    return (importlib.import_module(f"{ERB}.helpers").get_uuid5,)


def _lookups() -> tuple[Any, ...]:
    helpers = importlib.import_module(f"{ERB}.helpers")
    mixin = importlib.import_module(f"{ERB}.processors.mixins.base_transformer").BaseTransformerMixin
    return (
        helpers.get_anonymous_user_id,
        helpers.get_user,
        helpers.get_user_email,
        helpers.get_course_from_id,
        mixin.extract_username_or_userid,
    )


def _openedx_filter() -> tuple[Any, ...]:
    decorators = importlib.import_module(f"{ERB}.processors.openedx_filters.decorators")
    return decorators, importlib.import_module(f"{ERB}.processors.openedx_filters.filters")


def _tincan() -> tuple[Any, ...]:
    return tuple(importlib.import_module(f"tincan.{name}") for name in TINCAN_MODULES)


def _transformer_version() -> tuple[Any, ...]:
    mixin = importlib.import_module(f"{ERB}.processors.mixins.base_transformer").BaseTransformerMixin
    return (vars(mixin)["transformer_version"].fget,)


def _xapi_processors() -> tuple[Any, ...]:
    router = importlib.import_module(f"{ERB}.backends.events_router").EventsRouter
    xapi = importlib.import_module(f"{ERB}.processors.xapi.transformer_processor").XApiProcessor
    base = importlib.import_module(f"{ERB}.processors.mixins.base_transformer_processor")
    registry = importlib.import_module(f"{ERB}.processors.transformer_utils.registry").TransformerRegistry
    whitelist = importlib.import_module("eventtracking.processors.whitelist").NameWhitelistProcessor
    return router.process_event, xapi, base, registry.get_transformer, whitelist


def _xapi_transformer() -> tuple[Any, ...]:
    return (importlib.import_module(f"{ERB}.processors.xapi.transformer"),)


REPLACED_CODE = {
    "base_transformer": ReplacedCode("puts the fields together", _base_transformer),
    "block_ids": ReplacedCode("makes the id of a video", _block_ids),
    "get_data": ReplacedCode("reads a field of an event", _get_data),
    "get_uuid5": ReplacedCode("makes the id of a statement", _get_uuid5),
    "lookups": ReplacedCode("finds users, ids and courses", _lookups),
    "openedx_filter": ReplacedCode("runs Open edX filters", _openedx_filter),
    "tincan": ReplacedCode("makes and serialises objects", _tincan),
    "transformer_version": ReplacedCode("names the version of ERB", _transformer_version),
    "xapi_processors": ReplacedCode("turns events into xAPI", _xapi_processors),
    "xapi_transformer": ReplacedCode("makes actor, verb, context", _xapi_transformer),
}
# What only xAPI needs.
OF_XAPI = frozenset({"base_transformer", "tincan", "xapi_processors", "xapi_transformer"})
# Name -> the digests of the sources that the replacement was compared with: those of event-routing-backends 9.3.8 and
# 10.1.0. Two packages write the folder tincan/: event-routing-backends requires tincan (1.0.0), edx-platform
# edx-tincan-py35 (1.0.0 and 2.0.0, which differ in their number). What was installed last is there.
KNOWN_SOURCES: dict[str, frozenset[str]] = {
    "base_transformer": frozenset({"2b7a1d5d1646"}),
    "block_ids": frozenset({"f04452cd2d23"}),
    "get_data": frozenset({"ea82eab1569a"}),
    "get_uuid5": frozenset({"50750567b17d"}),
    "lookups": frozenset({"14b491537863"}),
    "openedx_filter": frozenset({"673b712ef5d9"}),
    "tincan": frozenset({"1b06cf3145a5", "57fae6798653"}),
    "transformer_version": frozenset({"6aa244fa9b41"}),
    "xapi_processors": frozenset({"1e7013e1cb64"}),
    "xapi_transformer": frozenset({"363172aadb78"}),
}


def digest_of(name: str) -> str:
    """The first 12 digits of the SHA-256 of the source of replaced code; ``""`` if the packages lack that code."""
    try:
        return _digest(REPLACED_CODE[name].code())
    except (ImportError, AttributeError, KeyError, OSError, TypeError):
        return ""


@functools.lru_cache(maxsize=64)
def _digest(code: tuple[Any, ...]) -> str:
    """Kept, since it is asked for several times at a start, and Python takes long to find the ends of functions."""
    sources = "\n".join(inspect.getsource(part) for part in code)
    return hashlib.sha256(sources.encode()).hexdigest()[:12]


def is_known(name: str) -> bool:
    """Was the replacement compared with the source that is installed?"""
    return digest_of(name) in KNOWN_SOURCES[name]


def installed_packages() -> list[str]:
    """Name and version of each package that the replaced code is in."""
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    return found


def notice_of_unknown_code(transformer_type: str) -> str:
    """What the fast path leaves as it is since it does not know that version, in one line; ``""`` if it knows all."""
    names = [name for name in REPLACED_CODE if transformer_type == "xapi" or name not in OF_XAPI]
    unknown = [name for name in names if not is_known(name)]
    if not unknown:
        return ""
    what = ", ".join(f"{name} ({REPLACED_CODE[name].description})" for name in unknown)
    packages = installed_packages()
    both = sum("tincan" in package for package in packages) > 1
    why = " Both tincan packages write the folder tincan/: the one installed last is used." if both else ""
    return (
        f"The fast path does not know the installed version of {what}, and uses it as it is: the statements are the "
        f"same, made more slowly. Installed: {', '.join(packages)}.{why}"
    )
