"""What a dry run prints of its statements: one for each of the first few types of events."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from ..model.delivery import SourcedStatement
from ..model.progress import StatementSampled
from ..util import console
from ..util.formatting import printable

MAX_STATEMENTS = 3


class StatementSample:
    """Each worker chooses its own, and their parent chooses from those."""

    def __init__(self) -> None:
        self._statements: dict[str, str] = {}
        """Name of the event -> the statement's JSON."""

    def add(self, sampled: StatementSampled) -> bool:
        """Keep this one if it is of a new type and there is room for it. Was it kept?"""
        if sampled.event in self._statements or len(self._statements) == MAX_STATEMENTS:
            return False
        self._statements[sampled.event] = sampled.statement
        return True

    def choose(self, made: Iterable[SourcedStatement]) -> Iterator[StatementSampled]:
        """Those of the statements of a batch that are kept."""
        for sourced in made:
            if len(self._statements) == MAX_STATEMENTS:
                return
            sampled = StatementSampled(sourced.event.name, sourced.statement.body.decode("utf-8"))
            if self.add(sampled):
                yield sampled

    def print(self) -> None:
        """As a result of the run; nothing if there are no statements."""
        if self._statements:
            lines = ["Sample of the statements:"]
            for event, statement in self._statements.items():
                lines += [f"  {printable(event)}", f"    {statement}"]
            statements = [json.loads(statement) for statement in self._statements.values()]
            console.result("\n".join([*lines, ""]), "sample", fields={"statements": statements})
