"""The ids of videos, as ERB's helpers make them: what follows from the course is worked out once for each course."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..util.bounded_dict import BoundedDict

KEPT_BEGINNINGS = 2_000


def video_block_ids(original: Callable[..., str]) -> Callable[..., str]:
    """As ERB's ``make_video_block_id``, which is ``original``: its ids end with that of the video."""
    beginnings: BoundedDict[str, str] = BoundedDict(KEPT_BEGINNINGS)

    def make_video_block_id(video_id: Any, course_id: Any) -> str:
        if type(video_id) is not str or type(course_id) is not str:
            return original(video_id, course_id)
        beginning = beginnings.get(course_id)
        if beginning is None:
            beginning = original("", course_id)
            beginnings.put(course_id, beginning)
        return beginning + video_id

    return make_video_block_id
