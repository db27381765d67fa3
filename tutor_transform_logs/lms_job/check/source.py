"""What ``--check`` says about the source: its objects, what a run would do with them, and an estimate of the work."""

from __future__ import annotations

import importlib
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from django.db import router

from ..config.schema import JobConfig
from ..ledger.ledger import Ledger
from ..model.counts import Counts
from ..model.dead_letters import INVALID_FROM_ERB, UNKNOWN_COURSE, UNKNOWN_USER
from ..model.delivery import Destination
from ..model.erb_faults import STANDARDS
from ..model.plan import Plan, Segment
from ..plan.description import describe_dead_letters
from ..plan.planner import next_plan, starts_over
from ..plan.selection import select_objects
from ..read.archives import archive_of
from ..read.filters import Filters
from ..read.time_range import times_of
from ..read.wrong_kind import KindCheck
from ..report.deleted_users import describe
from ..report.glossary import OUTCOMES
from ..storage.base import Source, StoredObject
from ..transform.transformer import Transformer
from ..util import console
from ..util.cpus import worker_count
from ..util.errors import ExitStatus
from ..util.formatting import MOST_NAME_COLUMNS, columns_of, count, cut_middle, duration, printable, size, wrapped
from ..util.iso_times import in_utc
from ..util.timetable import Timetable
from ..work.batches import Limits
from .findings import INDENT, Findings
from .sample import (
    Tally,
    Trial,
    WorkEstimate,
    deleted_users,
    estimate,
    format_estimate,
    invalid_statements,
    places,
    read_place,
    rolled_back,
    total_counts,
)

MAX_SHOWN = 20
TABLE_INDENT = 2
SLOW_OBJECTS = 100


@dataclass(frozen=True)
class RemainingWork:
    """What a run would do: segments, and how many stored bytes of each compression."""

    plan: Plan
    segments: Sequence[Segment]
    stored: Mapping[str, int]
    refused: Mapping[str, str]
    """Object -> why it is not a tracking log. Nothing of it is in the segments."""

    @property
    def bytes(self) -> int:
        return sum(self.stored.values())


def check_source(
    findings: Findings,
    config: JobConfig,
    source: Source,
    ledger: Ledger | None,
    transformer: Transformer | None,
    destinations: Sequence[Destination],
) -> Sequence[Segment]:
    """Report on the source; returns what is left to do. Raises :class:`~.errors.JobError` if it can't be read.

    Six parameters: each is ``None`` or another kind of thing that an earlier check may have failed to open.
    """
    if config.retry_failed and ledger is not None:
        files = ledger.dead_letter_files()
        what = f"{count(len(files), 'file')} of dead letters, {size(sum(obj.size for obj in files))}"
        findings.ok(f"to deliver again: {what}")
        return ()
    found, out_of_range = select_objects(config, source, must_exist=True)
    if len(found) > SLOW_OBJECTS:
        console.say(f"Checking {len(found):,} objects ...")
    remaining = _remaining_work(config, source, ledger, found, destinations)
    findings.ok(
        f"source {', '.join(map(source.where, config.source.prefixes))}: {count(len(found), 'object')}, "
        f"{size(sum(obj.size for obj in found))}"
        + (f"; {len(out_of_range):,} more are out of range by the dates in their names" if out_of_range else "")
    )
    notes = {obj.name: obj.note for obj in remaining.plan.objects} | dict(remaining.refused)
    _print_objects(findings, source, _with_members(found, remaining.plan), notes)
    if remaining.refused:
        findings.note(
            f"{count(len(remaining.refused), 'object')} would be left out, and the run would end with "
            f"{ExitStatus.REJECTED}, since too few of the first lines hold an event. If it is a tracking log all the "
            "same: --max-invalid-ratio."
        )
    archives = {archive_of(name) for name in notes}
    new = [obj for obj in found if obj.name not in notes and obj.name not in archives]
    if new:
        what = f"{count(len(new), 'object')}, {size(sum(obj.size for obj in new))}"
        findings.note(
            f"Added since plan {remaining.plan.name} was made: {what}. Done after that plan; not in the estimate."
        )
    if not remaining.segments:
        if not remaining.refused:
            findings.ok("nothing is left to do: every object is done or empty")
        left = describe_dead_letters(ledger.dead_letter_files()) if ledger is not None else ""
        if left:
            findings.note(left)
    elif transformer is None:
        findings.note(f"To do: {size(remaining.bytes)}. No line was tried: event-routing-backends is not available.")
    else:
        _try(findings, config, source, remaining, transformer, destinations)
    return remaining.segments


