"""Finds the external ids of users who are deleted, or retired under a name that ERB can't work out.

ERB finds a retired user by the id in the event, or by the retired name that it makes of the one in the event. It finds
nobody where the user's row is gone, or where that name was made with a salt that is no longer set. Only with the
setting ``TRANSFORM_LOGS_INCLUDE_DELETED_USERS`` does the job then look for the external id that the LMS had given the
user before. It never makes one, and never gives an event the id of a user who is still there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connections

from ..read.events import find_nested, person_of
from ..util.bounded_dict import BoundedDict
from .external_ids import recorded_ids, stored_ids
from .lookups import LARGEST_ID, as_id
from .usernames import IN_ONE_QUERY, slices

log = logging.getLogger(__name__)

KEPT_IDS = 100_000


class DeletedUsers:
    """Answers for one event at a time, which :meth:`begin` names; keeps what it has found."""

    def __init__(self, transformer_type: str) -> None:
        self.external_type = transformer_type.upper()
        self._person: Any = None
        self._number: int | None = None
        self._ids: BoundedDict[int, str] = BoundedDict(KEPT_IDS)
        """User id -> external id; ``""``: there is none that may be used."""

    def begin(self, event: Mapping[str, Any]) -> None:
        """``event`` is transformed next. ERB takes fields out of it as it goes, so who it is of is noted now."""
        self._person = person_of(event)
        self._number = number_of(event)

    def external_id(self, who: Any) -> str:
        """The id of the current event's user; ``""`` if there is none, or if ``who`` is another person."""
        if self._number is None or who != self._person:
            return ""
        known = self._ids.get(self._number)
        if known is None:
            self._find([self._number])
            known = self._ids.get(self._number)
        return known or ""

    def look_up(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Find the ids for ``events``, of which ERB finds no user, with few queries.

        Never raises: what fails is looked up event by event, and the job waits there.
        """
        numbers = {number for event in events if (number := number_of(event)) is not None}
        try:
            self._find(number for number in numbers if number not in self._ids)
        except Exception as error:
            log.info("looking up in bulk failed, asking one by one: %s", error)
            connections.close_all()

    def _find(self, numbers: Iterable[int]) -> None:
        for some in slices(numbers, IN_ONE_QUERY):
            rows = get_user_model().objects.filter(id__in=some).values_list("id", "username")
            others = {number for number, name in rows if not _is_retired(name)}
            wanted = [number for number in some if number not in others]
            found = stored_ids(self.external_type, wanted)
            rest = [number for number in wanted if number not in found]
            found |= recorded_ids(self.external_type, rest)
            for number in some:
                self._ids.put(number, found.get(number, ""))


def number_of(event: Mapping[str, Any]) -> int | None:
    """The id that the event's user had; ``None`` if the event does not say.

    It is what ERB asks for (:func:`~.events.person_of`), if that is an id. If it is a name, it is the id in the event's
    context, provided that this is the context of the same person: an enrolment by the staff has that of the staff.
    """
    data = event.get("data")
    if isinstance(data, dict) and (data.get("user_id") or data.get("username")):
        by_id, name = data.get("user_id"), data.get("username")
    else:
        by_id, name = find_nested(event, "user_id"), find_nested(event, "username")
    if by_id:
        return _as_user_id(by_id)
    context = event.get("context")
    if not isinstance(context, dict) or not name or name not in (event.get("username"), context.get("username")):
        return None
    return _as_user_id(context.get("user_id"))


def _as_user_id(value: Any) -> int | None:
    number = as_id(value) if type(value) in (int, str) else None
    return number if number is not None and 0 < number <= LARGEST_ID else None


def _is_retired(username: str) -> bool:
    """Is this a name that the LMS gives to retired users?"""
    prefix = str(getattr(settings, "RETIRED_USERNAME_FMT", "")).partition("{")[0]
    return bool(prefix) and username.startswith(prefix)
