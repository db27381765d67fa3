"""From a parsed line to statements that know which line they come from."""

from __future__ import annotations

from ..model import dead_letters
from ..model.delivery import SourcedStatement
from ..model.records import Event
from ..transform.transformer import Transformer, Untransformable
from .parse import ParsedLine

# Where a collector may have put an event's time.
COLLECTORS_TIMES = ("@timestamp", "date", "ts", "_time")


def statements_of(parsed: ParsedLine, transformer: Transformer) -> list[SourcedStatement]:
    """The statements of a line's event; none without an event.

    Of a dead letter that one statement was rejected for, that statement alone. Raises
    :class:`~.transformer.Untransformable`, also for an event without a time: ERB would make a statement without one,
    which an LRS dates with the time at which it gets it.
    """
    line, event, letter = parsed.line, parsed.event, parsed.letter
    if event is None:
        return []
    if not (event.fields.get("timestamp") or event.fields.get("time")):
        raise Untransformable(dead_letters.NO_TIME, _without_time(event))
    statements = transformer.statements(event, parsed.raw)
    if letter and letter.statement:
        statements = [statement for statement in statements if statement.id == letter.statement]
    return [SourcedStatement(statement, event, line, letter) for statement in statements]


def _without_time(event: Event) -> str:
    """What is known of an event that has no time."""
    moved = " or ".join(key for key in COLLECTORS_TIMES if key in event.fields)
    where = f", perhaps to {moved}" if moved else ""
    return f"the event has no time. A collector may have moved it{where}: let it keep the field time"