def _remaining_work(
    config: JobConfig, source: Source, ledger: Ledger | None, found: Sequence[StoredObject], to: Sequence[Destination]
) -> RemainingWork:
    old = None if starts_over(config) or ledger is None else ledger.load_plan()
    # Without a destination (reported already), everything is left to do.
    plan = next_plan(config, source, old, 0, [destination.id for destination in to] or ["none"])
    segments: list[Segment] = []
    stored: dict[str, int] = {}
    refused: dict[str, str] = {}
    kinds = KindCheck(source, config.max_line_bytes, config.max_invalid_ratio)
    read_before = {content.id for content in plan.contents if content.length}
    resumed = old is not None and not old.finished
    entries = ledger.load_entries(plan, to) if ledger is not None and resumed and to else {}
    for segment in plan.segments:
        positions = [entry.position for entry in entries.get(segment.id, {}).values() if not entry.done]
        if entries and not positions:
            continue
        if segment.content not in read_before and (problem := kinds.problem(segment)):
            refused[segment.object] = problem
            continue
        done = min(positions, default=segment.start) - segment.start if not segment.compression else 0
        segments.append(segment)
        stored[segment.compression] = stored.get(segment.compression, 0) + segment.stored_bytes - done
    return RemainingWork(plan, segments, stored, refused)


def _with_members(found: Sequence[StoredObject], plan: Plan) -> list[StoredObject]:
    """The objects; in place of an archive, those in it."""
    members: dict[str, list[StoredObject]] = {}
    for obj in plan.objects:
        members.setdefault(archive_of(obj.name), []).append(StoredObject(obj.name, obj.size))
    members.pop("", None)
    return [each for obj in found for each in members.get(obj.name, [obj])]


def _print_objects(findings: Findings, source: Source, found: Sequence[StoredObject], notes: Mapping[str, str]) -> None:
    """A table of the objects: if there are many, the first and the last of them."""
    half = MAX_SHOWN // 2
    shown = list(found) if len(found) <= MAX_SHOWN else [*found[:half], *found[-half:]]
    hidden = found[half:-half] if len(found) > MAX_SHOWN else []
    all_times = [times_of(source, obj.name, obj.size) for obj in shown]
    kind_width = max(6, *(len(times.compression) for times in all_times))
    name_width = findings.width - TABLE_INDENT - 47 - kind_width
    wide = name_width >= 24
    if not wide:
        name_width = findings.width - TABLE_INDENT - 11 - kind_width
    if findings.columns is None:
        longest = max(columns_of(printable(obj.name)) for obj in shown)
        name_width = max(name_width, min(longest, MOST_NAME_COLUMNS))
    rows = [f"{'object':<{name_width}} {'size':>9} {'packed':<{kind_width}}" + "  events from to, UTC" * wide]
    unknown = False
    known: list[dict[str, object]] = []
    for number, (obj, times) in enumerate(zip(shown, all_times, strict=True)):
        if hidden and number == half:
            rows.append(f"... {len(hidden):,} more, {size(sum(each.size for each in hidden))} ...")
        unknown = unknown or (times.last is None and bool(times.compression))
        name = cut_middle(printable(obj.name), name_width)
        name += " " * (name_width - columns_of(name))
        row = f"{name} {size(obj.size):>9} {times.compression:<{kind_width}}"
        span = f"{_minute(times.first)}  {_minute(times.last)}" if times.first or times.last else ""
        if wide and span:
            rows.append(f"{row}  {span}")
        else:
            rows += [row, *([f"    {span}"] if span else [])]
        note = times.problem or notes.get(obj.name, "")
        if note:
            width = None if findings.columns is None else findings.width - TABLE_INDENT
            rows += wrapped(f"    {printable(note)}", width, "    ").split("\n")
        known.append(
            {
                "name": obj.name,
                "size": obj.size,
                "compression": times.compression,
                "first": in_utc(times.first) if times.first else None,
                "last": in_utc(times.last) if times.last else None,
                "note": note,
            }
        )
    fields = {"objects": known, "more": len(hidden)}
    findings.table([" " * TABLE_INDENT + row.rstrip() for row in rows], "objects", fields)
    if unknown:
        findings.note("The time of the last event of a large compressed object is only known once all of it is read.")


def _minute(when: datetime | None) -> str:
    return f"{when.astimezone(timezone.utc):%Y-%m-%d %H:%M}" if when else f"{'?':<16}"


