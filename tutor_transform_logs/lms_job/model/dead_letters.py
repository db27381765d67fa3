"""Dead letters: what could not be parsed, transformed or delivered, with all that is needed to see why and retry."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .typed import checked

PARSE = "parse"
TRANSFORM = "transform"
DELIVER = "deliver"

# Of the parse stage, whose other reasons are in ``read/events``.
INCOMPLETE_LINE = "incomplete_line"
NO_BEGINNING = "no_beginning"
LINE_TOO_LONG = "line_too_long"
# Of the transform and deliver stages.
UNKNOWN_USER = "unknown_user"
UNKNOWN_COURSE = "unknown_course"
MISSING_FIELD = "missing_field"
NO_TIME = "no_time"
NO_TRANSFORMER = "no_transformer"
NO_STATEMENT = "no_statement"
NOT_JSON = "not_json"
ERB_ERROR = "erb_error"
CONFLICT = "conflict"
INVALID = "invalid_statement"
INVALID_FROM_ERB = "invalid_from_erb"
TOO_LARGE = "too_large"
DELIVER_REASONS = frozenset({CONFLICT, INVALID, INVALID_FROM_ERB, TOO_LARGE})

PIECE_BYTES = 1024**2
KEPT_DETAIL = 1000
"""Characters of a detail that are kept."""


@dataclass(frozen=True)
class DeadLetter:
    """A line, or one statement of it, that was not delivered."""

    object: str
    offset: int
    """Byte offset of the line in the (decompressed) object."""
    line: int
    """Line number in the object; until REPORT, the line number in the segment."""
    stage: str
    reason: str
    detail: str
    event: str
    raw: bytes
    statement: str = ""
    """The id of the statement that was rejected; empty before the deliver stage."""
    destination: str = ""
    """Who rejected it; empty before the deliver stage."""


def dump(letters: Iterable[DeadLetter]) -> bytes:
    """As JSON lines. A line that is not UTF-8 goes as base64 under ``line_base64``."""
    return b"".join(_dump_one(letter) for letter in letters)


def dump_in_pieces(letters: Iterable[DeadLetter]) -> Iterator[bytes]:
    """As :func:`dump`, in pieces of bounded size: there may be millions."""
    piece, size = [], 0
    for letter in letters:
        piece.append(_dump_one(letter))
        size += len(piece[-1])
        if size >= PIECE_BYTES:
            yield b"".join(piece)
            piece, size = [], 0
    if piece:
        yield b"".join(piece)


def _dump_one(letter: DeadLetter) -> bytes:
    fields: dict[str, object] = {
        "object": letter.object,
        "offset": letter.offset,
        "line_number": letter.line,
        "stage": letter.stage,
        "reason": letter.reason,
        "detail": letter.detail[:KEPT_DETAIL],
        "event": letter.event,
    }
    if letter.statement:
        fields["statement"] = letter.statement
        fields["destination"] = letter.destination
    try:
        fields["line"] = letter.raw.decode("utf-8")
    except UnicodeDecodeError:
        fields["line_base64"] = base64.b64encode(letter.raw).decode("ascii")
    return json.dumps(fields).encode("ascii") + b"\n"


def parse(content: bytes) -> list[DeadLetter]:
    """Read what :func:`dump` wrote. Raises ``ValueError`` for anything else."""
    return [_parse_one(text) for text in content.splitlines()]


def _parse_one(text: bytes) -> DeadLetter:
    try:
        fields = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(fields, dict):
        raise ValueError("not a JSON object")
    try:
        raw = fields["line"].encode("utf-8") if "line" in fields else base64.b64decode(fields["line_base64"])
        letter = DeadLetter(
            object=fields["object"],
            offset=fields["offset"],
            line=fields["line_number"],
            stage=fields["stage"],
            reason=fields["reason"],
            # Up to version 1 of the ledger, the field was called "words".
            detail=fields["detail"] if "detail" in fields else fields["words"],
            event=fields["event"],
            raw=raw,
            statement=fields.get("statement", ""),
            destination=fields.get("destination", ""),
        )
    except KeyError as error:
        raise ValueError(f"without {error}") from None
    except (AttributeError, TypeError):
        raise ValueError("its line is not text") from None
    return checked(letter)
