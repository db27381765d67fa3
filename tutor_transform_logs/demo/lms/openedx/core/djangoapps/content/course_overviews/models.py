"""Stands where edx-platform's ``CourseOverview`` is, with the two columns that statements need."""

from __future__ import annotations

from django.db import models
from opaque_keys.edx.django.models import CourseKeyField


class CourseOverview(models.Model):  # type: ignore[misc, unused-ignore]
    """What the LMS knows of a course run without opening it."""

    id = CourseKeyField(db_index=True, primary_key=True, max_length=255)  # type: ignore[no-untyped-call, unused-ignore]
    display_name = models.TextField(null=True)

    class Meta:
        app_label = "course_overviews"

    @property
    def display_name_with_default(self) -> str:
        """The name, or what stands for it where there is none."""
        return self.display_name or str(self.id)
