"""What a preview finds in logs, as values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tutor_transform_logs.lms_job.model.activity import NO_NAME

# The name of a request event is its path: there are thousands of them.
REQUESTS = "(requests: the path is the name)"
MOST_UNKNOWN_NAMES = 200
OTHER_NAMES = "(other names)"
# Reasons of the preview, in place of unknown users and courses: it looks up neither.
NO_USER, NO_COURSE = "names_no_user", "names_no_course"


@dataclass
class PreviewedFile:
    """One file: how it is stored, and how much of it was read."""

    name: str
    size: int | None
    compression: str = ""
    wrapping: str = ""
    """How a collector has kept the lines; ``""`` if they are as the LMS writes them."""
    lines: int = 0
    first_day: str = ""
    last_day: str = ""
    problem: str = ""


@dataclass
class EventType:
    """The events with one name."""

    name: str
    known: bool
    lines: int = 0
    transformed: int = 0
    statements: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    detail: dict[str, str] = field(default_factory=dict)
    """Reason -> ERB's error for the first event that failed for it."""
    first: dict[str, Any] | None = None
    """The first statement."""


@dataclass
class Preview:
    """What was found in all files."""

    type: str
    files: list[PreviewedFile] = field(default_factory=list)
    blank: int = 0
    unparsable: Counter[str] = field(default_factory=Counter)
    types: dict[str, EventType] = field(default_factory=dict)
    cut_at: int = 0
    """The limit at which reading stopped before the end; 0 if it read everything."""
    left_out: list[str] = field(default_factory=list)
    """Files of which nothing was read."""

    @property
    def lines(self) -> int:
        return sum(file.lines for file in self.files)

    @property
    def is_unread(self) -> bool:
        """Is there no line in any of the files, because of what is wrong with them?"""
        return not self.lines and any(file.problem for file in self.files)

    def of(self, name: str, known: bool) -> EventType:
        """The row for events of this name."""
        if not known:
            name = REQUESTS if name.startswith("/") else name or NO_NAME
            if name not in self.types and len(self.types) >= MOST_UNKNOWN_NAMES:
                name = OTHER_NAMES
        return self.types.setdefault(name, EventType(name, known))

    def to_json(self) -> dict[str, Any]:
        return {
            "type": self.type,
            "lines": self.lines,
            "cut_at_lines": self.cut_at or None,
            "files": [vars(file) for file in self.files],
            "files_left_out": self.left_out,
            "blank": self.blank,
            "unparsable": dict(self.unparsable),
            "look_ups_checked": False,
            "events": [
                {
                    "name": row.name,
                    "known": row.known,
                    "lines": row.lines,
                    "transformed": row.transformed,
                    "statements": row.statements,
                    "failed": dict(row.failed),
                    "first_statement": row.first,
                }
                for row in in_order(self.types.values())
            ],
        }


def in_order(types: Iterable[EventType]) -> list[EventType]:
    """Transformed types first, of them those with failures; the most frequent first."""
    return sorted(types, key=lambda row: (not row.known, not row.failed, -row.lines, row.name))
