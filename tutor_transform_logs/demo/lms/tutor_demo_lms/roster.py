"""Who learns what in the embedded LMS: users and courses, computed from their number alone.

The seed of the database and the writers of sample logs both read it, so this module imports neither Django nor
anything else of the package.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

RETIRED_USER_SALTS = ("demo-salt-2024", "demo-salt-2025")
RETIRED_USERNAME_FMT = "retired__user_{}"

_EXTERNAL_ID_SPACE = uuid.UUID("2d1c0e5a-6d0b-5b3c-9a43-4d0a4f1c7e10")
# One in this many users has no external id yet, like people who have never met an LRS: ERB makes one on the fly.
_WITHOUT_EXTERNAL_ID = 7
# A user number beyond every seeded one.
UNKNOWN_USER_BASE = 900_000_000
UNKNOWN_COURSE = "course-v1:GoneU+Deleted101+2019"

_SPECIAL_USERNAMES = {
    1: "staff",
    3: "José.Núñez",
    4: "علي_حسن",
    5: "李明",
    # 6 is retired, see below
    # A name that is a number but nobody's id: ERB tries every name as an id first.
    8: "20260101",
    9: "Ümit-Ö",
}
RETIRED_USER = 6
RETIRED_ORIGINAL_USERNAME = "Gone_Student"


@dataclass(frozen=True)
class User:
    """One account. ``logged_as`` is the name in the logs: a retired account had another one when it was active."""

    id: int
    username: str
    email: str
    logged_as: str
    has_external_ids: bool

    def external_id(self, type_name: str) -> uuid.UUID:
        """The external id that the seed gives this user for ``type_name`` (``xapi``, ``caliper``)."""
        return uuid.uuid5(_EXTERNAL_ID_SPACE, f"{type_name}:{self.id}")


@dataclass(frozen=True)
class Course:
    """One course run; ``display_name`` may be missing, as it may in edx-platform."""

    key: str
    display_name: str | None


_SPECIAL_COURSES = (
    Course("course-v1:OpenedX+DemoX+DemoCourse", "Open edX Demo Course"),
    Course("course-v1:KSU+AR101+2026_T1", "مقدمة في البرمجة"),
    Course("ccx-v1:OpenedX+DemoX+DemoCourse+ccx@1", "Open edX Demo Course (evening class)"),
    Course("course-v1:PKU+ZH201+2026_T1", "数据结构 🚀"),
    Course("course-v1:OpenedX+Write+Übung_2026", "Écrire: une introduction"),
)


def retired_usernames(
    username: str, salts: Sequence[str] = RETIRED_USER_SALTS, template: str = RETIRED_USERNAME_FMT
) -> list[str]:
    """The names an account may have been given when ``username`` was retired, oldest salt first."""
    return [template.format(hashlib.sha1((salt + username.lower()).encode()).hexdigest()) for salt in salts]


def user(number: int) -> User:
    """User ``number`` (from 1), the same on every machine."""
    if number == RETIRED_USER:
        name, logged_as = retired_usernames(RETIRED_ORIGINAL_USERNAME)[-1], RETIRED_ORIGINAL_USERNAME
    else:
        name = logged_as = _SPECIAL_USERNAMES.get(number, f"learner{number:04d}")
    return User(
        id=number,
        username=name,
        email=f"user{number}@example.com",
        logged_as=logged_as,
        has_external_ids=number % _WITHOUT_EXTERNAL_ID != 0,
    )


def users(count: int) -> Iterator[User]:
    """Users 1 to ``count``."""
    return (user(number) for number in range(1, count + 1))


def course(number: int) -> Course:
    """Course ``number`` (from 0), the same on every machine."""
    if number < len(_SPECIAL_COURSES):
        return _SPECIAL_COURSES[number]
    return Course(f"course-v1:Org{number % 10}+C{number:04d}+2026", f"Course number {number}")


def courses(count: int) -> list[Course]:
    """The first ``count`` courses."""
    return [course(number) for number in range(count)]
