"""Replaces code of ERB and tincan at run time, and restores it. No other module does this.

Each replacement returns the same values and raises the same errors as the code it replaces. The one that is meant to
differ is :func:`include_deleted_users`, which a setting asks for.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import sys
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from django.conf import settings

from ..read.events import find_nested
from .block_ids import video_block_ids
from .deleted_users import DeletedUsers
from .filters import classes_of_erb, filter_type
from .lookups import Lookups, unknown_user
from .sources import ERB, TINCAN_MODULES, is_known

LOOKUPS = ("get_anonymous_user_id", "get_user_email", "get_course_from_id")
_undo: list[tuple[Any, str, Any]] = []
_deleted_users: DeletedUsers | None = None


def install(transformer_type: str, runs_filters: bool) -> Lookups | None:
    """Replace all code whose source is known, in this process.

    ``runs_filters``: steps of Open edX filters run. They could change an object that other statements share, so none is
    shared.

    Returns the object that answers ERB's look-ups; ``None`` if ERB's own functions still do.
    """
    remove()
    lookups = _replace_lookups(transformer_type)
    if is_known("get_uuid5"):
        _replace_everywhere(importlib.import_module(f"{ERB}.helpers").get_uuid5, _get_uuid5)
    if is_known("block_ids"):
        original = importlib.import_module(f"{ERB}.helpers").make_video_block_id
        _replace_everywhere(original, video_block_ids(original))
    _patch_base_transformer()
    _replace_settings()
    _remove_unused_filters()
    _patch_tincan()
    if transformer_type == "xapi" and not runs_filters:
        _share_equal_objects(knows_people=lookups is not None)
    return lookups


def _replace_lookups(transformer_type: str) -> Lookups | None:
    if not is_known("lookups"):
        return None
    helpers = importlib.import_module(f"{ERB}.helpers")
    originals = {name: getattr(helpers, name) for name in LOOKUPS}
    lookups = Lookups(transformer_type, originals)
    for name in LOOKUPS:
        _replace_everywhere(originals[name], getattr(lookups, name))
    return lookups


def include_deleted_users(transformer_type: str) -> DeletedUsers | None:
    """Let ERB's look-up of external ids find those of deleted users, too; with the fast path or without it.

    Returns the object that finds them; ``None`` if ERB's look-up is not the one that is known. Call it last: what is
    installed later would not see it.
    """
    global _deleted_users
    with removed():
        if not is_known("lookups"):
            return None
    _deleted_users = DeletedUsers(transformer_type)
    _add_deleted_users()
    return _deleted_users


def _add_deleted_users() -> None:
    """Replace what looks external ids up now, ERB's function or :class:`Lookups`: it is asked first."""
    if _deleted_users is None:
        return
    found = importlib.import_module(f"{ERB}.helpers").get_anonymous_user_id
    _replace_everywhere(found, _with_deleted_users(found, _deleted_users))


def _with_deleted_users(look_up: Callable[[Any, str], str], deleted_users: DeletedUsers) -> Callable[[Any, str], str]:
    def get_anonymous_user_id(username_or_id: Any, external_type: str) -> str:
        try:
            return look_up(username_or_id, external_type)
        except ValueError as error:
            if external_type != deleted_users.external_type or str(error) != unknown_user(username_or_id):
                raise
            if found := deleted_users.external_id(username_or_id):
                return found
            raise

    return get_anonymous_user_id


def remove() -> None:
    """Restore all code that was replaced."""
    global _deleted_users
    _deleted_users = None
    _restore()


def _restore() -> None:
    while _undo:
        owner, name, original = _undo.pop()
        setattr(owner, name, original)


@contextlib.contextmanager
def removed() -> Iterator[None]:
    """Within this context, ERB and tincan run as installed. Deleted users, which are not about speed, are included."""
    replaced = [(owner, name, _stored_attribute(owner, name)) for owner, name, _ in _undo]
    undo = list(_undo)
    _restore()
    _add_deleted_users()
    try:
        yield
    finally:
        _restore()
        for owner, name, replacement in replaced:
            setattr(owner, name, replacement)
        _undo.extend(undo)


def _stored_attribute(owner: Any, name: str) -> Any:
    """The attribute as ``owner`` stores it, so that it can be restored: ``getattr`` would unwrap a static method."""
    return vars(owner)[name]


def _replace(owner: Any, name: str, replacement: Any) -> None:
    _undo.append((owner, name, _stored_attribute(owner, name)))
    setattr(owner, name, replacement)


def _replace_everywhere(function: Any, replacement: Any) -> None:
    """Replace a function in all of ERB's modules, because most import it by name."""
    for module_name, module in list(sys.modules.items()):
        if module_name == ERB or module_name.startswith(f"{ERB}."):
            for name, value in list(vars(module).items()):
                if value is function:
                    _replace(module, name, replacement)


