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
    "no_beginning": "the log begins in the middle of a line, whose beginning ends the log before it",
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

_AGAIN = "run the job with --retry-failed"
_NOT_A_LOG = "Nothing, for a few lines. Leave out what is not a tracking log with TRANSFORM_LOGS_FILES."
REASON_FIXES = {
    "not_utf8": "Compare the log with a backup of it. Nothing else can be done for these lines.",
    "no_json": _NOT_A_LOG,
    "bad_json": "Nothing: the rest of the event is lost. Look for a full disk or a killed process at that time.",
    "no_event_field": _NOT_A_LOG,
    "line_too_long": "If the event matters, raise TRANSFORM_LOGS_MAX_LINE_BYTES and run the job with --restart.",
    "incomplete_line": "Nothing: the next run reads the line again if the log has grown.",
    "no_beginning": "Nothing: the beginning of the line is at the end of another log, or is lost.",
    dead_letters.UNKNOWN_USER: (
        "Nothing, for visitors who were not logged in and users who were deleted. If this database lacks users that it "
        f"should have, restore them and {_AGAIN}."
    ),
    dead_letters.UNKNOWN_COURSE: (
        f"Nothing, for courses that were deleted. If this database lacks a course, restore it and {_AGAIN}."
    ),
    dead_letters.MISSING_FIELD: (
        "Nothing, for single events. If all events of a type fail, look for a newer event-routing-backends, install it "
        f"and {_AGAIN}."
    ),
    dead_letters.NO_TRANSFORMER: (
        f"Take the type off the LMS's list of allowed events, or install the package that transforms it and {_AGAIN}."
    ),
    dead_letters.NO_TIME: "Have the collector keep the event's own time. Where it is lost, nothing can be done.",
    dead_letters.NO_STATEMENT: "Nothing: the transformer leaves such events out.",
    dead_letters.NOT_JSON: "Nothing: the event has a number such as NaN, which no destination takes.",
    dead_letters.ERB_ERROR: (
        "Read the error in the examples. Look for a newer event-routing-backends, or report the error there. Install "
        f"it and {_AGAIN}."
    ),
    dead_letters.CONFLICT: "Compare both statements. If the destination's is the right one, nothing.",
    dead_letters.INVALID: f"Read the destination's text in the examples, fix the cause and {_AGAIN}.",
    dead_letters.INVALID_FROM_ERB: (
        f"Install an event-routing-backends without this fault, or use an LRS that takes it, and {_AGAIN}."
    ),
    dead_letters.TOO_LARGE: f"Raise the destination's limit on the size of a request and {_AGAIN}.",
}
"""What to do about the dead letters of each reason, for the report and the documentation."""
