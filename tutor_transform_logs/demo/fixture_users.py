"""Creates the users and courses that events name, in a database that is removed afterwards."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from django.contrib.auth import get_user_model
from opaque_keys import InvalidKeyError
from opaque_keys.edx.keys import CourseKey

from tutor_transform_logs.lms_job.fast_path.lookups import LARGEST_ID, as_id
from tutor_transform_logs.lms_job.fast_path.usernames import can_be_asked
from tutor_transform_logs.lms_job.read.events import course_of, person_of
from tutor_transform_logs.lms_job.util.bounded_dict import BoundedDict

# Ids for users of whom only the name is known: above the ids in any log.
FIRST_NAMED = 2**30
KEPT = 100_000


class FixtureUsers:
    """Creates the users and courses that events name."""

    def __init__(self) -> None:
        self._created: BoundedDict[tuple[type, Any], bool] = BoundedDict(KEPT)
        self._numbers = itertools.count(FIRST_NAMED)

    def ensure(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Create the users and courses of ``events`` that do not exist yet."""
        from openedx.core.djangoapps.content.course_overviews.models import CourseOverview

        people: list[Any] = []
        courses: list[Any] = []
        for event in events:
            who, course = person_of(event), course_of(event)
            if type(who) in (int, str) and self._is_new(who):
                people += self._person(who)
            if type(course) is str and self._is_new(course):
                try:
                    courses.append(CourseOverview(id=CourseKey.from_string(course), display_name=course))
                except InvalidKeyError:
                    continue  # the preview shows the error that ERB raises for it
        # SQLite limits the number of values in a query. Existing users are kept.
        get_user_model().objects.bulk_create(people, batch_size=500, ignore_conflicts=True)
        CourseOverview.objects.bulk_create(courses, batch_size=500, ignore_conflicts=True)

    def _is_new(self, who: Any) -> bool:
        if self._created.get((type(who), who)):
            return False
        self._created.put((type(who), who), True)
        return True

    def _person(self, who: int | str) -> Iterable[Any]:
        model, number = get_user_model(), as_id(who)
        if number is not None and 0 < number <= LARGEST_ID:
            yield model(id=number, username=f"{number}", email=f"user{number}@example.com", password="!")
        elif number is None and who and can_be_asked(str(who)):
            number = next(self._numbers)
            yield model(id=number, username=who, email=f"user{number}@example.com", password="!")
