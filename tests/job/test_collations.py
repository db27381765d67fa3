"""The database decides which names are equal: users and courses are found as ERB finds them, in any company.

``TRANSFORM_LOGS_VARIATIONS=100000 make test PYTEST=tests/job/test_collations.py`` tries 100,000 lines.
"""

from __future__ import annotations

import contextlib
import json
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import IntegrityError, connection, transaction
from django.test import override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openedx.core.djangoapps.content.course_overviews.models import CourseOverview
from tutor_demo_lms import seed  # type: ignore[import-not-found, unused-ignore]

from tests.harness import mariadb
from tests.harness.databases import default_database
from tests.harness.erb import comparable, transformer
from tests.harness.parity import KINDS, forget
from tutor_transform_logs.demo import events
from tutor_transform_logs.demo.lms.tutor_demo_lms import roster
from tutor_transform_logs.demo.outcomes import Kind
from tutor_transform_logs.demo.scene import Scene
from tutor_transform_logs.lms_job.fast_path import patches
from tutor_transform_logs.lms_job.fast_path.usernames import IN_ONE_UNION
from tutor_transform_logs.lms_job.model import dead_letters
from tutor_transform_logs.lms_job.read.events import parse
from tutor_transform_logs.lms_job.transform.transformer import Transformer, Untransformable

VARIATIONS = int(os.environ.get("TRANSFORM_LOGS_VARIATIONS", "400"))
IN_A_WINDOW = 15
OLD = "utf8mb3_general_ci"
# The first is Tutor's. The second is how a site sets names apart by case. The third, older than Tutor, refuses queries
# with an emoji.
COLLATIONS = ("utf8mb4_unicode_ci", "utf8mb4_bin", OLD)

# Beside those of the roster. Where the database takes two of them for equal, it has the first alone.
NAMES = (
    "Bob", "bob", "BOB ", "Straße", "strasse", "emile", "Émile", "z" * 150, "42nd", "re\u0301sume\u0301", "tWICE",
    "Θάλεια", "ﬁlip", "nul", *roster.retired_usernames("Twice")[:1], *roster.retired_usernames("Thrice"),
)  # fmt: skip
COURSES = (
    "course-v1:Übung+Größe+Run",
    "course-v1:CaseU+Abc+2026",
    "course-v1:caseu+abc+2026",
    "MITx/6.00x/2013_Spring",
)
CHANGES: tuple[Callable[[str], str], ...] = (
    lambda text: text,
    lambda text: text,
    str.upper,
    str.lower,
    str.swapcase,
    str.title,
    lambda text: f"{text} ",
    lambda text: text + " " * 200,
    lambda text: f" {text}",
    lambda text: f"{text}\t",
    lambda text: f"{text}\0",
    lambda text: f"{text}\u200b",
    lambda text: f"{text[:1]}\u00ad{text[1:]}",
    lambda text: f"{text}😀",
    lambda text: text.replace("ß", "ss"),
    lambda text: text.replace("ss", "ß"),
    lambda text: text.replace("e", "é").replace("a", "À").replace("o", "ö"),
    lambda text: unicodedata.normalize("NFD", text),
    lambda text: unicodedata.normalize("NFKC", text),
    lambda text: unicodedata.normalize("NFD", text).encode("ascii", "ignore").decode(),
    lambda text: f"{text}+branch@draft",
    lambda text: f"{text}x",
    lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
)


def changed_course(course_id: str, change: Callable[[str], str]) -> str:
    """A change of what follows ``course-v1:``, without which there is no key that the database is asked for."""
    prefix, colon, rest = course_id.rpartition(":")
    return f"{prefix}{colon}{change(rest)}"


