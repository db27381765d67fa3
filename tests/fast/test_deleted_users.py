"""Deleted and retired users: their external ids come back if asked for, and nobody else's instead."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import OperationalError, connection
from event_routing_backends import helpers
from openedx.core.djangoapps.external_user_ids.models import ExternalId, ExternalIdType, HistoricalExternalId

from tests.harness.erb import transformer
from tests.harness.parity import KINDS, forget
from tutor_transform_logs.demo import events
from tutor_transform_logs.demo.lms.tutor_demo_lms import roster
from tutor_transform_logs.demo.outcomes import Kind
from tutor_transform_logs.demo.scene import Scene
from tutor_transform_logs.lms_job.model.dead_letters import UNKNOWN_COURSE, UNKNOWN_USER
from tutor_transform_logs.lms_job.read.events import parse
from tutor_transform_logs.lms_job.transform.transformer import Transformer, Untransformable

pytestmark = pytest.mark.usefixtures("lms")

_numbers = itertools.count(roster.UNKNOWN_USER_BASE + 5000)
NAME = "edx.course.enrollment.activated"


class Gone:
    """Somebody with an external id of each type, who is about to leave."""

    def __init__(self, username: str = "") -> None:
        self.number = next(_numbers)
        self.username = username or f"gone{self.number}"
        get_user_model().objects.create(id=self.number, username=self.username)
        self.ids: dict[str, str] = {}
        for kind in KINDS:
            row, _ = ExternalId.add_new_user_id(get_user_model().objects.get(id=self.number), kind)
            self.ids[kind] = str(row.external_user_id)

    def delete(self) -> None:
        """As the LMS deletes a user: the external ids go, too, and stay in their history."""
        get_user_model().objects.filter(id=self.number).delete()
        assert not ExternalId.objects.filter(user_id=self.number).exists()

    def delete_row(self) -> None:
        """With a statement for the database alone: the external ids stay."""
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA foreign_keys=OFF")
            cursor.execute("DELETE FROM auth_user WHERE id = %s", [self.number])
            cursor.execute("PRAGMA foreign_keys=ON")
        HistoricalExternalId.objects.filter(user_id=self.number).delete()
        assert ExternalId.objects.filter(user_id=self.number).count() == len(KINDS)

    def rename(self, username: str) -> None:
        get_user_model().objects.filter(id=self.number).update(username=username)

    def retire(self) -> None:
        """With a salt that is not among the site's any more."""
        self.rename(f"{roster.RETIRED_USERNAME_FMT.format('')}{uuid.uuid4().hex}")


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    forget()
    yield
    people = range(roster.UNKNOWN_USER_BASE + 5000, next(_numbers))
    ExternalId.objects.filter(user_id__in=people).delete()
    HistoricalExternalId.objects.filter(user_id__in=people).delete()
    get_user_model().objects.filter(id__in=people).delete()
    forget()


def line(number: Any, username: str, course: str = "", **changes: dict[str, Any]) -> bytes:
    """``changes``: fields over those of the event's parts, by part."""
    event = events.build(NAME, Scene(number, username, course or roster.course(0).key, "2026-03-01T10:00:00+00:00"))
    for part, fields in changes.items():
        event[part] = {**event[part], **fields}
    return json.dumps(event).encode()


def by_name(number: int, username: str, named: str = "", course: str = "") -> bytes:
    """An event whose data names a user, so that ERB does not ask for the id in the context."""
    return line(number, username, course, event={"user_id": None, "username": named or username})


def actor_of(made: Transformer, raw: bytes) -> str:
    fields = json.loads(made.statements(parse(raw), raw)[0].body)
    if made.type == "xapi":
        return str(fields["actor"]["account"]["name"])
    return str(fields["data"][0]["actor"]["id"]).rpartition("/")[2]


def assert_unknown(made: Transformer, raw: bytes, reason: str = UNKNOWN_USER) -> None:
    with pytest.raises(Untransformable) as raised:
        made.statements(parse(raw), raw)
    assert raised.value.reason == reason


@pytest.fixture(params=[f"{kind}-{path}" for kind in KINDS for path in ("fast", "fallback", "erb")])
def made(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Transformer]:
    """With the option, for each type: by the fast path, by what it falls back to, and without it."""
    kind, _, path = request.param.partition("-")
    with transformer(kind, include_deleted_users=True, fast_path=path != "erb") as found:
        if path == "fallback" and found._xapi_fast_path is not None:
            monkeypatch.setattr(found._xapi_fast_path, "takes", lambda name: False)
        assert "include_deleted_users" not in str(found.notices)
        yield found


WAYS_TO_GO: dict[str, Callable[[Gone], None]] = {"deleted": Gone.delete, "row deleted": Gone.delete_row}


@pytest.mark.parametrize("way", WAYS_TO_GO)
def test_who_is_gone_has_the_id_of_before(made: Transformer, way: str) -> None:
    gone = Gone()
    before = actor_of(made, line(gone.number, gone.username))
    assert before == gone.ids[made.type]
    WAYS_TO_GO[way](gone)
    forget()
    raws = [line(gone.number, ""), line(str(gone.number), gone.username), by_name(gone.number, gone.username)]
    if made.type == "xapi" and made.looks_ahead:
        # What was looked up before is kept, as it is where a user goes in the middle of a run.
        assert actor_of(made, raws[0]) == before
    kind: Kind = "xapi" if made.type == "xapi" else "caliper"
    with transformer(kind, include_deleted_users=True, fast_path=made.looks_ahead) as again:
        assert [actor_of(again, raw) for raw in raws] == [before] * 3
        again.look_up([parse(raw) for raw in raws])
        assert [actor_of(again, raw) for raw in raws] == [before] * 3


