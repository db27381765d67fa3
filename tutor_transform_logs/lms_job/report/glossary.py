"""What the terms in a result mean, for readers who see them for the first time."""

from __future__ import annotations

from ..config.schema import JobConfig
from ..model import dead_letters
from ..util.errors import ExitStatus
from .result import Result

OUTCOMES = (
    ("transformed", "made into statements"),
    ("unknown_event", "events that this type does not transform"),
    ("filtered", "excluded by the filters"),
    ("blank", "empty lines"),
    ("unparsable", "dead letters: no event could be read"),
    ("untransformable", "dead letters: ERB makes no statement of them"),
)
# With and without log_statements.
DRY_RUN = {True: "Statements went to the logger only.", False: "Nothing was delivered."}
REASON_MEANINGS = {
    "not_utf8": "the line is not UTF-8",
    "no_json": "the line has no JSON object",
    "bad_json": "the line's JSON can't be read",
    "no_event_field": "the JSON has neither an event nor a data field",
    "line_too_long": "the line is longer than max_line_bytes",
    "incomplete_line": "the last line is incomplete: it is read again when the log has grown",
    dead_letters.UNKNOWN_USER: "the LMS's database has no such user",
    dead_letters.UNKNOWN_COURSE: "the LMS's database has no such course",
    dead_letters.MISSING_FIELD: "the event lacks a field that ERB needs",
    dead_letters.NO_TRANSFORMER: "ERB has no transformer for this type of event",
    dead_letters.NO_STATEMENT: "ERB makes no statement of it",
    dead_letters.NOT_JSON: "the statement holds a number that JSON does not have",
    dead_letters.ERB_ERROR: "ERB fails on it",
    dead_letters.CONFLICT: "the destination has another statement with this id",
    dead_letters.INVALID: "the destination says that the statement is invalid",
    dead_letters.INVALID_FROM_ERB: "the LRS says that it is invalid; it has a known fault of ERB, which may be why",
    dead_letters.TOO_LARGE: "the statement is too large for the destination",
}


def headline(result: Result, config: JobConfig) -> str:
    """How it ended, in one sentence."""
    detail = _headline(result)
    return f"Dry run. {detail} {DRY_RUN[config.log_statements]}" if config.dry_run else detail


def _headline(result: Result) -> str:
    if result.accounting_errors:
        return "NOT everything is accounted for; please report this."
    if result.status == ExitStatus.FAILED:
        return "Failed before the end."
    if result.status == ExitStatus.STOPPED or not result.done:
        return "Not finished: run the job again with the same settings and options to resume where it stopped."
    if result.status == ExitStatus.REJECTED and any(destination.counts.rejected for destination in result.destinations):
        return "Done, but some statements were rejected. Every line and every statement is accounted for."
    if result.problems:
        return "Done, but some objects could not be read to their end. All that was read is accounted for."
    return "Done. Every line and every statement is accounted for."
