"""The result as text, for the end of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ..config.schema import JobConfig
from ..model.plan import HARMLESS_NOTES
from ..util.formatting import MOST_NAME_COLUMNS, columns_of, cut_middle, printable, size, wrapped
from .deleted_users import describe
from .ending import SAME_JOB, ending
from .glossary import OUTCOMES
from .host_paths import host_path
from .next_steps import REBUILD
from .result import DestinationResult, ObjectResult, Result, SavedResult, reasons

MAX_OBJECTS = 20
NEXT = (
    "Next: load the names of courses and learners into Aspects (the report has the commands). Then rebuild its tables "
    "of most recent states, which may show older states now:"
)
# The widths of a table of objects without the name, of the names at least, and of names off a terminal.
NUMBERS, MIN_NAME, USUAL_NAME = 44, 12, 36
HEADINGS = ("size", "lines", "transformed", "dead")
# How much of a line a meaning beside a count needs; with less than that, it is below the count.
MIN_MEANING = 20


def summary(config: JobConfig, result: Result, width: int | None, resume: str = SAME_JOB) -> str:
    """The table, in at most ``width`` columns if names allow; ``None``: nothing is wrapped.

    ``resume``: what to do if the job is not finished.
    """
    return "\n".join(
        [
            *_objects(result, width),
            "",
            *_lines(result, width),
            "",
            *_destinations(result, width, config.dry_run),
            *_files(reasons(result), result, width),
            *(wrapped(f"Not delivered: {each}.", width, "  ") for each in describe(result.deleted_users or {})),
            *(wrapped(text, width) for text in _end(config, result, resume)),
            *_next(result, width),
        ]
    )


def last_result(saved: SavedResult, width: int | None) -> str:
    """What an earlier run has left, for a plan without any work."""
    return "\n".join(_files(saved.reasons, saved, width))


def _objects(result: Result, width: int | None) -> Iterator[str]:
    # If there are many: first those with a problem, last those without any work.
    worth_naming = sorted(
        result.objects,
        key=lambda obj: (not set(obj.notes) - set(HARMLESS_NOTES), not obj.counts.dead_letters, obj.notes),
    )
    chosen = {id(obj) for obj in worth_naming[:MAX_OBJECTS]}
    shown = [obj for obj in result.objects if id(obj) in chosen]
    if width is None or width >= MIN_NAME + NUMBERS:
        yield from _wide_table(shown, width)
    else:
        yield from _narrow_table(shown, width)
    if len(result.objects) > MAX_OBJECTS:
        more = len(result.objects) - MAX_OBJECTS
        yield wrapped(f"... and {more:,} more objects: all are in the result file", width)


def _wide_table(objects: Sequence[ObjectResult], width: int | None) -> Iterator[str]:
    longest = max([USUAL_NAME, *(columns_of(printable(obj.name)) for obj in objects)])
    name_width = min(longest, MOST_NAME_COLUMNS) if width is None else width - NUMBERS
    for name, cells, notes in [("object", HEADINGS, []), *map(_cells, objects)]:
        of_size, lines, transformed, dead = cells
        shown = cut_middle(name, name_width)
        shown += " " * (name_width - columns_of(shown))
        yield f"{shown} {of_size:>9} {lines:>11} {transformed:>11} {dead:>8}"
        yield from (wrapped(f"    {note}", width, "    ") for note in notes)


def _narrow_table(objects: Sequence[ObjectResult], width: int) -> Iterator[str]:
    """Names above their numbers, in columns that are as wide as they have to be."""
    rows = [("object", HEADINGS, []), *map(_cells, objects)]
    widths = [max(map(len, column)) for column in zip(*(cells for _, cells, _ in rows), strict=True)]
    for name, cells, notes in rows:
        yield cut_middle(name, width)
        yield "  " + " ".join(f"{cell:>{column}}" for cell, column in zip(cells, widths, strict=True))
        yield from (wrapped(f"    {note}", width, "    ") for note in notes)


def _cells(obj: ObjectResult) -> tuple[str, tuple[str, ...], list[str]]:
    """An object's name, the numbers below :data:`HEADINGS`, and notes."""
    counts = obj.counts
    dead = counts.unparsable + counts.untransformable
    cells = (size(obj.size), f"{counts.lines:,}", f"{counts.transformed:,}", f"{dead:,}")
    return printable(obj.name), cells, [printable(n) for n in [*obj.notes, *([] if obj.done else ["not finished"])]]


def _row(name: str, count: int, meaning: str, width: int | None) -> str:
    """A count and its meaning."""
    row = f"  {name:<16}{count:>11,}  "
    if width is None or width >= len(row) + MIN_MEANING:
        return wrapped(row + meaning, width, " " * len(row)).rstrip()
    return f"{row.rstrip()}\n{wrapped(f'    {meaning}', width, '    ')}" if meaning else row.rstrip()


def _lines(result: Result, width: int | None) -> Iterator[str]:
    yield f"{'lines':<16}{result.counts.lines:>13,}"
    for name, meaning in OUTCOMES:
        count = getattr(result.counts, name)
        if count or name in ("transformed", "unknown_event"):
            yield _row(name.replace("_", " "), count, meaning, width)


def _destinations(result: Result, width: int | None, is_dry_run: bool) -> Iterator[str]:
    for destination in result.destinations:
        yield wrapped(f"statements to {destination.name}", width, "  ")
        yield from _destination(destination, width, is_dry_run)


def _destination(destination: DestinationResult, width: int | None, is_dry_run: bool) -> Iterator[str]:
    counts = destination.counts
    yield _row("made", counts.made, "", width)
    if not is_dry_run:
        # A dry run counts what it makes as stored, so that the sums are those of a run, and stores nothing.
        yield _row("stored", counts.stored, "", width)
    if counts.duplicates:
        yield _row("duplicates", counts.duplicates, "", width)
    if counts.rejected:
        yield _row("rejected", counts.rejected, "dead letters: refused by the destination", width)
    if counts.not_routed:
        yield _row("not routed", counts.not_routed, "excluded from this router by its match_params", width)
    if destination.stopped:
        yield wrapped(f"  stopped: {printable(destination.stopped)}", width, "    ")


def _files(failed: Mapping[str, int], result: Result | SavedResult, width: int | None) -> Iterator[str]:
    """The dead letters, and where everything is. ``failed``: reason -> number of dead letters."""
    if failed:
        yield ""
        yield f"dead letters    {sum(failed.values()):>13,}"
        for reason, count in failed.items():
            yield _row(reason, count, "", width)
        if result.dead_letters:
            yield f"  in {printable(host_path(result.dead_letters))}"
    yield ""
    for output in result.outputs:
        yield f"Output: {printable(host_path(output))}"
    if result.path:
        yield f"Result: {printable(host_path(result.path))}"
    if result.page:
        yield f"Report: {printable(host_path(result.page))}"


def _next(result: Result, width: int | None) -> Iterator[str]:
    """The command stays in one piece, to be copied."""
    if result.next_steps:
        yield wrapped(NEXT, width)
        yield f"  {REBUILD}"


def _end(config: JobConfig, result: Result, resume: str) -> Iterator[str]:
    if result.aborted:
        yield printable(result.aborted)
    outcome, *steps = ending(config, result, resume).sentences
    yield outcome
    yield from (f"  {error}" for error in result.accounting_errors)
    yield from steps
