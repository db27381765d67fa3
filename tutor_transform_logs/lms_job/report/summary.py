"""The result as text, for the end of a run."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from ..config.schema import JobConfig
from ..model.plan import HARMLESS_NOTES
from ..util.formatting import printable, size
from .glossary import OUTCOMES
from .result import DestinationResult, ObjectResult, Result, reasons

MAX_OBJECTS = 20


def summary(config: JobConfig, result: Result, width: int) -> str:
    """The table, in at most ``width`` columns if names allow."""
    return "\n".join(
        [*_objects(result, width), "", *_lines(result, width), "", *_destinations(result, width), *_end(config, result)]
    )


def _objects(result: Result, width: int) -> Iterator[str]:
    columns = ("size", "lines", "transformed", "dead")
    name_width = max(12, width - 44)
    yield f"{'object':<{name_width}} {columns[0]:>9} {columns[1]:>11} {columns[2]:>11} {columns[3]:>8}"
    # If there are many: first those with a problem, last those without any work.
    worth_naming = sorted(
        result.objects,
        key=lambda obj: (not set(obj.notes) - set(HARMLESS_NOTES), not obj.counts.dead_letters, obj.notes),
    )
    shown = {id(obj) for obj in worth_naming[:MAX_OBJECTS]}
    for obj in result.objects:
        if id(obj) in shown:
            yield from _object(obj, name_width)
    if len(result.objects) > MAX_OBJECTS:
        yield f"... and {len(result.objects) - MAX_OBJECTS:,} more objects: all are in the result file"


def _object(obj: ObjectResult, name_width: int) -> Iterator[str]:
    name = printable(obj.name)
    if len(name) > name_width:
        name = "..." + name[len(name) - name_width + 3 :]
    counts = obj.counts
    dead = counts.unparsable + counts.untransformable
    yield f"{name:<{name_width}} {size(obj.size):>9} {counts.lines:>11,} {counts.transformed:>11,} {dead:>8,}"
    for note in [*obj.notes, *([] if obj.done else ["not finished"])]:
        yield f"    {printable(note)}"


def _row(name: str, count: int, meaning: str, width: int) -> str:
    """A count and its meaning, which is wrapped if the terminal is narrow."""
    row = f"  {name:<16}{count:>11,}  "
    return textwrap.fill(row + meaning, max(width, len(row) + 20), subsequent_indent=" " * len(row)).rstrip()


def _lines(result: Result, width: int) -> Iterator[str]:
    yield f"{'lines':<16}{result.counts.lines:>13,}"
    for name, meaning in OUTCOMES:
        count = getattr(result.counts, name)
        if count or name in ("transformed", "unknown_event"):
            yield _row(name.replace("_", " "), count, meaning, width)


def _destinations(result: Result, width: int) -> Iterator[str]:
    for destination in result.destinations:
        yield f"statements to {destination.name}"
        yield from _destination(destination, width)


def _destination(destination: DestinationResult, width: int) -> Iterator[str]:
    counts = destination.counts
    yield _row("made", counts.made, "", width)
    yield _row("stored", counts.stored, "", width)
    if counts.duplicates:
        yield _row("duplicates", counts.duplicates, "", width)
    if counts.rejected:
        yield _row("rejected", counts.rejected, "dead letters: refused by the destination", width)
    if counts.not_routed:
        yield _row("not routed", counts.not_routed, "excluded from this router by its match_params", width)
    if destination.stopped:
        yield f"  stopped: {destination.stopped}"


def _end(config: JobConfig, result: Result) -> Iterator[str]:
    failed = reasons(result)
    if failed:
        yield ""
        yield f"dead letters    {sum(failed.values()):>13,}"
        for reason, count in failed.items():
            yield _row(reason, count, "", 0)
        if result.dead_letters:
            yield f"  in {printable(result.dead_letters)}"
    yield ""
    for output in result.outputs:
        yield f"Output: {printable(output)}"
    if result.path:
        yield f"Result: {printable(result.path)}"
    if result.page:
        yield f"Report: {printable(result.page)}"
    if result.accounting_errors:
        yield "NOT everything is accounted for; please report this:"
        yield from (f"  {difference}" for difference in result.accounting_errors)
    elif result.running and not result.done:
        yield "Not finished: the job is running."
    elif result.done:
        yield "Every line and every statement is accounted for."
    else:
        if result.aborted:
            yield printable(result.aborted)
        yield "Not finished: run the same command again to resume where this run stopped."
    if config.dry_run:
        yield "Dry run: statements went to the logger only."
