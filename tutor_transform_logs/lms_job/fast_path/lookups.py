"""Looks up users, their external ids, and courses for many events at once, and keeps the results.

ERB's ``helpers`` query the database three times for each event. :class:`Lookups` answers instead, from what it has
looked up before, with the same values and the same errors. If it is not certain of the answer, it calls ERB's own
function.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connections, router

from ..read.events import course_of, person_of
from ..util.bounded_dict import BoundedDict
from .external_ids import stored_ids, type_name
from .usernames import IN_ONE_QUERY, Name, User, can_be_asked_with_others, find_users, retired_names_function, slices

log = logging.getLogger(__name__)

# A site may have millions of users. This limit keeps the memory for them small, compared with the rest of a worker.
KEPT_USERS = 100_000
KEPT_COURSES = 10_000
# The largest id that a column of Django's AutoField can hold. Larger ones are left to ERB's own function.
LARGEST_ID = 2**31 - 1
EMAIL_ACTORS = ("mbox", "mbox_sha1sum")
# What ERB's get_user_email returns for an unknown user.
PLACEHOLDER_EMAIL = "unknown@example.com"


class Lookups:
    """Answers what a transformer asks of the LMS's database. ``originals`` are ERB's own functions, by name."""

    def __init__(self, transformer_type: str, originals: Mapping[str, Callable[..., Any]]) -> None:
        self._external_type = transformer_type.upper()
        self._wants_emails = transformer_type == "xapi" and getattr(settings, "XAPI_AGENT_IFI_TYPE", "") in EMAIL_ACTORS
        self._ask_erb_for_id = originals["get_anonymous_user_id"]
        self._ask_erb_for_email = originals["get_user_email"]
        self._ask_erb_for_course = originals["get_course_from_id"]
        self._helpers = importlib.import_module("event_routing_backends.helpers")
        self._retired_names = retired_names_function()
        self._ids: BoundedDict[Name, str] = BoundedDict(KEPT_USERS)
        self._emails: BoundedDict[Name, str] = BoundedDict(KEPT_USERS)
        self._courses: BoundedDict[str, Any] = BoundedDict(KEPT_COURSES)
        # A user or a course that is missing now may be created later, so these sets hold for the current events only.
        self._missing_users: set[Name] = set()
        self._without_email: set[Name] = set()
        self._missing_courses: set[str] = set()

    # The replacements of ERB's functions.

    def get_anonymous_user_id(self, username_or_id: Any, external_type: str) -> str:
        """As ERB's. Raises ``ValueError`` for an unknown user."""
        if external_type == self._external_type and type(username_or_id) in (int, str):
            known = self._ids.get(username_or_id)
            if known is not None:
                return known
            if not username_or_id or username_or_id in self._missing_users:
                raise ValueError(unknown_user(username_or_id))
            try:
                found: str = self._ask_erb_for_id(username_or_id, external_type)
            except ValueError as error:
                # Not ERB's other errors: they are not about the user.
                if str(error) == unknown_user(username_or_id):
                    self._missing_users.add(username_or_id)
                raise
            self._ids.put(username_or_id, found)
            return found
        answer: str = self._ask_erb_for_id(username_or_id, external_type)
        return answer

    def get_user_email(self, username_or_id: Any) -> str:
        """As ERB's. Returns a placeholder address for an unknown user."""
        if type(username_or_id) in (int, str):
            known = self._emails.get(username_or_id)
            if known is not None:
                return known
            if not username_or_id or self._has_no_email(username_or_id):
                return PLACEHOLDER_EMAIL
            found: str = self._ask_erb_for_email(username_or_id)
            # Somebody's address may really be this one, so it does not prove that the user is missing.
            if found == PLACEHOLDER_EMAIL:
                self._without_email.add(username_or_id)
            else:
                self._emails.put(username_or_id, found)
            return found
        answer: str = self._ask_erb_for_email(username_or_id)
        return answer

    def _has_no_email(self, who: Name) -> bool:
        return who in self._missing_users or who in self._without_email

    def get_course_from_id(self, course_id: Any) -> Any:
        """As ERB's. Raises ``ValueError`` for an unknown course."""
        if type(course_id) is not str:
            return self._ask_erb_for_course(course_id)
        known = self._courses.get(course_id)
        if known is not None:
            return known
        if course_id in self._missing_courses:
            raise ValueError(_unknown_course(course_id))
        try:
            found = self._ask_erb_for_course(course_id)
        except ValueError as error:
            if str(error) == _unknown_course(course_id):
                self._missing_courses.add(course_id)
            raise
        self._courses.put(course_id, found)
        return found

    def is_missing(self, who: Any) -> bool:
        """Has :meth:`look_up` found no user of this id or name for the current events?"""
        return type(who) in (int, str) and who in self._missing_users

    # The queries in advance.

    def look_up(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Look up the users and the courses of ``events``. Never raises: what fails is looked up event by event."""
        self._missing_users.clear()
        self._without_email.clear()
        self._missing_courses.clear()
        known_users = self._emails if self._wants_emails else self._ids
        people: set[Name] = set()
        courses: set[str] = set()
        for event in events:
            who = person_of(event)
            if who and type(who) in (int, str) and who not in known_users:
                people.add(who)
            course = course_of(event)
            if course and type(course) is str and course not in self._courses:
                courses.add(course)
        try:
            if people:
                self._look_up_people(people)
            if courses:
                self._look_up_courses(courses)
        except Exception as error:
            # Now ERB's own functions query the database for each event. If it is unavailable, the job waits there. If
            # it refuses one name, only the event with that name fails.
            log.info("looking up in bulk failed, asking one by one: %s", error)
            connections.close_all()

    def _look_up_people(self, people: set[Name]) -> None:
        by_id: dict[int, list[Name]] = {}
        names: set[Name] = set()
        for who in people:
            number = as_id(who)
            if number is None:
                names.add(who)
            elif 0 < number <= LARGEST_ID:
                by_id.setdefault(number, []).append(who)
        rows: dict[int, str] = {}
        if by_id and not self._wants_emails:
            # A row in this table also proves that the user exists, so this is usually the only query.
            rows = stored_ids(self._external_type, by_id)
            for number in rows:
                self._keep_ids(by_id.pop(number), rows[number])
        found: dict[Name, User] = {}
        if by_id:
            users = self._users(by_id)
            for number, asked_as in by_id.items():
                if number in users:
                    found.update((who, users[number]) for who in asked_as)
                else:
                    # ERB takes a number that is not a user's id for a name.
                    names.update(asked_as)
        if names:
            by_name = find_users(names, self._retired_names)
            found.update(by_name.users)
            self._missing_users |= by_name.missing
        if self._wants_emails:
            for who, (_, email) in found.items():
                self._emails.put(who, email)
        elif found:
            self._keep_ids_of(found)

    def _keep_ids(self, asked_as: Iterable[Name], external_id: str) -> None:
        for who in asked_as:
            self._ids.put(who, external_id)

    def _keep_ids_of(self, found: Mapping[Name, User]) -> None:
        """Keep the external ids of these users, and create those that are missing."""
        numbers = {number for number, _ in found.values()}
        rows = stored_ids(self._external_type, numbers)
        lacking = numbers - rows.keys()
        if lacking:
            rows.update(self._new_external_ids(lacking))
        for who, (number, _) in found.items():
            if number in rows:
                self._ids.put(who, rows[number])

    def _new_external_ids(self, numbers: Iterable[int]) -> dict[int, str]:
        """Create external ids as ERB does, for many users. Other processes may create them at the same time."""
        model = self._helpers.ExternalId
        kind = self._helpers.ExternalIdType.objects.filter(name=type_name(self._external_type)).first()
        if kind is None:
            return {}
        for some in slices(sorted(numbers), IN_ONE_QUERY):
            # The user and the type are unique together, so a row that another process has just created stays.
            model.objects.bulk_create(
                [model(user_id=number, external_id_type=kind) for number in some], ignore_conflicts=True
            )
        # Read the rows that won from the database that was written to: a replica may not have them yet.
        return stored_ids(self._external_type, numbers, router.db_for_write(model))

    def _users(self, numbers: Iterable[int]) -> dict[int, User]:
        """User id -> the id and the email, for the users who exist."""
        found: dict[int, User] = {}
        for some in slices(numbers, IN_ONE_QUERY):
            rows = get_user_model().objects.filter(id__in=some).values_list("id", "email")
            found.update((number, (number, email)) for number, email in rows)
        return found

    def _look_up_courses(self, course_ids: Iterable[str]) -> None:
        keys = {}
        for course_id in course_ids:
            try:
                key = self._helpers.CourseKey.from_string(course_id)
            except Exception:  # noqa: S112
                # ERB's own function raises the same error when the course's event is transformed.
                continue
            if str(key) == course_id and can_be_asked_with_others(course_id):
                keys[course_id] = key
        self._keep_courses(keys)
        rest = {course_id: key for course_id, key in keys.items() if course_id not in self._courses}
        # The courses found may be the ones of these ids too, in a spelling that the database takes for equal. If it
        # finds no course for these ids alone, none exists. Else ERB's own function asks for each.
        for some in slices(rest.items(), IN_ONE_QUERY):
            if not self._keep_courses(dict(some)):
                self._missing_courses.update(course_id for course_id, _ in some)

    def _keep_courses(self, keys: Mapping[str, Any]) -> bool:
        """Look the courses up and keep those whose id is spelled as asked for. Returns whether there are any at all."""
        found = False
        for some in slices(keys.values(), IN_ONE_QUERY):
            for course in self._helpers.get_course_overviews(some):
                found = True
                if str(course["id"]) in keys:
                    self._courses.put(str(course["id"]), course)
        return found


def unknown_user(who: Name) -> str:
    """The text of the ``ValueError`` that ERB raises for a user whom it does not find."""
    return f"User with username {who} does not exist."


def _unknown_course(course_id: str) -> str:
    return f"Course with id {course_id} does not exist."


def as_id(who: Name) -> int | None:
    """The number that ERB would look up as an id; ``None`` for a name."""
    try:
        return int(who)
    except ValueError:
        return None
