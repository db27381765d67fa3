"""A job with deleted users in its logs: who comes back, who is counted, and what ``--check`` says before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.harness.demo_lms import DemoLms
from tests.harness.forked_site import ForkedSite
from tests.harness.job import JobRun
from tutor_transform_logs.demo import events
from tutor_transform_logs.demo.lms.tutor_demo_lms import roster
from tutor_transform_logs.demo.outcomes import Kind
from tutor_transform_logs.demo.scene import Scene

GONE = roster.UNKNOWN_USER_BASE + 1
GHOSTS = (roster.UNKNOWN_USER_BASE + 2, roster.UNKNOWN_USER_BASE + 3)
COURSE, OTHER = roster.course(0).key, roster.course(1).key

# Somebody joins, has ids, and is deleted as the LMS deletes a user.
LEAVE = f"""
import django
django.setup()
from django.contrib.auth import get_user_model
from openedx.core.djangoapps.external_user_ids.models import ExternalId
user = get_user_model().objects.create(id={GONE}, username="leaver")
for name in ("xapi", "caliper"):
    print(ExternalId.add_new_user_id(user, name)[0].external_user_id)
user.delete()
"""


def line(user_id: Any, username: str, course: str, second: int) -> bytes:
    scene = Scene(user_id, username, course, f"2026-03-01T10:00:{second:02d}+00:00")
    return json.dumps(events.build("play_video", scene)).encode() + b"\n"


@pytest.fixture
def ids(site: ForkedSite) -> dict[str, str]:
    """The external ids of somebody who is gone, by type; the log has her events and those of others."""
    return leave(site, site.lms)


def leave(site: ForkedSite, lms: DemoLms) -> dict[str, str]:
    xapi, caliper = lms.run_python("-c", LEAVE).split()
    people: list[tuple[Any, str, str]] = [
        *((number, roster.user(number).logged_as, COURSE) for number in range(1, 6)),
        *[(GONE, "leaver", COURSE)] * 3,
        *[(GHOSTS[0], "ghost", COURSE)] * 2,
        (GHOSTS[1], "ghost", OTHER),
        ("", "", COURSE),  # a visitor
    ]
    site.place("tracking.log", b"".join(line(*who, second) for second, who in enumerate(people)))
    return {"xapi": xapi, "caliper": caliper}


def run(site: ForkedSite, kind: Kind, **more: Any) -> JobRun:
    done = site.run(site.source(), site.to_files(), transformer_type=kind, **more)
    assert done.status == 0, done.detail
    return done


def of_leaver(site: ForkedSite, ids: dict[str, str], kind: Kind) -> int:
    return sum(ids[kind].encode() in statement for statement in site.output_lines())


@pytest.mark.parametrize("fast_path", [True, False])
@pytest.mark.parametrize("kind", ["xapi", "caliper"])
def test_they_come_back_and_who_has_no_id_is_counted_by_course(
    site: ForkedSite, ids: dict[str, str], kind: Kind, fast_path: bool
) -> None:
    done = run(site, kind, include_deleted_users=True, fast_path=fast_path)
    assert of_leaver(site, ids, kind) == 3
    result = site.result()
    assert result["reasons"] == {"unknown_user": 4}
    assert result["lines"]["transformed"] == 8
    assert result["deleted_users"] == {COURSE: 2, OTHER: 1}
    assert f"Not delivered: 2 events of deleted users in course {COURSE}.\n" in done.stdout
    assert f"Not delivered: 1 event of deleted users in course {OTHER}.\n" in done.stdout
    page = Path(result["page"]).read_text()
    assert f"Not delivered: 2 events of deleted users in course {COURSE}." in page


@pytest.mark.parametrize("kind", ["xapi", "caliper"])
def test_without_it_they_are_dead_letters_which_can_be_sent_with_it(
    site: ForkedSite, ids: dict[str, str], kind: Kind
) -> None:
    done = run(site, kind)
    assert of_leaver(site, ids, kind) == 0
    assert site.result()["reasons"] == {"unknown_user": 7}
    assert "deleted_users" not in site.result()
    assert "Not delivered" not in done.stdout
    run(site, kind, include_deleted_users=True, retry_failed=True)
    assert of_leaver(site, ids, kind) == 3
    assert site.result()["deleted_users"] == {COURSE: 2, OTHER: 1}
    # The same job: it has nothing left to do.
    assert "Nothing new" in run(site, kind, include_deleted_users=True).stdout
    assert of_leaver(site, ids, kind) == 3


@pytest.mark.usefixtures("ids")
def test_a_check_says_what_will_be_skipped(site: ForkedSite) -> None:
    text = f"of 2 events of deleted users in course {COURSE}; 1 event of deleted users in course {OTHER}."
    for option in (True, False):
        done = site.run(site.source(), site.to_files(), command="check", include_deleted_users=option)
        assert done.status == 0, done.detail
        said = " ".join(done.stdout.split())
        assert (text in said) == option, done.stdout
        assert f"unknown_user {4 if option else 7}" in said


def test_a_run_that_is_verified_finds_them(site: ForkedSite, ids: dict[str, str]) -> None:
    run(site, "xapi", include_deleted_users=True)
    done = site.run(site.source(), site.to_files(), command="verify", include_deleted_users=True)
    assert done.status == 0, done.detail
    assert of_leaver(site, ids, "xapi") == 3


@pytest.mark.parametrize("fast_path", [True, False])
def test_a_real_server_has_the_same_answers(site: ForkedSite, mariadb_lms: DemoLms, fast_path: bool) -> None:
    """As the LMS has it: the deletion goes through, and the history stays."""
    ids = leave(site, mariadb_lms)
    run(site, "xapi", include_deleted_users=True, fast_path=fast_path, lms=mariadb_lms)
    assert of_leaver(site, ids, "xapi") == 3
    assert site.result()["deleted_users"] == {COURSE: 2, OTHER: 1}
