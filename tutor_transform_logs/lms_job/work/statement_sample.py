"""What a dry run prints of its statements: one for each of the first few types of events."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from ..model.delivery import SourcedStatement
from ..model.progress_events import StatementSampled
from ..util import console
from ..util.formatting import printable

MAX_STATEMENTS = 3


class StatementSample:
    """The first statement of each of the first types. Each worker has its own sample; the parent merges them."""

    def __init__(self) -> None:
        self._statements: dict[str, str] = {}
        """Name of the event -> the statement's JSON."""

    def add(self, sampled: StatementSampled) -> bool:
        """Keep a statement if its type of event is new and the sample is not full. Returns whether it was kept."""
        if sampled.event in self._statements or len(self._statements) == MAX_STATEMENTS:
            return False
        self._statements[sampled.event] = sampled.statement
        return True

    def choose(self, made: Iterable[SourcedStatement]) -> Iterator[StatementSampled]:
        """Keep statements of a batch, and return those that were kept."""
        for sourced in made:
            if len(self._statements) == MAX_STATEMENTS:
                return
            sampled = StatementSampled(sourced.event.name, sourced.statement.body.decode("utf-8"))
            if self.add(sampled):
                yield sampled

    def print(self) -> None:
        """Print the sample as part of the result. Prints nothing if there are no statements."""
        if self._statements:
            lines = ["Sample of the statements:"]
            for event, statement in self._statements.items():
                lines += [f"  {printable(event)}", f"    {statement}"]
            statements = [json.loads(statement) for statement in self._statements.values()]
            console.result("\n".join([*lines, ""]), "sample", fields={"statements": statements})
