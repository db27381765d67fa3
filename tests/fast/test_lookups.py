"""Look-ups for many events: few queries, no stale answers, and others at the same rows meanwhile."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import OperationalError, connection
from django.test import override_settings
from openedx.core.djangoapps.content.course_overviews.models import CourseOverview
from openedx.core.djangoapps.external_user_ids.models import (
    ExternalId,
    ExternalIdType,
)

from tests.harness.erb import transformer
from tests.harness.parity import forget, scene
from tutor_transform_logs.demo import events
from tutor_transform_logs.demo.lms.tutor_demo_lms import roster
from tutor_transform_logs.demo.scene import Scene
from tutor_transform_logs.lms_job.read.events import parse
from tutor_transform_logs.lms_job.transform.transformer import Transformer, Untransformable
from tutor_transform_logs.lms_job.util.bounded_dict import BoundedDict

pytestmark = pytest.mark.usefixtures("lms")


@pytest.fixture
def fast() -> Iterator[Transformer]:
    forget()
    with transformer("xapi") as made:
        yield made


@contextmanager
def queries() -> Iterator[list[str]]:
    asked: list[str] = []

    def note(execute: Any, sql: str, *rest: Any) -> Any:
        asked.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(note):
        yield asked


def lines(count: int, **fields: Any) -> list[bytes]:
    made = [events.build("edx.course.enrollment.activated", scene("", number)) | fields for number in range(count)]
    return [json.dumps(event).encode() for event in made]


def ids(fast: Transformer, raws: list[bytes]) -> list[str]:
    made = [fast.statements(parse(raw), raw)[0].fields["actor"]["account"]["name"] for raw in raws]
    return [str(external_id) for external_id in made]


def test_a_window_takes_a_query_for_each_sort_of_thing(fast: Transformer) -> None:
    raws = lines(200)
    fast.look_up(parse(raw) for raw in raws)
    with queries() as asked:
        ids(fast, raws)
    assert not asked
    forget()
    with transformer("xapi") as again:
        with queries() as cold:
            again.look_up(parse(raw) for raw in raws)
            ids(again, raws)
        with queries() as warm:
            again.look_up(parse(raw) for raw in raws)
            ids(again, raws)
    # External ids and courses: that an external id is there says that the user is.
    assert len(cold) == 2
    assert not warm


def test_who_comes_later_is_found_later(fast: Transformer) -> None:
    user_id, course = roster.UNKNOWN_USER_BASE + 77, "course-v1:Later+L1+2026"
    event = events.build(
        "edx.course.enrollment.activated", Scene(user_id, "later", course, "2026-03-01T10:00:00+00:00")
    )
    raw = json.dumps(event).encode()
    for made in ("nothing", "user", "course"):
        if made == "user":
            get_user_model().objects.create(id=user_id, username="later")
        if made == "course":
            CourseOverview.objects.create(id=course, display_name="Later")
        fast.look_up([parse(raw)])
        if made != "course":
            with pytest.raises(Untransformable, match="User with" if made == "nothing" else "Course with"):
                fast.statements(parse(raw), raw)
    assert len(fast.statements(parse(raw), raw)) == 1
    get_user_model().objects.filter(id=user_id).delete()
    CourseOverview.objects.filter(id=course).delete()


def test_external_ids_that_somebody_else_makes_meanwhile_are_taken(fast: Transformer) -> None:
    """The LMS or another worker makes the same one between the look and the making."""
    people = [number for number in range(1, 51) if not roster.user(number).has_external_ids]
    kind = ExternalIdType.objects.get(name="xapi")
    ExternalId.objects.filter(user_id__in=people, external_id_type=kind).delete()
    theirs = {people[0]: uuid.uuid4(), people[2]: uuid.uuid4()}

    def interfere(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("INSERT") and not ExternalId.objects.filter(external_user_id=theirs[people[0]]).exists():
            for user_id, external_id in theirs.items():
                execute(
                    "INSERT INTO external_user_ids_externalid"
                    " (created, modified, external_user_id, external_id_type_id, user_id)"
                    " VALUES ('2026-01-01', '2026-01-01', %s, %s, %s)",
                    (external_id.hex, kind.id, user_id),
                    *rest[1:],
                )
        return execute(sql, *rest)

    raws = [
        json.dumps(
            events.build("play_video", Scene(number, "", roster.course(0).key, "2026-03-01T10:00:00+00:00"))
        ).encode()
        for number in people
    ]
    with connection.execute_wrapper(interfere):
        fast.look_up(parse(raw) for raw in raws)
    found = dict(zip(people, ids(fast, raws), strict=True))
    assert {number: found[number] for number in theirs} == {
        number: str(external_id) for number, external_id in theirs.items()
    }
    stored = ExternalId.objects.filter(user_id__in=people, external_id_type=kind)
    assert {row.user_id: str(row.external_user_id) for row in stored} == found


def test_a_look_up_that_fails_is_made_up_for_one_by_one(fast: Transformer) -> None:
    def fail(execute: Any, *arguments: Any) -> Any:
        raise OperationalError("server has gone away")

    raws = lines(3)
    with connection.execute_wrapper(fail):
        fast.look_up(parse(raw) for raw in raws)
    assert len(set(ids(fast, raws))) == 3


def test_an_lms_without_the_type_falls_back_to_lti(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(ExternalIdType, "XAPI")
    forget()
    with override_settings(), transformer("xapi") as made:
        raws = lines(3)
        made.look_up(parse(raw) for raw in raws)
        found = ids(made, raws)
    stored = ExternalId.objects.filter(external_id_type__name="lti", user_id__in=[1, 2, 3])
    assert sorted(found) == sorted(str(row.external_user_id) for row in stored)
    stored.delete()
    forget()


def test_a_cache_stays_small() -> None:
    cache: BoundedDict[int, int] = BoundedDict(100)
    for number in range(1000):
        cache.put(number, number)
        assert len(cache) <= 100
        assert cache[number] == number
