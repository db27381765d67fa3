"""A preview as text for people."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from tutor_transform_logs.demo.preview_model import NO_COURSE, NO_USER, EventType, Preview, PreviewedFile, in_order
from tutor_transform_logs.lms_job.report.glossary import REASON_MEANINGS
from tutor_transform_logs.lms_job.util.formatting import columns_of, count, cut_middle, printable, size, wrapped

MEANINGS = {**REASON_MEANINGS, NO_USER: "the event names no user", NO_COURSE: "the event names no course"}
# The URL of the embedded LMS, which serves no pages.
LMS_ROOT = "http://localhost:18000"
KINDS = {"xapi": "xAPI", "caliper": "Caliper"}


def format_preview(preview: Preview, width: int, whole: bool) -> Iterator[str]:
    """The lines to print, failures first, in ``width`` columns if names allow.

    ``whole``: print the whole first statements.
    """
    for file in preview.files:
        yield from _file(file, width)
    types = in_order(preview.types.values())
    known = [row for row in types if row.known]
    skipped = [row for row in types if not row.known]
    lines_width, made_width = (11, 11) if width >= 48 else (7, 10)
    name_width = max(20, width - lines_width - made_width - 2)
    if preview.unparsable:
        yield from _no_events(preview, name_width, lines_width, width)
    yield ""
    if known:
        title = _cut(f"events made into {KINDS[preview.type]}", name_width)
        yield f"{title:<{name_width}} {'lines':>{lines_width}} {'statements':>{made_width}}"
        for row in known:
            numbers = f"{row.lines:>{lines_width},} {row.statements:>{made_width},}"
            yield from _row(row.name, numbers, name_width, width)
            yield from _known(row, width, whole)
    else:
        yield f"None of the events is of a type that is made into {KINDS[preview.type]}."
    if skipped:
        yield ""
        yield f"{'events skipped':<{name_width}} {'lines':>{lines_width}}"
        for row in skipped:
            yield from _row(row.name, f"{row.lines:>{lines_width},}", name_width, width)
    if preview.blank and not preview.unparsable:
        yield from _no_events(preview, name_width, lines_width, width)
    if preview.lines:
        yield ""
        made = sum(row.statements for row in known)
        yield f"{'total':<{name_width}} {preview.lines:>{lines_width},} {made:>{made_width},}"
    yield ""
    yield from (textwrap.fill(note, width, break_long_words=False, break_on_hyphens=False) for note in _notes(preview))


def _no_events(preview: Preview, name_width: int, lines_width: int, width: int) -> Iterator[str]:
    yield ""
    yield f"{'no events':<{name_width}} {'lines':>{lines_width}}"
    for reason, lines in preview.unparsable.most_common():
        meaning = f"{reason}: {MEANINGS.get(reason, reason)}"
        yield from _row(meaning, f"{lines:>{lines_width},}", name_width, width)
    if preview.blank:
        yield f"{'empty lines':<{name_width}} {preview.blank:>{lines_width},}"


def _file(file: PreviewedFile, width: int) -> Iterator[str]:
    parts = [] if file.size is None else [size(file.size)]
    parts += [file.compression] if file.compression else []
    parts.append(count(file.lines, "line"))
    if file.first_day:
        parts.append(file.first_day if file.first_day == file.last_day else f"{file.first_day} to {file.last_day}")
    # What it has is on the same line, or below.
    name = cut_middle(printable(file.name), width - 1)
    yield wrapped(f"{name}: {', '.join(parts)}", width, " " * 4)
    for said in filter(None, (file.wrapping, file.problem)):
        yield wrapped(f"    {printable(said)}", width, " " * 4)


def _known(row: EventType, width: int, whole: bool) -> Iterator[str]:
    """What is below an event's name: why lines failed, and the first statement."""
    for reason, lines in row.failed.most_common():
        yield wrapped(f"    {lines:,} failed, {reason}: {MEANINGS.get(reason, reason)}", width, " " * 6)
        if reason == "erb_error":
            yield _cut(f"      {row.detail[reason]}", width)
    if row.first is None:
        return
    if whole:
        yield from (f"    {line}" for line in json.dumps(row.first, indent=2, ensure_ascii=False).splitlines())
    else:
        yield _cut(f"    first: {_short(row.first)}", width)


def _short(statement: Mapping[str, Any]) -> str:
    """A short description of a statement."""
    if "verb" in statement:
        verb, what = statement["verb"], statement["object"]
        names = (what.get("definition") or {}).get("name") or {}
        shown = next(iter(names.values()), what.get("id", ""))
        shown = str(shown).removeprefix(LMS_ROOT)
        return f"{statement.get('timestamp', '')[:19]} {next(iter((verb.get('display') or {}).values()), '')} {shown}"
    event = (statement.get("data") or [{}])[0]
    what = event.get("object") or {}
    shown = what.get("name") or what.get("id", "") if isinstance(what, Mapping) else what
    shown = str(shown).removeprefix(LMS_ROOT)
    return f"{event.get('eventTime', '')[:19]} {event.get('type', '')} {event.get('action', '')} {shown}"


def _row(name: str, numbers: str, name_width: int, width: int) -> Iterator[str]:
    """A row of a table. A name that is longer than its column has a line of its own."""
    shown = _cut(name, width)
    if columns_of(shown) > name_width:
        yield shown
        shown = ""
    yield f"{shown}{' ' * (name_width - columns_of(shown))} {numbers}"


def _cut(text: str, width: int) -> str:
    """``text`` on one line, cut to ``width`` columns."""
    text = printable(text)
    if columns_of(text) <= width:
        return text
    text = text[: width - 3]
    while columns_of(text) > width - 3:
        text = text[:-1]
    return f"{text}..."


def _notes(preview: Preview) -> Iterator[str]:
    if preview.cut_at:
        yield f"Only the first {count(preview.cut_at, 'line')} were read: --lines 0 reads all."
    if preview.left_out:
        yield f"Not read at all: {', '.join(map(printable, preview.left_out))}"
    yield "Users and courses were not looked up: the preview assumes that each one exists."
