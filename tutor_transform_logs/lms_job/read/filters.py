"""Which events and which objects a run replays. They are part of the job's identity, and so of its key."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from ..config.schema import JobConfig
from ..model.records import Event
from ..util.iso_times import in_utc, moment
from .events import context_text, find_nested


@dataclass(frozen=True)
class Filters:
    """What has to be true of an event, and of an object's name; a filter that is not set takes everything.

    Patterns are globs (``fnmatchcase``: case counts, and ``*`` takes ``/`` as well); one of a list is enough.
    """

    since: datetime | None = None
    """Inclusive."""
    until: datetime | None = None
    """Exclusive."""
    event: tuple[str, ...] = ()
    exclude_event: tuple[str, ...] = ()
    course: tuple[str, ...] = ()
    org: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    @classmethod
    def of(cls, config: JobConfig) -> Filters:
        filters = cls(**{field.name: getattr(config, field.name) for field in fields(cls)})
        return TAKE_ALL if filters == TAKE_ALL else filters

    def identity(self) -> dict[str, object]:
        """What is set, in one form however it was written; part of the job key."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: in_utc(value) if isinstance(value, datetime) else sorted(set(value))
            for name, value in values.items()
            if value
        }

    def __str__(self) -> str:
        """What is set, for people; ``""`` if nothing is."""
        parts = [
            *([f"events from {in_utc(self.since)} on"] if self.since else []),
            *([f"events before {in_utc(self.until)}"] if self.until else []),
        ]
        for detail, patterns in (
            ("events named", self.event),
            ("no events named", self.exclude_event),
            ("courses", self.course),
            ("organisations", self.org),
            ("objects named", self.files),
        ):
            if patterns:
                parts.append(f"{detail} {' or '.join(patterns)}")
        return ", ".join(parts)

    def takes_object(self, name: str) -> bool:
        """Is the object of this name, relative to the container, to be read?"""
        return not self.files or _matches(name, self.files)

    def takes_name(self, name: str) -> bool:
        """May an event of this name be replayed?"""
        return (not self.event or _matches(name, self.event)) and not _matches(name, self.exclude_event)

    def takes(self, event: Event) -> bool:
        """Is this event to be replayed?

        One whose time can't be read is not left out for its time: it may be in the range, and what the transformer
        makes of it is counted.
        """
        return (
            self.takes_name(event.name)
            and self._takes_time(event.fields)
            and (not self.course or _matches(context_text(event.fields, "course_id"), self.course))
            and (not self.org or _matches(_org(event.fields), self.org))
        )

    def idle(self, known: Collection[str]) -> list[str]:
        """The patterns of ``event`` that match none of the ``known`` names: most likely a typo."""
        return [pattern for pattern in self.event if not any(fnmatchcase(name, pattern) for name in known)]

    def _takes_time(self, event: Mapping[str, Any]) -> bool:
        if self.since is None and self.until is None:
            return True
        when = event_time(event)
        if when is None:
            return True
        return (self.since is None or self.since <= when) and (self.until is None or when < self.until)


TAKE_ALL = Filters()


def event_time(event: Mapping[str, Any]) -> datetime | None:
    """When the event was, as ERB's ``XApiTransformer.get_timestamp`` takes it; ``None`` if that is not a time."""
    return moment(find_nested(event, "timestamp") or find_nested(event, "time"))


def _matches(text: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)


def _org(event: Mapping[str, Any]) -> str:
    """The organisation: the context's own, else that of the course id (``course-v1:ORG+...`` or ``ORG/...``)."""
    course_id = context_text(event, "course_id")
    return context_text(event, "org_id") or course_id.rpartition(":")[2].replace("/", "+").partition("+")[0]
