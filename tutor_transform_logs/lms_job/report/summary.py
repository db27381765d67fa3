"""The result as a person reads it at the end of a run."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from ..config.schema import JobConfig
from ..model.plan import USUAL_NOTES
from ..util.formatting import printable, size
from .glossary import OUTCOMES
from .result import DestinationResult, ObjectResult, Result, reasons

MOST_OBJECTS = 20


def summary(config: JobConfig, result: Result, width: int) -> str:
    """The table, in at most ``width`` columns where names allow."""
    return "\n".join(
        [*_objects(result, width), "", *_lines(result, width), "", *_destinations(result, width), *_end(config, result)]
    )


def _objects(result: Result, width: int) -> Iterator[str]:
    columns = ("size", "lines", "transformed", "dead")
    room = max(12, width - 44)
    yield f"{'object':<{room}} {columns[0]:>9} {columns[1]:>11} {columns[2]:>11} {columns[3]:>8}"
    # Of many, those that something is wrong with; last of all those that there was nothing to do for.
    worth_naming = sorted(
        result.objects, key=lambda one: (not set(one.notes) - set(USUAL_NOTES), not one.counts.dead_letters, one.notes)
    )
    shown = {id(one) for one in worth_naming[:MOST_OBJECTS]}
    for one in result.objects:
        if id(one) in shown:
            yield from _object(one, room)
    if len(result.objects) > MOST_OBJECTS:
        yield f"... and {len(result.objects) - MOST_OBJECTS:,} more objects: all are in the result file"


def _object(one: ObjectResult, room: int) -> Iterator[str]:
    name = printable(one.name)
    if len(name) > room:
        name = "..." + name[len(name) - room + 3 :]
    counts = one.counts
    dead = counts.unparsable + counts.untransformable
    yield f"{name:<{room}} {size(one.size):>9} {counts.lines:>11,} {counts.transformed:>11,} {dead:>8,}"
    for note in [*one.notes, *([] if one.done else ["not finished"])]:
        yield f"    {printable(note)}"


def _row(name: str, count: int, meaning: str, width: int) -> str:
    """A count and what it means, which goes on below itself where the terminal is narrow."""
    row = f"  {name:<16}{count:>11,}  "
    return textwrap.fill(row + meaning, max(width, len(row) + 20), subsequent_indent=" " * len(row)).rstrip()


def _lines(result: Result, width: int) -> Iterator[str]:
    yield f"{'lines':<16}{result.counts.lines:>13,}"
    for name, meaning in OUTCOMES:
        count = getattr(result.counts, name)
        if count or name in ("transformed", "unknown_event"):
            yield _row(name.replace("_", " "), count, meaning, width)


def _destinations(result: Result, width: int) -> Iterator[str]:
    for one in result.destinations:
        yield f"statements to {one.name}"
        yield from _destination(one, width)


def _destination(one: DestinationResult, width: int) -> Iterator[str]:
    counts = one.counts
    yield _row("made", counts.made, "", width)
    yield _row("stored", counts.stored, "", width)
    if counts.duplicates:
        yield _row("already there", counts.duplicates, "", width)
    if counts.rejected:
        yield _row("rejected", counts.rejected, "dead letters: not taken as they are", width)
    if counts.not_routed:
        yield _row("not routed", counts.not_routed, "kept from this router by its match_params", width)
    if one.stopped:
        yield f"  stopped: {one.stopped}"


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
        yield "Not finished: it is running."
    elif result.done:
        yield "Every line and every statement is accounted for."
    else:
        if result.aborted:
            yield printable(result.aborted)
        yield "Not finished: run the same command again to resume where this run stopped."
    if config.dry_run:
        yield "Dry run: statements went to the logger only."
