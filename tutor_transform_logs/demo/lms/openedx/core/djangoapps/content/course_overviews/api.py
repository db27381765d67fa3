"""Stands where edx-platform's ``openedx.core.djangoapps.content.course_overviews.api`` is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from opaque_keys.edx.keys import CourseKey
from openedx.core.djangoapps.content.course_overviews.models import CourseOverview


def get_course_overviews(course_ids: Iterable[CourseKey]) -> list[dict[str, Any]]:
    """The courses among ``course_ids`` that exist, as the dictionaries edx-platform's serialiser gives."""
    return [
        {
            "id": str(course.id),
            "display_name": course.display_name,
            "display_name_with_default": course.display_name_with_default,
        }
        for course in CourseOverview.objects.filter(id__in=list(course_ids))
    ]
