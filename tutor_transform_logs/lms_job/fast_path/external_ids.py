"""The external ids that the LMS has stored: those of its users, and those of users who were deleted.

edx-platform keeps both in ``external_user_ids``: a table, and beside it the history of its rows.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

from .usernames import IN_ONE_QUERY, slices


def type_name(external_type: str) -> str:
    """The name of a type of ids in the table; ``external_type``: XAPI or CALIPER, as ERB has it."""
    types = _helpers().ExternalIdType
    # ERB falls back to LTI on an edx-platform that does not know the type yet.
    name: str = getattr(types, external_type, None) or types.LTI
    return name


def stored_ids(external_type: str, numbers: Iterable[int], database: str | None = None) -> dict[int, str]:
    """User id -> external id, for the users who have one."""
    rows = _helpers().ExternalId.objects
    return _ids(rows.using(database) if database else rows, external_type, numbers)


def recorded_ids(external_type: str, numbers: Iterable[int]) -> dict[int, str]:
    """User id -> the last external id, for those who had one once: the LMS deletes a user's row, not its history."""
    history = getattr(_helpers().ExternalId, "history", None)
    return {} if history is None else _ids(history.order_by("history_date", "history_id"), external_type, numbers)


def _ids(rows: Any, external_type: str, numbers: Iterable[int]) -> dict[int, str]:
    found: dict[int, str] = {}
    for some in slices(numbers, IN_ONE_QUERY):
        of_type = rows.filter(external_id_type__name=type_name(external_type), user_id__in=some)
        found.update(
            (number, str(external_id)) for number, external_id in of_type.values_list("user_id", "external_user_id")
        )
    return found


def _helpers() -> Any:
    return importlib.import_module("event_routing_backends.helpers")
