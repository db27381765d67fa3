"""Lines of which it is known what arrives of them: each event has a time of its own, which its statements bear."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from tutor_transform_logs.demo import events, outcomes
from tutor_transform_logs.demo.lms.tutor_demo_lms import roster
from tutor_transform_logs.demo.log_writer import GOOD_NAMES
from tutor_transform_logs.demo.scene import Scene

START, TICK = datetime(2026, 3, 1, tzinfo=timezone.utc), timedelta(seconds=61)
# All of these have their external ids from the seed: no job makes a new one.
USERS, COURSES = 6, 5
TYPES = ("xapi", "caliper")
_SORTS = {"good": 12, "many": 1, "page_view": 4, "unknown_user": 1, "broken": 1, "blank": 1}


@dataclass(frozen=True)
class Line:
    """A line of a log, and of how many statements of each type ERB makes of it."""

    number: int
    raw: bytes
    """With its newline."""
    name: str = ""
    course: str = ""
    statements: Mapping[str, int] = field(default_factory=dict)

    @property
    def time(self) -> datetime:
        """When the event was: no other one has the same time."""
        return time_of(self.number)


def time_of(number: int) -> datetime:
    """The time of the event with this number."""
    return START + number * TICK


def new_line(number: int, dice: random.Random, sort: str = "") -> Line:
    """The line with this number: of this sort, or of one that is drawn."""
    sort = sort or dice.choices([*_SORTS], [*_SORTS.values()])[0]
    if sort == "blank":
        return Line(number, b"\n")
    if sort == "broken":
        return Line(number, f'{{"name": "play_video", "event": "{{cut off {number}'.encode() + b"\n")
    user = roster.user(dice.randint(1, USERS))
    user_id, username = user.id, user.logged_as
    if sort == "unknown_user":
        user_id, username = roster.UNKNOWN_USER_BASE + number, f"ghost{number}"
    course = roster.course(dice.randrange(COURSES)).key
    time = time_of(number).isoformat(timespec="microseconds")
    scene = Scene(user_id=user_id, username=username, course=course, time=time, number=number)
    name, event, statements = _event(sort, scene, dice)
    text = events.to_json(event, ascii_only=dice.random() < 0.5)
    if dice.random() < 0.5:
        text = events.with_prefix(text, scene)
    return Line(number, text.encode() + b"\n", name, course, statements)


def _event(sort: str, scene: Scene, dice: random.Random) -> tuple[str, Any, dict[str, int]]:
    if sort == "page_view":
        path = f"/courses/{scene.course}/progress"
        return path, events.page_view(path, scene), {}
    if sort == "many":
        return "problem_check", events.problem_check_many("problem_check", scene), {"xapi": 4, "caliper": 1}
    name = "play_video" if sort == "unknown_user" else dice.choice(GOOD_NAMES)
    event = events.build(name, scene)
    if sort == "unknown_user":
        return name, event, {}
    return name, event, {kind: outcomes.of_good_event(name, kind).statements for kind in ("xapi", "caliper")}


def recognised(statement: Mapping[str, Any]) -> tuple[str, int]:
    """Of which type a statement (or an envelope with one event) is, and the number of the event that it was made of."""
    if "data" in statement and "sendTime" in statement:
        [statement] = statement["data"]
    kind = "xapi" if "timestamp" in statement else "caliper"
    time = datetime.fromisoformat((statement.get("timestamp") or statement["eventTime"]).replace("Z", "+00:00"))
    return kind, number_at(time.timestamp())


def number_at(moment: float) -> int:
    """The number of the event at this time, in seconds since 1970."""
    number, rest = divmod(moment - START.timestamp(), TICK.total_seconds())
    assert not rest, f"no event has this time: {moment}"
    return int(number)
