"""From a parsed line to statements that know which line they come from."""

from __future__ import annotations

from ..model.delivery import SourcedStatement
from ..transform.transformer import Transformer
from .parse import ParsedLine


def statements_of(parsed: ParsedLine, transformer: Transformer) -> list[SourcedStatement]:
    """The statements of a line's event; none without an event.

    Of a dead letter that one statement was rejected for, that statement alone. Raises
    :class:`~.transformer.Untransformable`.
    """
    line, event, letter = parsed.line, parsed.event, parsed.letter
    if event is None:
        return []
    statements = transformer.statements(event, parsed.raw)
    if letter and letter.statement:
        statements = [statement for statement in statements if statement.id == letter.statement]
    return [SourcedStatement(statement, event, line, letter) for statement in statements]