def _try(
    findings: Findings,
    config: JobConfig,
    source: Source,
    remaining: RemainingWork,
    transformer: Transformer,
    destinations: Sequence[Destination],
) -> None:
    """Transform and route the sampled lines, and report the outcome. Six parameters: those of :func:`check_source`."""
    limits = Limits(config.batch_size, config.batch_max_bytes, config.max_line_bytes)
    pieces = [read_place(source, place, config.max_line_bytes) for place in places(remaining.segments)]
    model = importlib.import_module("event_routing_backends.helpers").ExternalId
    with rolled_back(router.db_for_write(model)):
        tallies = Trial(transformer, destinations, limits, Filters.of(config)).run(pieces)
    counts = total_counts(tallies)
    findings.ok(f"sample: {count(counts.lines, 'line')} from {count(len(pieces), 'place')}")
    _print_sample(findings, counts)
    if transformer.includes_deleted_users and (gone := describe(deleted_users(tallies))):
        findings.note(
            f"In the sample, no external id is left for the users of {'; '.join(gone)}. A run does not deliver them: "
            f"they become dead letters ({UNKNOWN_USER})."
        )
    _note_invalid(findings, config, tallies)
    whole = estimate(remaining.stored, tallies)
    if whole is None:
        findings.note("The sample has no lines: nothing can be estimated.")
        return
    lines = [f"about {format_estimate(whole.lines)} lines, {size(remaining.bytes)} to read"]
    for name, statements in whole.statements.items():
        many = f"about {format_estimate(statements)} statements, {size(whole.bytes[name])}"
        lines.append(f"{many if statements else 'few or no statements'}, to {printable(name)}")
    workers = max(1, min(worker_count(config.workers), len(os.sched_getaffinity(0)), len(remaining.segments)))
    lines.append(
        f"{_format_time(config, whole, workers)} to transform with {count(workers, 'worker')}; delivery may take longer"
    )
    findings.ok("to do: " + "\n".join(lines))


def _print_sample(findings: Findings, counts: Counts) -> None:
    rows = []
    for name, meaning in OUTCOMES:
        number = getattr(counts, name)
        if number:
            share = f"{number / counts.lines:.1%}" if number * 1000 >= counts.lines else "<0.1%"
            row = f"{name.replace('_', ' '):<16}{number:>7,} {share:>7}"
            rows.append(f"{row}  {meaning}" if INDENT + len(row) + 2 + len(meaning) <= findings.width else row)
    if counts.reasons:
        rows.append(f"{'dead letters':<16}{sum(counts.reasons.values()):>7,}")
    rows += [f"  {reason:<16}{number:>5,}" for reason, number in sorted(counts.reasons.items())]
    findings.table([" " * INDENT + row for row in rows], "sample", counts.to_json())
    events = counts.transformed + counts.untransformable
    for reason, whom in ((UNKNOWN_USER, "users"), (UNKNOWN_COURSE, "courses")):
        if counts.reasons.get(reason, 0) * 2 > events:
            findings.note(f"Most events are of {whom} that this LMS does not know. Run it on the site of these logs.")
    if counts.lines and not counts.transformed:
        names = ["filtered"] if counts.filtered else [name for name, _ in OUTCOMES]
        most = max(names, key=lambda name: int(getattr(counts, name)))
        hints = {
            "filtered": "the filters exclude them (but the sample may have missed lines that they include)",
            "unparsable": "these are not tracking logs, or the prefix matches other files",
            "unknown_event": "none of these events is transformed to this type",
        }
        findings.note(f"None of these lines makes a statement: {hints.get(most, 'see the reasons above')}.")


def _note_invalid(findings: Findings, config: JobConfig, tallies: Mapping[str, Tally]) -> None:
    """Say which of the sampled statements a strict LRS would reject."""
    standard = STANDARDS[config.transformer_type]
    for name, statements in invalid_statements(tallies).items():
        invalid, sampled = statements.total(), sum(tally.statements.get(name, 0) for tally in tallies.values())
        faults: Counter[str] = Counter()
        for found, number in statements.items():
            faults.update(dict.fromkeys(found, number))
        details = "; ".join(f"{what} ({number:,})" for what, number in faults.most_common())
        findings.note(
            f"{invalid:,} of {sampled:,} sampled statements for {name} are invalid {standard} as "
            f"event-routing-backends makes them: {details}. A strict LRS refuses them: they become dead letters "
            f"({INVALID_FROM_ERB}), and the run ends with 3."
        )


def _format_time(config: JobConfig, whole: WorkEstimate, workers: int) -> str:
    secs = whole.secs / workers
    rate = Timetable.of(config.max_events_per_second).at(time.time())
    if rate:
        secs = max(secs, whole.events / rate)
    rest = config.sleep_between_batches_secs * whole.events / config.batch_size
    # A single worker can't work while it rests; with several, the others do.
    secs = secs + rest if workers == 1 else max(secs, rest)
    return f"about {duration(float(f'{secs:.2g}'))}" if secs >= 60 else "a minute or less"
