"""The one place where code of ERB and tincan is replaced at run time, and put back.

Every replacement gives the same values and raises the same errors as what it stands for; what is replaced is known by
the digest of its source, and what has another source (a version of ERB or tincan that nobody has looked at yet) stays
as it is. ``fast_path`` off: nothing is replaced.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import inspect
import logging
import sys
import uuid
from collections.abc import Iterator
from typing import Any

from django.conf import settings

from ..read.events import find_nested
from .lookups import Lookups

log = logging.getLogger(__name__)

ERB = "event_routing_backends"
LOOKUPS = ("get_anonymous_user_id", "get_user_email", "get_course_from_id")
# The modules of tincan whose ways ``fast_classes`` knows.
TINCAN = (
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
# Of the source of what is replaced: name -> the first digits of its digest.
# These are of event-routing-backends 9.3.8 and 10.1.0 (edx-tincan-py35 2.0.0).
KNOWN_SOURCES: dict[str, frozenset[str]] = {
    "get_data": frozenset({"ea82eab1569a"}),
    "get_uuid5": frozenset({"50750567b17d"}),
    "openedx_filter": frozenset({"673b712ef5d9"}),
    "tincan": frozenset({"1b06cf3145a5"}),
    "transformer_version": frozenset({"6aa244fa9b41"}),
    "xapi_processors": frozenset({"1e7013e1cb64"}),
    "xapi_transformer": frozenset({"363172aadb78"}),
}

_undo: list[tuple[Any, str, Any]] = []


def digest(*parts: Any) -> str:
    """Tells one version of the source of functions, classes or modules from another."""
    sources = "\n".join(inspect.getsource(part) for part in parts)
    return hashlib.sha256(sources.encode()).hexdigest()[:12]


def install(transformer_type: str) -> Lookups:
    """Replace what can be replaced, for this process, and return what answers ERB's questions to the database."""
    remove()
    helpers = importlib.import_module(f"{ERB}.helpers")
    originals = {name: getattr(helpers, name) for name in LOOKUPS}
    lookups = Lookups(transformer_type, originals)
    for name in LOOKUPS:
        _replace_everywhere(originals[name], getattr(lookups, name))
    if is_known("get_uuid5", (helpers.get_uuid5,)):
        _replace_everywhere(helpers.get_uuid5, _get_uuid5)
    _patch_base_transformer()
    _replace_settings()
    _drop_filters()
    _patch_tincan()
    if transformer_type == "xapi":
        _share()
    return lookups


def remove() -> None:
    """Put everything back."""
    while _undo:
        owner, name, original = _undo.pop()
        setattr(owner, name, original)


@contextlib.contextmanager
def removed() -> Iterator[None]:
    """ERB and tincan as they are, for as long as the context lasts."""
    replaced = [(owner, name, getattr_static(owner, name)) for owner, name, _ in _undo]
    undo = list(_undo)
    remove()
    try:
        yield
    finally:
        remove()
        for owner, name, replacement in replaced:
            setattr(owner, name, replacement)
        _undo.extend(undo)


def getattr_static(owner: Any, name: str) -> Any:
    """The attribute as it is stored: a function of a class, not a method; a static method, not its function."""
    return vars(owner)[name]


def _replace(owner: Any, name: str, replacement: Any) -> None:
    _undo.append((owner, name, getattr_static(owner, name)))
    setattr(owner, name, replacement)


def _replace_everywhere(function: Any, replacement: Any) -> None:
    """Replace a function in all of ERB's modules: most have imported it by name."""
    for module_name, module in list(sys.modules.items()):
        if module_name == ERB or module_name.startswith(f"{ERB}."):
            for name, value in list(vars(module).items()):
                if value is function:
                    _replace(module, name, replacement)


def is_known(name: str, sources: tuple[Any, ...]) -> bool:
    """Is the source of these functions, classes or modules one that somebody has looked at?"""
    found = digest(*sources)
    if found in KNOWN_SOURCES.get(name, frozenset()):
        return True
    log.info("%s has a source that is not known (%s): left as it is", name, found)
    return False


@functools.lru_cache(maxsize=1024)
def _namespace(key: str) -> bytes:
    base = uuid.UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
    return uuid.uuid5(base, key).bytes


def _get_uuid5(namespace_key: str, name: str) -> uuid.UUID:
    """As ``helpers.get_uuid5``: its namespaces are few and made once."""
    made = hashlib.sha1(_namespace(namespace_key) + name.encode(), usedforsecurity=False).digest()
    return uuid.UUID(bytes=made[:16], version=5)


