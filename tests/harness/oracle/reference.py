"""What must arrive, from what was written alone: nothing here knows how a job reads, plans or delivers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from tests.harness.oracle.events import Line

Arrived = Counter[tuple[str, int]]
"""The type of statements and the number of an event -> how many statements of it there are."""


@dataclass(frozen=True)
class Job:
    """What makes a job another one than others: the type, the prefix of its logs, and its filters."""

    type: str = "xapi"
    prefix: str = ""
    filters: Mapping[str, Any] = field(default_factory=dict)

    def takes(self, family: str, line: Line) -> bool:
        """Is this line, in the logs whose names begin with ``family``, for this job?"""
        event, exclude, course, until = (
            self.filters.get(name) for name in ("event", "exclude_event", "course", "until")
        )
        return (
            family.startswith(self.prefix)
            and (event is None or any(fnmatchcase(line.name, pattern) for pattern in event))
            and (exclude is None or not any(fnmatchcase(line.name, pattern) for pattern in exclude))
            and (course is None or line.course in course)
            and (until is None or line.time.isoformat() < until)
        )


@dataclass
class Reference:
    """The lines of a round, and in how many logs each of them was written."""

    lines: dict[int, Line] = field(default_factory=dict)
    logs: Counter[tuple[str, int]] = field(default_factory=Counter)
    """The family of a log and the number of a line -> in how many logs it is that are not copies of each other."""

    def arrives(self, jobs: Iterable[Job], once: bool) -> Arrived:
        """What must arrive of all the jobs; ``once``: the destination stores each statement once."""
        total: Arrived = Counter()
        for job in jobs:
            of_job: Arrived = Counter()
            for (family, number), times in self.logs.items():
                line = self.lines[number]
                if job.takes(family, line):
                    of_job[job.type, number] += line.statements.get(job.type, 0) * times
            total = total | of_job if once else total + of_job
        if once:
            for (kind, number), count in total.items():
                total[kind, number] = min(count, self.lines[number].statements[kind])
        return +total
