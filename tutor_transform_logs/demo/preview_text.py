"""A preview as a person reads it."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from tutor_transform_logs.demo.preview import NO_COURSE, NO_USER, Preview, Read, Type, in_order
from tutor_transform_logs.lms_job.report.glossary import REASONS
from tutor_transform_logs.lms_job.util.formatting import count, printable, size

MEANINGS = {**REASONS, NO_USER: "the event names no user", NO_COURSE: "the event names no course"}
# Where the embedded LMS would be: nowhere.
LMS_ROOT = "http://localhost:18000"
KINDS = {"xapi": "xAPI", "caliper": "Caliper"}


def in_words(preview: Preview, width: int, whole: bool) -> Iterator[str]:
    """The lines to print, in ``width`` columns where names allow. ``whole``: print first statements whole."""
    yield from map(_file, preview.files)
    types = in_order(preview.types.values())
    known = [one for one in types if one.known]
    passed_over = [one for one in types if not one.known]
    room = max(20, width - 24)
    yield ""
    if known:
        yield f"{f'events made into {KINDS[preview.type]}':<{room}} {'lines':>11} {'statements':>11}"
        for one in known:
            yield from _known(one, room, width, whole)
    else:
        yield f"No event in it is of a type that is made into {KINDS[preview.type]}."
    if passed_over:
        yield ""
        yield f"{'events passed over':<{room}} {'lines':>11}"
        for one in passed_over:
            yield f"{_cut(one.name, room):<{room}} {one.lines:>11,}"
    if preview.unparsable or preview.blank:
        yield ""
        yield f"{'no events':<{room}} {'lines':>11}"
        if preview.blank:
            yield f"{'empty lines':<{room}} {preview.blank:>11,}"
        for reason, lines in preview.unparsable.most_common():
            yield f"{_cut(f'{reason}: {MEANINGS.get(reason, reason)}', room):<{room}} {lines:>11,}"
    yield ""
    yield from (textwrap.fill(note, width, break_long_words=False, break_on_hyphens=False) for note in _notes(preview))


def _file(one: Read) -> str:
    parts = [] if one.size is None else [size(one.size)]
    parts += [one.compression] if one.compression else []
    parts.append(count(one.lines, "line"))
    if one.first_day:
        parts.append(one.first_day if one.first_day == one.last_day else f"{one.first_day} to {one.last_day}")
    problem = f"\n    {printable(one.problem)}" if one.problem else ""
    return f"{printable(one.name)}: {', '.join(parts)}{problem}"


def _known(one: Type, room: int, width: int, whole: bool) -> Iterator[str]:
    yield f"{_cut(one.name, room):<{room}} {one.lines:>11,} {one.statements:>11,}"
    for reason, lines in one.failed.most_common():
        yield _cut(f"    {lines:,} failed, {reason}: {MEANINGS.get(reason, reason)}", width)
        if reason == "erb_error":
            yield _cut(f"      {one.detail[reason]}", width)
    if one.first is None:
        return
    if whole:
        yield from (f"    {line}" for line in json.dumps(one.first, indent=2, ensure_ascii=False).splitlines())
    else:
        yield _cut(f"    first: {_short(one.first)}", width)


def _short(statement: Mapping[str, Any]) -> str:
    """What a statement says, in a few words."""
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


def _cut(text: str, room: int) -> str:
    text = printable(text)
    return text if len(text) <= room else text[: room - 3] + "..."


def _notes(preview: Preview) -> Iterator[str]:
    if preview.cut_at:
        yield f"Only the first {count(preview.cut_at, 'line')} were read: --lines 0 reads all."
    if preview.left_out:
        yield f"Not read at all: {', '.join(map(printable, preview.left_out))}"
    yield "Users and courses were not looked up: each that an event names was taken to be there."
