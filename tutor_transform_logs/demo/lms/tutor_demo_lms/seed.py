"""Fill the embedded LMS: tables, users, external ids, courses."""

from __future__ import annotations

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection, transaction
from opaque_keys.edx.keys import CourseKey
from tutor_demo_lms import roster  # type: ignore[import-not-found, unused-ignore]

_BATCH = 2000


def migrate() -> None:
    """Make the tables (no output)."""
    if connection.vendor == "sqlite":
        # Stays with the file. Several workers write external ids at once: readers must not block them.
        connection.ensure_connection()
        connection.connection.execute("PRAGMA journal_mode=WAL")
    call_command("migrate", verbosity=0, interactive=False)


@transaction.atomic  # type: ignore[untyped-decorator, unused-ignore]
def seed(n_users: int = 50, n_courses: int = 5) -> None:
    """Add the roster's first ``n_users`` users and ``n_courses`` courses; what is there already stays as it is."""
    from openedx.core.djangoapps.content.course_overviews.models import CourseOverview
    from openedx.core.djangoapps.external_user_ids.models import ExternalId, ExternalIdType

    user_model = get_user_model()
    types = {}
    for name in ExternalIdType.XAPI, ExternalIdType.CALIPER, ExternalIdType.LTI:
        types[name], _ = ExternalIdType.objects.get_or_create(name=name, defaults={"description": f"{name} ids"})

    there = set(user_model.objects.values_list("id", flat=True))
    new_users = [person for person in roster.users(n_users) if person.id not in there]
    user_model.objects.bulk_create(
        [user_model(id=person.id, username=person.username, email=person.email, password="!") for person in new_users],
        batch_size=_BATCH,
    )
    ExternalId.objects.bulk_create(
        [
            ExternalId(user_id=person.id, external_id_type=types[name], external_user_id=person.external_id(name))
            for person in new_users
            if person.has_external_ids
            for name in (ExternalIdType.XAPI, ExternalIdType.CALIPER)
        ],
        batch_size=_BATCH,
    )
    CourseOverview.objects.bulk_create(
        [
            CourseOverview(id=CourseKey.from_string(course.key), display_name=course.display_name)
            for course in roster.courses(n_courses)
        ],
        batch_size=_BATCH,
        ignore_conflicts=True,
    )
