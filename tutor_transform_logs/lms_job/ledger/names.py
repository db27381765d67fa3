"""What the objects of a ledger are called, below the folder of a job.

job.json                            what the job is
plan.json                           the current plan, with all that is known from the plans before it
lock-TOKEN.json, taken.json         in an object store: who runs the job, and who took its lock last (``remote_lock``)
endpoint.DESTINATION.json           what was found out about a Caliper endpoint
NNNN/SEGMENT.DESTINATION.json       an entry: how far one destination is in a segment of plan NNNN
NNNN/dead/SEGMENT.DESTINATION.BATCH.UUID.jsonl   the dead letters of one batch, until REPORT joins them
NNNN/sent/SEGMENT.DESTINATION.json  what a Caliper endpoint has accepted of batches that were not finished
NNNN/dead-letters.jsonl             the dead letters of the plan, joined
NNNN/joining.json                   which batches REPORT joins into which output files
NNNN/missing.jsonl                  the lines that ``--verify`` sends again, while it runs
NNNN/result.json, report.html       the result, for programs and for people
NNNN/totals.json                    what ``tutor transform-logs jobs`` counts of a result that was deleted

A plan's uuid is in the names of its batches, and in its entries, where its number alone would not tell it apart from
another plan's: one that was made after an older ledger was restored from a backup, for example.
"""

from __future__ import annotations

from ..model.plan import Plan, Segment

IDENTITY = "job.json"
PLAN = "plan.json"
DEAD_LETTERS = "dead-letters.jsonl"
JOINING = "joining.json"
MISSING_LINES = "missing.jsonl"
RESULT = "result.json"
REPORT_PAGE = "report.html"
TOTALS = "totals.json"
_DEAD_FOLDER = "dead"
_SENT_FOLDER = "sent"
MARK_DIGITS = 8
"""How many digits of a plan's uuid are in names: enough for the plans of one job that have the same number."""

MAX_DEAD_LETTER_BYTES = 1024**3
"""The longest line of a file of dead letters: far above ``max_line_bytes``, even if each of its bytes is escaped."""


def entry_name(plan: Plan, segment: Segment, destination: str) -> str:
    """The name of the entry of one destination in one segment."""
    return f"{plan.name}/{segment.id:06d}.{destination}.json"


def endpoint_name(destination: str) -> str:
    """The name of what is known of an endpoint."""
    return f"endpoint.{destination}.json"


def segment_of_entry(name: str, destination: str) -> str | None:
    """The segment's number in the name of an entry of ``destination``; ``None`` for any other name."""
    segment, _, rest = name.partition(".")
    return segment if rest == f"{destination}.json" and segment.isdecimal() else None


def destination_of_entry(name: str) -> str:
    """The destination in the name of an entry; ``""`` for any other name."""
    segment, _, rest = name.partition(".")
    return rest.removesuffix(".json") if segment.isdecimal() and rest.endswith(".json") else ""


def dead_letters_name(plan: Plan, segment: Segment, destination: str, batch: int) -> str:
    """The name of the object with the dead letters of one batch. Writing a batch again overwrites it."""
    mark = f".{plan.uuid[:MARK_DIGITS]}" if plan.uuid else ""
    return f"{plan.name}/{_DEAD_FOLDER}/{segment.id:06d}.{destination}.{batch:06d}{mark}.jsonl"


def is_dead_letters_file(name: str) -> bool:
    """Is this the whole name of an object with the joined dead letters of a plan?"""
    return name.endswith(f"/{DEAD_LETTERS}")


def is_dead_letters_name(name: str) -> bool:
    """Is this the whole name of an object with the dead letters of one batch?"""
    return f"/{_DEAD_FOLDER}/" in name


def has_dead_letters(name: str) -> bool:
    """Is this the whole name of an object with dead letters, joined or not?"""
    return is_dead_letters_file(name) or is_dead_letters_name(name)


def sent_name(batch: str, destination: str) -> str:
    """The name of the object with what a destination has accepted of unfinished batches of this one's segment."""
    plan, *_, segment, _ = batch.split("-")
    return f"{plan}/{_SENT_FOLDER}/{segment}.{destination}.json"


def is_sent_name(name: str) -> bool:
    """Is this the whole name of an object that :func:`sent_name` names?"""
    return f"/{_SENT_FOLDER}/" in name


def batch_name(plan: Plan, segment: Segment, number: int) -> str:
    """The name of a batch at its destination. Delivering a batch again writes the same object again."""
    return batch_name_of(plan.name, plan.uuid, f"{segment.id:06d}", number)


def batch_name_of(plan: str, uuid: str, segment: str, number: int) -> str:
    """The name of a batch, from the plan and the segment as they are in names.

    The beginning of the plan's uuid is in it; earlier versions, whose plans have none, left it out.
    """
    return "-".join(filter(None, (plan, uuid[:MARK_DIGITS], segment, f"{number:06d}")))
