"""The JSON objects of a ledger: each says which version of the format it has, and some of which plan they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from ..storage.base import Storage, read_all
from ..util.errors import JobError, ObjectGone
from .versions import VERSION, UnknownVersion, upgraded


class LedgerError(JobError):
    """The ledger can't be read. The job never starts over silently because of it."""


def serialised(values: Mapping[str, Any]) -> bytes:
    """``values`` as an object of the present version."""
    return json.dumps({"version": VERSION, **values}, sort_keys=True).encode("ascii")


def load(storage: Storage, name: str, make: Callable[[Mapping[str, Any]], Any]) -> Any:
    """What ``make`` makes of an object's values in the present form; ``None`` if there is no such object.

    Raises :class:`~.errors.JobError` for one that can't be read.
    """
    where = storage.where(name)
    try:
        values = json.loads(read_all(storage, name))
    except ObjectGone:
        return None
    except (ValueError, RecursionError) as error:
        raise unreadable(where, error) from None
    if not isinstance(values, dict):
        raise unreadable(where, ValueError())
    try:
        return make(upgraded(values))
    except UnknownVersion as error:
        raise LedgerError(
            f"The ledger {where} has the format {error.version}, and this release of the plugin reads "
            f"formats up to {VERSION}: upgrade the plugin and run the command again."
        ) from None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise unreadable(where, error) from None


def with_plan(make: Callable[[Mapping[str, Any]], Any]) -> Callable[[Mapping[str, Any]], tuple[str, Any]]:
    """``make``, and before it the uuid of the plan that an object is of."""

    def made(values: Mapping[str, Any]) -> tuple[str, Any]:
        uuid, rest = values["plan"], {name: value for name, value in values.items() if name != "plan"}
        if not isinstance(uuid, str):
            raise TypeError("not a uuid")
        return uuid, make(rest)

    return made


def unreadable(where: str, error: Exception) -> LedgerError:
    """For an object whose reading has raised ``error``."""
    return LedgerError(
        f"The ledger {where} is damaged ({type(error).__name__}): "
        "restore it from a backup, or start over with --restart (what was delivered is then sent again)."
    )
