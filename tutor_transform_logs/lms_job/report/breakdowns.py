"""The events of a run by type, by name where they were skipped, by course and by verb."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from ..model.activity import FILTERED, LOST, MADE, OTHERS, TRANSFORMED, UNTRANSFORMABLE
from .html import Html, tag
from .result import Result
from .tables import bar_cell, percentage, section, table, unbroken

ROWS_SHOWN = 15
_NO_COURSE = "(no course)"
_NO_VERB = "(no verb)"


def breakdowns(result: Result, kind: str) -> Iterator[Html | None]:
    """The sections; ``None`` in place of one with nothing to show."""
    yield _by_type(result)
    yield _skipped(result, kind)
    yield _by_course(result.activity.courses)
    yield _by_verb(result.activity.verbs, "verb" if kind == "xAPI" else "action")


def _tables(caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]], rest: str) -> list[Html]:
    """The first rows, and the others folded. ``rest``: what those are, in the plural."""
    tables = [table(caption, columns, rows[:ROWS_SHOWN])]
    if len(rows) > ROWS_SHOWN:
        more = f"{len(rows) - ROWS_SHOWN:,} more {rest}"
        tables.append(tag("details", tag("summary", more), table(more.capitalize(), columns, rows[ROWS_SHOWN:])))
    return tables


def _others_last(
    rows: Mapping[str, list[int]], name: str, key: Callable[[tuple[str, list[int]]], object]
) -> list[tuple[str, list[int]]]:
    """The rows of the table with this name in the order of ``key``. The row of what is counted together is last."""
    return sorted(rows.items(), key=lambda row: (row[0] == OTHERS[name], key(row)))


def _by_type(result: Result) -> Html | None:
    types = result.activity.types
    if not types:
        return None
    most = max(sum(counts) for counts in types.values()) or 1
    filtered = any(counts[FILTERED] for counts in types.values())
    columns = ("event type", "transformed", "failed", *(("filtered",) if filtered else ()))
    rows = []
    for name, counts in _others_last(types, "types", lambda row: (-row[1][UNTRANSFORMABLE], -sum(row[1]), row[0])):
        parts = (("part0", counts[TRANSFORMED]), ("part1", counts[UNTRANSFORMABLE]), ("part2", counts[FILTERED]))
        numbers = [f"{counts[place]:,}" for place in (TRANSFORMED, UNTRANSFORMABLE, *([FILTERED] if filtered else []))]
        rows.append([bar_cell(name, [(part, count / most) for part, count in parts]), *numbers])
    fails = any(counts[UNTRANSFORMABLE] for counts in types.values())
    order = "those that fail first" if fails else "most frequent first"
    return section("By event type", *_tables(f"Events by type, {order}", columns, rows, "types"))


def _skipped(result: Result, kind: str) -> Html | None:
    lines, skipped = result.counts.lines, result.activity.skipped
    if not result.counts.unknown_event:
        return None
    note = (
        f"{result.counts.unknown_event:,} lines, {percentage(result.counts.unknown_event, lines)} of all, are events "
        f"that are not transformed to {kind}: they are skipped. Names that are paths are page views."
    )
    rows = [
        [unbroken(name), f"{number:,}", percentage(number, lines)]
        for name, (number,) in _others_last(skipped, "skipped", lambda row: (-row[1][0], row[0]))
    ]
    unnamed = result.counts.unknown_event - sum(number for (number,) in skipped.values())
    if unnamed > 0:
        rows.append(["(read before names were counted)", f"{unnamed:,}", percentage(unnamed, lines)])
    return section(
        "Skipped events", tag("p", note), *_tables("Skipped events by name", ("name", "lines", "share"), rows, "names")
    )


def _by_course(courses: Mapping[str, list[int]]) -> Html | None:
    if not courses:
        return None
    most = max(sum(counts) for counts in courses.values()) or 1
    rows = []
    for course, counts in _others_last(courses, "courses", lambda row: (-row[1][MADE], row[0])):
        parts = (("part0", counts[MADE] / most), ("part1", counts[LOST] / most))
        rows.append([bar_cell(course or _NO_COURSE, parts), f"{counts[MADE]:,}", f"{counts[LOST]:,}"])
    columns = ("course", "statements", "failed events")
    return section("By course", *_tables("Statements by course, most frequent first", columns, rows, "courses"))


def _by_verb(verbs: Mapping[str, list[int]], word: str) -> Html | None:
    if not verbs:
        return None
    most = max(number for (number,) in verbs.values()) or 1
    rows = [
        [bar_cell(_short(verb, word), [("part0", number / most)]), f"{number:,}"]
        for verb, (number,) in _others_last(verbs, "verbs", lambda row: (-row[1][0], row[0]))
    ]
    title = f"Statements by {word}, most frequent first"
    return section(f"By {word}", *_tables(title, (word, "statements"), rows, f"{word}s"))


def _short(verb: str, word: str) -> str:
    if verb == OTHERS["verbs"]:
        return f"(other {word}s)"
    return verb.rstrip("/").rpartition("/")[2] or _NO_VERB
