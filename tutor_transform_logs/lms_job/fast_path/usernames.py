"""Finds the users with many names in few queries, as ERB's ``get_user`` finds each of them.

Which names are equal is for the database to say. MariaDB's ``utf8mb4_unicode_ci`` ignores case, accents and trailing
blanks, takes ``ß`` for ``ss`` and all emoji for equal; other collations and databases do some or none of this. So a
name is known to be missing only if a query that asked for it returned no user.
"""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.contrib.auth import get_user_model
from django.db.models import Value

# Every database that Django supports accepts at least 999 values in one query. From 1,000 on, MariaDB turns a list into
# a table, whose column may compare texts by other rules.
IN_ONE_QUERY = 900
# Every database that Django supports combines at least 500 queries into one.
IN_ONE_UNION = 100

Name = int | str
User = tuple[int, str]
"""A user's id and email."""
T = TypeVar("T")


@dataclass
class FoundNames:
    """``users`` are found under each name, ``missing`` names have no user. What is in neither is not known."""

    users: dict[Name, User] = field(default_factory=dict)
    missing: set[Name] = field(default_factory=set)


def find_users(names: Iterable[Name], retired_names: Callable[[str], list[str] | None]) -> FoundNames:
    """The users who have these names, or had them before they were retired.

    :param names: a number is the name that consists of its digits.
    :param retired_names: the names that a user may have after being retired; ``None`` if they can't be known.
    :raises django.db.Error: the database is unavailable or refuses the names.
    """
    spellings: dict[Name, list[str]] = {}
    for name in names:
        if can_be_asked_with_others(str(name)):
            # A number was never the name of a retired user.
            retired = retired_names(name) if isinstance(name, str) else []
            if retired is not None:
                spellings[name] = [str(name), *retired]
    found = FoundNames()
    _find_exact(spellings, found)
    rest = {name: own for name, own in spellings.items() if name not in found.users}
    if rest:
        for some in slices(rest.items(), IN_ONE_QUERY // max(len(own) for own in rest.values())):
            _find_equal(dict(some), found)
    return found


def _find_exact(spellings: Mapping[Name, Sequence[str]], found: FoundNames) -> None:
    """Find those who are spelled as asked for: usually all. (A name is unique, so nobody else has an equal one.)"""
    users = get_user_model().objects
    rows: dict[str, User] = {}
    for some in slices({own[0] for own in spellings.values()}, IN_ONE_QUERY):
        of_these = users.filter(username__in=some).values_list("username", "id", "email")
        rows.update((username, (number, email)) for username, number, email in of_these)
    for name, own in spellings.items():
        if own[0] in rows:
            found.users[name] = rows[own[0]]


def _find_equal(spellings: Mapping[Name, Sequence[str]], found: FoundNames) -> None:
    """Find those whose names the database takes for equal, and those who are retired."""
    users = get_user_model().objects
    if not users.filter(username__in=list(itertools.chain.from_iterable(spellings.values()))).exists():
        found.missing.update(spellings)
        return
    for some in slices(spellings.items(), IN_ONE_UNION):
        # One query for each name, combined: only so do the rows say for which name they were found.
        first, *others = [
            users.filter(username__in=own).annotate(asked=Value(number)).values_list("asked", "id", "email").order_by()
            for number, (_, own) in enumerate(some)
        ]
        rows: dict[int, list[User]] = {}
        for number, user_id, email in first.union(*others, all=True):
            rows.setdefault(number, []).append((user_id, email))
        for number, (name, _) in enumerate(some):
            if number not in rows:
                found.missing.add(name)
            elif len(rows[number]) == 1:
                found.users[name] = rows[number][0]
            # Of several users, ERB's own function chooses one.


def can_be_asked(text: str) -> bool:
    """Does every database accept this text in a query?"""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def can_be_asked_with_others(text: str) -> bool:
    """Does every database accept this text in a query for many texts, and compare the others as without it?

    MySQL's ``utf8mb3`` has no characters beyond U+FFFF: a query with one compares all its texts as ``utf8mb4``.
    """
    return can_be_asked(text) and max(text, default="") <= "\uffff"


def slices(values: Iterable[T], size: int) -> Iterator[Sequence[T]]:
    """``values`` in lists of ``size``; the last may be shorter."""
    rest = iter(values)
    while some := list(itertools.islice(rest, size)):
        yield some


def retired_names_function() -> Callable[[str], list[str] | None]:
    """A function that returns the names which a user may have after being retired; ``None`` if they can't be known.

    It calls edx-platform's own function, which has had two names.
    """
    try:
        module = importlib.import_module("common.djangoapps.student.models")
    except ImportError:
        # ERB raises an error about this when it is asked for a user.
        return lambda username: None
    for name in ("get_all_retired_usernames_by_username", "_get_all_retired_usernames_by_username"):
        function: Any = getattr(module, name, None)
        if function is not None:
            return _listed(function)
    # Without that function, ERB's own one looks up each name.
    return lambda username: None


def _listed(function: Callable[[str], Iterable[str]]) -> Callable[[str], list[str]]:
    return lambda username: list(function(username))
