"""Who did what, where and when, and the form that a log gives it: the fields that all tracking events have."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

LoggedEvent = dict[str, Any]


@dataclass(frozen=True)
class Scene:
    """Who did it, where and when. ``number`` varies the ids of problems, videos, threads and exams."""

    user_id: Any
    username: Any
    course: str
    time: str
    number: int = 0
    ip: str = "10.0.0.1"

    @property
    def org(self) -> str:
        """The organisation of the course, as the LMS puts it into the context."""
        return self.course.split(":", 1)[-1].split("+", 1)[0]

    def hex_id(self, kind: int) -> str:
        """32 hexadecimal digits, as a block id."""
        return f"{kind:04x}{self.number * 2654435761 % 2**112:028x}"

    def block(self, kind: str) -> str:
        """The usage key of a block of this course."""
        version, _, rest = self.course.partition(":")
        prefix = ("ccx-" if version.startswith("ccx") else "") + "block-v1"
        return f"{prefix}:{rest}+type@{kind}+block@{self.hex_id(len(kind))}"


_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36"
ROOT = "http://localhost:18000"


def context_of(scene: Scene, path: str, **more: Any) -> LoggedEvent:
    """The context that the LMS gives an event."""
    context = {"course_id": scene.course, "user_id": scene.user_id, "path": path, "org_id": scene.org}
    return {**context, "enterprise_uuid": "", **more}


def log_entry(
    name: str,
    scene: Scene,
    context: LoggedEvent,
    event: Any,
    source: str,
    page: str | None,
    event_type: str | None = None,
) -> LoggedEvent:
    """A line's JSON object. Seven parameters: the fields of a tracking log that differ between events."""
    return {
        "name": name,
        "context": context,
        "username": scene.username,
        "session": f"{scene.number % 9973:032x}",
        "ip": scene.ip,
        "agent": _AGENT,
        "host": "localhost:18000",
        "referer": page if page and page.startswith("http") else f"{ROOT}/courses/{scene.course}/course/",
        "accept_language": "en-US,en;q=0.9",
        "event": event,
        "time": scene.time,
        "event_type": event_type or name,
        "event_source": source,
        "page": page,
    }


def from_server(name: str, scene: Scene, event: LoggedEvent, path: str = "/event", **context: Any) -> LoggedEvent:
    """An event that the server emitted."""
    return log_entry(name, scene, context_of(scene, path, **context), event, "server", None)


def from_browser(name: str, scene: Scene, event: Any) -> LoggedEvent:
    """An event that a browser reported: its ``event`` is text."""
    page = f"{ROOT}/xblock/{scene.block('vertical')}?show_title=0&view=student_view"
    text = event if isinstance(event, str) else json.dumps(event)
    return log_entry(name, scene, context_of(scene, "/event"), text, "browser", page)