ODD = (
    "",
    " ",
    "\0",
    "\ud800",
    "😀",
    "😎",
    "n" * 5000,
    "٣",
    " 3 ",
    "1_0",
    "+3",
    "-3",
    "0",
    "1.0",
    "2147483648",
    "9" * 30,
)
PEOPLE = st.one_of(
    st.builds(
        lambda name, change, again: again(change(name)),
        st.sampled_from([*NAMES, "Twice", "Thrice", "nobody", *(roster.user(n).logged_as for n in range(1, 12))]),
        st.sampled_from(CHANGES),
        st.sampled_from(CHANGES[:8]),
    ),
    st.sampled_from(ODD),
    st.sampled_from([-3, 0, 1, 3, 8, 42, 20260101, roster.UNKNOWN_USER_BASE, 2**31, 2**63, 2**70, True, 1.0]),
    st.integers(1, 60).map(str),
    st.text(max_size=4),
)
COURSE_IDS = st.one_of(
    st.just(roster.course(0).key),
    st.builds(
        changed_course,
        st.sampled_from([*COURSES, roster.UNKNOWN_COURSE, *(roster.course(n).key for n in range(5))]),
        st.sampled_from(CHANGES),
    ),
    st.sampled_from(["", "x", "course-v1:𝐀+b+c", "COURSE-V1:OpenedX+DemoX+DemoCourse", 5]),
)


@dataclass(frozen=True)
class Line:
    """A line of a log: who did something (as ``user_id`` or as ``username``) in which course."""

    who: Any
    field: str
    course: Any

    def raw(self) -> bytes:
        event = events.build(
            "edx.course.enrollment.activated", Scene(1, "", roster.course(0).key, "2026-03-01T10:00:00+00:00")
        )
        for place in (event, event["context"], event["event"]):
            place.pop("user_id", None)
            place.pop("username", None)
        event["context"] |= {self.field: self.who, "course_id": self.course}
        return json.dumps(event).encode()


LINES = st.builds(Line, PEOPLE, st.sampled_from(["user_id", "username"]), COURSE_IDS)


@pytest.fixture(scope="module", params=["sqlite", *COLLATIONS])
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    databases = {}
    if request.param != "sqlite":
        server: mariadb.MariaDb = request.getfixturevalue("mariadb_server")
        databases = server.new_database(request.param)
    else:
        request.getfixturevalue("lms")
    with default_database(databases):
        if databases:
            fill(request.param)
        people = add(get_user_model(), ({"username": name, "email": f"{len(name)}@example.com"} for name in NAMES))
        courses = add(CourseOverview, ({"id": course_id} for course_id in COURSES))
        yield request.param
        people.delete()
        courses.delete()


def fill(collation: str) -> None:
    seed.migrate()
    seed.seed()
    character_set = collation.partition("_")[0]
    with connection.cursor() as cursor:
        # The field of course keys brings a collation of its own.
        cursor.execute(
            "ALTER TABLE course_overviews_courseoverview MODIFY id varchar(255) "
            f"CHARACTER SET {character_set} COLLATE {collation} NOT NULL"
        )


def add(model: Any, rows: Iterable[dict[str, str]]) -> Any:
    """Add each row whose name or id the database does not take for one that is there. Gives the new ones."""
    before = set(model.objects.values_list("pk", flat=True))
    for row in rows:
        with contextlib.suppress(IntegrityError), transaction.atomic():
            model.objects.create(**row)
    return model.objects.exclude(pk__in=before)


@contextmanager
def queries() -> Iterator[list[str]]:
    asked: list[str] = []

    def note(execute: Any, sql: str, *rest: Any) -> Any:
        asked.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(note):
        yield asked


def outcome(kind: Kind, made: Transformer, raw: bytes) -> Any:
    """The statements, or why there are none."""
    try:
        return [comparable(kind, statement.fields) for statement in made.statements(parse(raw), raw)]
    except Untransformable as error:
        return error.reason, error.detail


def outcomes(kind: Kind, made: Transformer, window: Iterable[Line]) -> list[Any]:
    raws = [line.raw() for line in window]
    made.look_up(parse(raw) for raw in raws)
    return [outcome(kind, made, raw) for raw in raws]


def assert_as_erb(kind: Kind, windows: list[list[Line]]) -> list[list[Any]]:
    """Compare what each line becomes with what it becomes without the fast path; gives the outcomes."""
    with override_settings(CALIPER_EVENTS_ENABLED=True), transformer(kind, fast_path=False) as plain:
        with transformer(kind) as fast:
            forget()
            found = [outcomes(kind, fast, window) for window in windows]
        patches.remove()
        forget()
        assert not plain.looks_ahead
        for window, made in zip(windows, found, strict=True):
            for line, own in zip(window, made, strict=True):
                assert own == outcome(kind, plain, line.raw()), line
    return found


def by_name(names: Iterable[Any], course: str = COURSES[1]) -> list[Line]:
    return [Line(name, "username", course) for name in names]


