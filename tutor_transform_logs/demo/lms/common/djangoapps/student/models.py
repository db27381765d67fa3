"""Stands where edx-platform's ``common.djangoapps.student.models`` is."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from tutor_demo_lms import roster  # type: ignore[import-not-found, unused-ignore]


def get_all_retired_usernames_by_username(username: str) -> list[str]:
    """The names that an account of this name may have been given when it was retired."""
    return list(roster.retired_usernames(username, settings.RETIRED_USER_SALTS, settings.RETIRED_USERNAME_FMT))


def get_potentially_retired_user_by_username(username: str) -> Any:
    """The account that has, or had before it was retired, this name.

    :raises DoesNotExist: no account has it, retired or not.
    """
    user_model = get_user_model()
    names = [username, *get_all_retired_usernames_by_username(username)]
    found = list(user_model.objects.filter(username__in=names))
    if not found:
        raise user_model.DoesNotExist
    # An active account and a retired one may have had names that differ in case alone: the exact one wins.
    if len(found) == 2 and found[0].username != username:
        return found[1]
    if len(found) > 2:
        raise RuntimeError(f"expected 1 or 2 users, found {len(found)}")
    return found[0]