def test_who_is_retired_by_another_salt_is_found_by_the_id_in_the_context(made: Transformer) -> None:
    gone = Gone()
    gone.retire()
    assert actor_of(made, by_name(gone.number, gone.username)) == gone.ids[made.type]


def test_nobody_else_is_taken(made: Transformer) -> None:
    """Not a user who is still there by another name, not the person in whose context somebody else is named."""
    renamed, gone, staff = Gone(), Gone(), Gone()
    renamed.rename(f"{renamed.username}-new")
    for each in (gone, staff):
        each.delete()
    assert_unknown(made, by_name(renamed.number, renamed.username))
    assert_unknown(made, by_name(staff.number, staff.username, named=gone.username))
    assert_unknown(made, by_name(staff.number, "", named=gone.username))
    assert actor_of(made, by_name(gone.number, gone.username)) == gone.ids[made.type]


def test_another_person_than_that_of_the_event_is_not_found(made: Transformer) -> None:
    """Another plugin's transformer may ask for anybody."""
    gone = Gone()
    gone.delete()
    for raw, other in ((line(gone.number, ""), str(gone.number)), (by_name(gone.number, gone.username), "nobody")):
        assert actor_of(made, raw) == gone.ids[made.type]
        with pytest.raises(ValueError, match="does not exist"):
            helpers.get_anonymous_user_id(other, made.type.upper())


def test_without_an_id_the_event_fails_and_none_is_made(made: Transformer) -> None:
    gone = Gone()
    HistoricalExternalId.objects.filter(user_id=gone.number).delete()
    gone.delete()
    HistoricalExternalId.objects.filter(user_id=gone.number).delete()
    for raw in (line(gone.number, gone.username), by_name(gone.number, gone.username), line(None, "")):
        made.look_up([parse(raw)])
        assert_unknown(made, raw)
    assert not ExternalId.objects.filter(user_id=gone.number).exists()


def test_the_id_is_that_of_the_type(made: Transformer) -> None:
    gone = Gone()
    other = {"xapi": "caliper", "caliper": "xapi"}[made.type]
    gone.delete()
    HistoricalExternalId.objects.filter(user_id=gone.number, external_id_type__name=made.type).delete()
    assert HistoricalExternalId.objects.filter(user_id=gone.number, external_id_type__name=other).exists()
    assert_unknown(made, line(gone.number, gone.username))


def test_an_unknown_course_stays_one(made: Transformer) -> None:
    gone = Gone()
    gone.delete()
    if made.type == "xapi":
        assert_unknown(made, line(gone.number, gone.username, roster.UNKNOWN_COURSE), UNKNOWN_COURSE)


@pytest.mark.parametrize("fast_path", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_without_the_option_they_are_unknown(kind: Kind, fast_path: bool) -> None:
    gone, retired = Gone(), Gone()
    gone.delete_row()
    retired.retire()
    with transformer(kind, fast_path=fast_path) as plain:
        for raw in (line(gone.number, gone.username), by_name(retired.number, retired.username)):
            assert_unknown(plain, raw)


def test_many_take_few_queries() -> None:
    people = [Gone() for _ in range(30)]
    for gone in people:
        gone.delete()
    raws = [line(gone.number, gone.username) for gone in people for _ in range(5)]
    asked: list[str] = []

    def note(execute: Any, sql: str, *rest: Any) -> Any:
        asked.append(sql)
        return execute(sql, *rest)

    with transformer("xapi", include_deleted_users=True) as made, connection.execute_wrapper(note):
        made.look_up([parse(raw) for raw in raws])
        found = [actor_of(made, raw) for raw in raws]
    assert found == [gone.ids["xapi"] for gone in people for _ in range(5)]
    assert len(asked) < 12, asked


def test_an_lms_without_a_history_has_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    gone, deleted = Gone(), Gone()
    gone.delete_row()
    deleted.delete()
    monkeypatch.delattr(ExternalId, "history")
    with transformer("xapi", include_deleted_users=True) as made:
        assert actor_of(made, line(gone.number, gone.username)) == gone.ids["xapi"]
        assert_unknown(made, line(deleted.number, deleted.username))


def test_a_database_that_does_not_answer_is_waited_for() -> None:
    gone = Gone()
    gone.delete()
    failures = iter([True, True])

    def fail(execute: Any, sql: str, *rest: Any) -> Any:
        if "historicalexternalid" in sql and next(failures, False):
            raise OperationalError("server has gone away")
        return execute(sql, *rest)

    raw = line(gone.number, gone.username)
    with transformer("xapi", include_deleted_users=True, max_wait_secs=10.0) as made, connection.execute_wrapper(fail):
        made.look_up([parse(raw)])
        assert actor_of(made, raw) == gone.ids["xapi"]


@contextmanager
def replaced(function: Any) -> Iterator[None]:
    original = helpers.get_anonymous_user_id
    helpers.get_anonymous_user_id = function
    try:
        yield
    finally:
        helpers.get_anonymous_user_id = original


def test_code_that_is_not_known_is_left_alone_and_told() -> None:
    def get_anonymous_user_id(username_or_id: Any, external_type: str) -> str:
        raise ValueError("mine")

    with replaced(get_anonymous_user_id), transformer("xapi", include_deleted_users=True) as made:
        assert helpers.get_anonymous_user_id is get_anonymous_user_id
        assert [notice for notice in made.notices if "include_deleted_users has no effect" in notice]
        assert not made.includes_deleted_users


def test_all_is_as_before_after_it() -> None:
    original = helpers.get_anonymous_user_id
    with transformer("caliper", include_deleted_users=True):
        assert helpers.get_anonymous_user_id is not original
    assert helpers.get_anonymous_user_id is original
    assert ExternalIdType.objects.filter(name="xapi").exists()
