"""A destination that holds batches back until they are released, for tests of what is in flight."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tutor_transform_logs.lms_job.model.delivery import Outcome, OutgoingStatement, SourcedStatement


@dataclass
class Limit:
    """Traffic that lets a number of requests pass."""

    limit: int = 100
    closed: bool = False
    has_answered: bool = False

    def allow(self, most: int) -> None: ...

    def close(self) -> None:
        self.closed = True


@dataclass
class Destination:
    """Holds each batch back until it is released by name."""

    id: str = "one"
    name: str = "one"
    names: tuple[str, ...] = ("one",)
    traffic: Any = field(default_factory=Limit)
    releases: dict[str, threading.Event] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)
    threads: set[str] = field(default_factory=set)
    given: list[str] = field(default_factory=list)
    """The batches that it was asked to deliver."""

    def route(self, made: SourcedStatement) -> bytes:
        return made.statement.body

    def deliver(self, batch_name: str, outgoing: Sequence[OutgoingStatement]) -> Outcome:
        self.given.append(batch_name)
        self.threads.add(threading.current_thread().name)
        if batch_name in self.releases:
            assert self.releases[batch_name].wait(30)
        if batch_name in self.errors:
            raise self.errors[batch_name]
        return Outcome(stored=len(outgoing))