@functools.lru_cache(maxsize=1024)
def _namespace(key: str) -> bytes:
    base = uuid.UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
    return uuid.uuid5(base, key).bytes


# What a UUID keeps. (It refuses to be changed, even by its own constructor, which does what follows in more steps.)
_keep_number = vars(uuid.UUID)["int"].__set__
_keep_safety = vars(uuid.UUID)["is_safe"].__set__
_SHA1_BITS = ~(0xF000 << 64 | 0xC000 << 48)
_VERSION_5 = 5 << 76 | 0x8000 << 48


def _get_uuid5(namespace_key: str, name: str) -> uuid.UUID:
    """As ``helpers.get_uuid5``. There are few namespaces, so each is computed only once."""
    digest = hashlib.sha1(_namespace(namespace_key) + name.encode(), usedforsecurity=False).digest()
    made = object.__new__(uuid.UUID)
    _keep_number(made, int.from_bytes(digest[:16], "big") & _SHA1_BITS | _VERSION_5)
    _keep_safety(made, uuid.SafeUUID.unknown)
    return made


def _patch_base_transformer() -> None:
    mixin = importlib.import_module(f"{ERB}.processors.mixins.base_transformer").BaseTransformerMixin
    if is_known("get_data"):
        _replace(mixin, "get_data", _get_data)
    if not getattr(settings, "RUNNING_WITH_TEST_SETTINGS", False):
        text = f"event-routing-backends@{importlib.import_module(ERB).__version__}"
        if is_known("transformer_version"):
            _replace(mixin, "transformer_version", property(lambda self: text))


def _replace_settings() -> None:
    """Give ERB's transformers the object behind Django's lazy ``settings``: reading it is 20 times as fast."""
    plain = getattr(settings, "_wrapped", settings)
    for module_name, module in list(sys.modules.items()):
        if module_name.startswith(f"{ERB}.processors.") and vars(module).get("settings") is settings:
            _replace(module, "settings", plain)


class _KeyParts(dict[str, "tuple[str, ...]"]):
    """Dotted key -> its parts. It stays small, since ERB's transformers use few different keys."""

    def __missing__(self, key: str) -> tuple[str, ...]:
        self[key] = tuple(key.split("."))
        return self[key]


_key_parts = _KeyParts()


def _get_data(self: Any, key: str, required: bool = False) -> Any:
    """As ``BaseTransformerMixin.get_data``."""
    event = self.event
    if "." in key:
        result = event
        try:
            for part in _key_parts[key]:
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


def _remove_unused_filters() -> None:
    """Remove the decorator ``openedx_filter`` from methods whose filter is not configured."""
    if not is_known("openedx_filter"):
        return
    configured = getattr(settings, "OPEN_EDX_FILTERS_CONFIG", None) or {}
    for cls in list(classes_of_erb()):
        for name, method in list(vars(cls).items()):
            found = filter_type(method)
            if found is not None and found not in configured:
                _replace(cls, name, method.__wrapped__)


def _share_equal_objects(knows_people: bool) -> None:
    """Let statements share equal actors, verbs and courses.

    ``knows_people``: how ERB finds the user of an event is known.
    """
    if not is_known("xapi_transformer"):
        return
    from .interning import Interner
    from .routes import new_methods

    module = importlib.import_module(f"{ERB}.processors.xapi.transformer")
    owners = (
        (module.XApiTransformer, "get_actor"),
        (module.XApiTransformer, "get_verb"),
        (module.XApiVerbTransformerMixin, "get_verb"),
        (module.XApiTransformer, "get_context_activities"),
    )
    interner = Interner(knows_people, *(vars(cls)[name] for cls, name in owners))
    for (cls, name), method in zip(owners, interner.methods(), strict=True):
        _replace(cls, name, method)
    if is_known("base_transformer") and tincan_is_replaced():
        for name, method in new_methods(module.XApiTransformer).items():
            _replace(module.XApiTransformer, name, method)


def tincan_is_replaced() -> bool:
    """Does ``fast_path.tincan`` create tincan's objects and turn them into data?"""
    base = importlib.import_module("tincan.serializable_base").SerializableBase
    return bool(base.as_version.__module__ == f"{__package__}.tincan")


def _patch_tincan() -> None:
    if not is_known("tincan"):
        return
    from . import tincan as fast_classes

    modules = {name: importlib.import_module(f"tincan.{name}") for name in TINCAN_MODULES}
    _replace(modules["base"].Base, "__setattr__", fast_classes.set_attribute)
    _replace(modules["serializable_base"].SerializableBase, "as_version", fast_classes.as_version)
    _replace(modules["serializable_base"].SerializableBase, "to_json", fast_classes.to_json)
    _replace(modules["language_map"].LanguageMap, "__init__", fast_classes.make_language_map)
    # As its own, which only calls this one.
    _replace(modules["extensions"].Extensions, "__init__", dict.__init__)
    for cls, init in fast_classes.NEW_INITS.items():
        _replace(cls, "__init__", init)
