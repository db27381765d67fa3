"""What the terms in a result mean, for readers who see them for the first time."""

from __future__ import annotations

from ..model import dead_letters

OUTCOMES = (
    ("transformed", "made into statements"),
    ("unknown_event", "events that this type does not transform"),
    ("filtered", "excluded by the filters"),
    ("blank", "empty lines"),
    ("unparsable", "dead letters: no event could be read"),
    ("untransformable", "dead letters: ERB makes no statement of them"),
)
REASON_MEANINGS = {
    "not_utf8": "the line is not UTF-8",
    "no_json": "the line has no JSON object",
    "bad_json": "the line's JSON can't be read",
    "no_event_field": "the JSON has neither an event nor a data field",
    "line_too_long": "the line is longer than max_line_bytes, or its event takes too much memory",
    "incomplete_line": "the last line is incomplete: it is read again when the log has grown",
    "no_beginning": "the log begins in the middle of a line: the rest is at the end of the log before it",
    dead_letters.UNKNOWN_USER: "the LMS's database has no such user",
    dead_letters.UNKNOWN_COURSE: "the LMS's database has no such course",
    dead_letters.MISSING_FIELD: "the event lacks a field that ERB needs",
    dead_letters.NO_TIME: "the event has no time; a collector may have taken it away",
    dead_letters.NO_TRANSFORMER: "ERB has no transformer for this type of event",
    dead_letters.NO_STATEMENT: "ERB makes no statement of it",
    dead_letters.NOT_JSON: "the statement holds a number that JSON does not have",
    dead_letters.ERB_ERROR: "ERB fails on it",
    dead_letters.CONFLICT: "the destination has another statement with this id",
    dead_letters.INVALID: "the destination says that the statement is invalid",
    dead_letters.INVALID_FROM_ERB: "the LRS says that it is invalid; it has a known fault of ERB, which may be why",
    dead_letters.TOO_LARGE: "the statement is too large for the destination",
}