def _patch_base_transformer() -> None:
    mixin = importlib.import_module(f"{ERB}.processors.mixins.base_transformer").BaseTransformerMixin
    models = importlib.import_module(f"{ERB}.models")
    sources = (mixin.get_data, mixin.find_nested, models.get_value_from_dotted_path)
    if is_known("get_data", sources):
        _replace(mixin, "get_data", _get_data)
    version: Any = vars(mixin)["transformer_version"]
    if not getattr(settings, "RUNNING_WITH_TEST_SETTINGS", False):
        text = f"event-routing-backends@{importlib.import_module(ERB).__version__}"
        if is_known("transformer_version", (version.fget,)):
            _replace(mixin, "transformer_version", property(lambda self: text))


def _replace_settings() -> None:
    """Let ERB's transformers read what Django's lazy ``settings`` stands for: it takes 20 times as long itself."""
    plain = getattr(settings, "_wrapped", settings)
    for module_name, module in list(sys.modules.items()):
        if module_name.startswith(f"{ERB}.processors.") and vars(module).get("settings") is settings:
            _replace(module, "settings", plain)


class _Parts(dict[str, "tuple[str, ...]"]):
    """A dotted key -> its parts. There are as many keys as ERB's transformers ask for."""

    def __missing__(self, key: str) -> tuple[str, ...]:
        self[key] = tuple(key.split("."))
        return self[key]


_parts = _Parts()


def _get_data(self: Any, key: str, required: bool = False) -> Any:
    """As ``BaseTransformerMixin.get_data``."""
    event = self.event
    if "." in key:
        result = event
        try:
            for part in _parts[key]:
                result = result[part]
        except (KeyError, TypeError):
            result = None
    else:
        result = event[key] if key in event else find_nested(event, key)
    if not result and result != 0:
        result = None
    if result is None and required:
        raise ValueError(f'Could not get value for {key} in event "{event.get("name", None)}"')
    return result


def _drop_filters() -> None:
    """Take the decorator ``openedx_filter`` off the methods whose filter nobody has configured."""
    decorators = importlib.import_module(f"{ERB}.processors.openedx_filters.decorators")
    filters = importlib.import_module(f"{ERB}.processors.openedx_filters.filters")
    if not is_known("openedx_filter", (decorators, filters)):
        return
    configured = getattr(settings, "OPEN_EDX_FILTERS_CONFIG", None) or {}
    for module_name, module in list(sys.modules.items()):
        if not module_name.startswith(f"{ERB}.processors."):
            continue
        for cls in [one for one in vars(module).values() if inspect.isclass(one) and one.__module__ == module_name]:
            for name, method in list(vars(cls).items()):
                filter_type = _filter_type(method)
                if filter_type is not None and filter_type not in configured:
                    _replace(cls, name, method.__wrapped__)


def _filter_type(method: Any) -> str | None:
    """The filter that a decorated method runs, or ``None`` for any other."""
    if not inspect.isfunction(method) or not hasattr(method, "__wrapped__"):
        return None
    closed = inspect.getclosurevars(method).nonlocals
    if closed.keys() != {"filter_type", "func"} or closed["func"] is not method.__wrapped__:
        return None
    return str(closed["filter_type"])


def _share() -> None:
    """Let statements share what they have in common, unless there are filters, which may change it."""
    configured = getattr(settings, "OPEN_EDX_FILTERS_CONFIG", None) or {}
    if any(str(name).startswith(f"{ERB}.") for name in configured):
        return
    module = importlib.import_module(f"{ERB}.processors.xapi.transformer")
    if not is_known("xapi_transformer", (module,)):
        return
    owners = (
        (module.XApiTransformer, "get_actor"),
        (module.XApiTransformer, "get_verb"),
        (module.XApiVerbTransformerMixin, "get_verb"),
        (module.XApiTransformer, "get_context_activities"),
    )
    sharing = importlib.import_module(f"{__package__}.interning").Interner(*(vars(cls)[name] for cls, name in owners))
    for (cls, name), method in zip(owners, sharing.methods(), strict=True):
        _replace(cls, name, method)


def tincan_is_replaced() -> bool:
    """Are tincan's objects made and turned into data by ``fast_classes``?"""
    base = importlib.import_module("tincan.serializable_base").SerializableBase
    return bool(base.as_version.__module__ == f"{__package__}.tincan")


def _patch_tincan() -> None:
    fast_classes = importlib.import_module(f"{__package__}.tincan")
    modules = {name: importlib.import_module(f"tincan.{name}") for name in TINCAN}
    if not is_known("tincan", tuple(modules.values())):
        return
    _replace(modules["base"].Base, "__setattr__", fast_classes.set_attribute)
    _replace(modules["serializable_base"].SerializableBase, "as_version", fast_classes.as_version)
    _replace(modules["serializable_base"].SerializableBase, "to_json", fast_classes.to_json)
    _replace(modules["language_map"].LanguageMap, "__init__", fast_classes.make_language_map)
    for cls, init in fast_classes.NEW_INITS.items():
        _replace(cls, "__init__", init)