@pytest.mark.parametrize("kind", KINDS)
def test_any_window_gives_what_erb_gives_line_by_line(database: str, kind: Kind) -> None:
    @settings(max_examples=max(1, VARIATIONS // IN_A_WINDOW), deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.lists(LINES, min_size=1, max_size=IN_A_WINDOW), min_size=1, max_size=3))
    def check(windows: list[list[Line]]) -> None:
        assert_as_erb(kind, windows)

    check()


def test_actors_by_email_are_those_of_erb(database: str) -> None:
    names = [change(name) for name in NAMES for change in CHANGES[::2]]
    with override_settings(XAPI_AGENT_IFI_TYPE="mbox"):
        assert_as_erb("xapi", [by_name([*names, *ODD, 3, 2**63]), by_name(names[::9])])


def test_a_spelling_beside_another_is_not_unknown(database: str) -> None:
    """Two spellings of a name in a window: the one in the table hid that there is an answer for the other."""
    course = COURSES[1]
    window = [
        *by_name(["Bob", "bOB", "BOB  ", "learner0012", "LEARNER0012", "learner0012 ", "nobody"], course),
        Line(3, "user_id", changed_course(course, str.upper)),
        Line(3, "user_id", f"{course}+branch@draft"),
        Line(3, "user_id", course),
    ]
    [found] = assert_as_erb("xapi", [window])
    reasons = [made[0] if isinstance(made, tuple) else None for made in found]
    ignores_case = database.endswith("_ci")
    user = None if ignores_case else dead_letters.UNKNOWN_USER
    blanks = user if ignores_case or database == "sqlite" else None
    assert reasons[:7] == [None, user, blanks, None, user, user if not ignores_case and database == "sqlite" else None,
                           dead_letters.UNKNOWN_USER]  # fmt: skip
    # SQLite's column of course keys ignores case too.
    assert reasons[7:] == [None if database != "utf8mb4_bin" else dead_letters.UNKNOWN_COURSE, None, None]


@pytest.mark.parametrize("others", [[], ["LEARNER0012", "Learner0013 "]])
def test_a_window_of_unknown_users_takes_few_queries(database: str, others: list[str]) -> None:
    """Also where the database has to be asked for each name, because others of the window are spelled otherwise."""
    window = by_name([f"deleted{number}" for number in range(250)] * 4 + others)
    with transformer("xapi") as made:
        forget()
        with queries() as asked:
            first = outcomes("xapi", made, window)
        with queries() as again:
            second = outcomes("xapi", made, window)
    unknown = [found for found in first if found[0] == dead_letters.UNKNOWN_USER]
    assert len(unknown) == len(window) - (len(others) if database.endswith("_ci") else 0)
    assert first == second
    # Exact names, the rest, and those combined; external ids and the course.
    assert len(asked) <= 2 + (250 + len(others)) // IN_ONE_UNION + 1 + 2
    # Nobody that was found is asked for again.
    assert len(again) == 2


def test_what_is_left_to_erb_is_asked_once_for_each_spelling(database: str) -> None:
    window = by_name(["nul\0", "no\0body", "-3", "Thrice"] * 20)
    window += [Line(3, "user_id", changed_course(COURSES[0], str.swapcase))] * 20
    if database != OLD:
        window += [*by_name(["😀"] * 20), *[Line(3, "user_id", "course-v1:𝐀+b+c")] * 20]
    for settings_of_actor in ({}, {"XAPI_AGENT_IFI_TYPE": "mbox"}):
        with override_settings(**settings_of_actor), transformer("xapi") as made:
            forget()
            with queries() as asked:
                outcomes("xapi", made, window)
        assert len(asked) < 40


def test_a_name_that_the_tables_cannot_hold_is_refused_for_its_line_alone(database: str) -> None:
    """Not waited for, as for a database that is away; ERB's own command dies of it."""
    [found] = assert_as_erb("xapi", [by_name(["😀", "bob", "nobody"])])
    reason = dead_letters.ERB_ERROR if database == OLD else dead_letters.UNKNOWN_USER
    assert (found[0][0], found[2][0]) == (reason, dead_letters.UNKNOWN_USER)
    assert database != OLD or "Illegal mix of collations" in found[0][1]
    assert len(found[1]) == 1
