"""What a check says of the source: what is in it, what of it is left to do, and how much that is about."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from django.db import router

from ..config.schema import JobConfig
from ..ledger.ledger import Ledger
from ..model.counts import Counts
from ..model.dead_letters import UNKNOWN_COURSE, UNKNOWN_USER
from ..model.delivery import Destination
from ..model.plan import Plan, Segment
from ..plan.planner import next_plan, select_objects, starts_over
from ..read.filters import Filters
from ..read.time_range import times_of
from ..report.glossary import OUTCOMES
from ..storage.base import Storage, StoredObject
from ..transform.transformer import Transformer
from ..util import console
from ..util.cpus import worker_count
from ..util.formatting import count, duration, printable, size
from ..util.iso_times import in_utc
from ..work.batches import Limits
from .findings import INDENT, Findings
from .sample import Estimate, Trial, about, changing_nothing, counted, estimate, places, read_place

SHOWN = 20
TABLE_INDENT = 2
SLOW_OBJECTS = 100


@dataclass(frozen=True)
class Left:
    """What a run would do: segments, and how many stored bytes of each compression that is."""

    plan: Plan
    segments: Sequence[Segment]
    stored: Mapping[str, int]

    @property
    def bytes(self) -> int:
        return sum(self.stored.values())


def look_at_source(
    findings: Findings,
    config: JobConfig,
    source: Storage,
    ledger: Ledger | None,
    transformer: Transformer | None,
    destinations: Sequence[Destination],
) -> None:
    """Tell all that can be told of the source. Raises :class:`~.errors.JobError` if it can't be read."""
    if config.retry_failed and ledger is not None:
        files = ledger.dead_letter_files()
        what = f"{count(len(files), 'file')} of dead letters, {size(sum(one.size for one in files))}"
        findings.ok(f"to try again: {what}")
        return
    found, passed_over = select_objects(config, source, must_exist=True)
    if len(found) > SLOW_OBJECTS:
        console.say(f"Looking at {len(found):,} objects ...")
    left = _left(config, source, ledger, found, destinations)
    findings.ok(
        f"source {source.where(config.source.prefix)}: {count(len(found), 'object')}, "
        f"{size(sum(one.size for one in found))}"
        + (f"; {len(passed_over):,} more are out of range by their names' dates" if passed_over else "")
    )
    _show_objects(findings, source, found, {one.name: one.note for one in left.plan.objects})
    new = [one for one in found if one.name not in {known.name for known in left.plan.objects}]
    if new:
        what = f"{count(len(new), 'object')}, {size(sum(one.size for one in new))}"
        findings.note(f"Came since plan {left.plan.name} was made, and is done after it: {what} (not in the estimate).")
    if not left.segments:
        findings.ok("nothing is left to do: all of it is done, or empty")
    elif transformer is None:
        findings.note(f"To do: {size(left.bytes)}. No line was tried, as what that takes is not there.")
    else:
        _try(findings, config, source, left, transformer, destinations)


def _left(
    config: JobConfig, source: Storage, ledger: Ledger | None, found: Sequence[StoredObject], to: Sequence[Destination]
) -> Left:
    old = None if starts_over(config) or ledger is None else ledger.load_plan()
    # Without a destination, which has been told, everything is to be done.
    plan = next_plan(config, source, old, 0, [one.id for one in to] or ["none"])
    segments: list[Segment] = []
    stored: dict[str, int] = {}
    entries = ledger.load_entries(plan, to) if ledger is not None and old is not None and to else {}
    for segment in plan.segments:
        positions = [entry.position for entry in entries.get(segment.id, {}).values() if not entry.done]
        if entries and not positions:
            continue
        done = min(positions, default=segment.start) - segment.start if not segment.compression else 0
        segments.append(segment)
        stored[segment.compression] = stored.get(segment.compression, 0) + segment.stored_bytes - done
    return Left(plan, segments, stored)


def _show_objects(findings: Findings, source: Storage, found: Sequence[StoredObject], notes: Mapping[str, str]) -> None:
    """A table of the objects: all of a few, of many the first and the last."""
    half = SHOWN // 2
    shown = list(found) if len(found) <= SHOWN else [*found[:half], *found[-half:]]
    hidden = found[half:-half] if len(found) > SHOWN else []
    room = findings.width - TABLE_INDENT - 53
    wide = room >= 24
    if not wide:
        room = findings.width - TABLE_INDENT - 17
    rows: list[str] = [f"{'object':<{room}} {'size':>9} {'packed':<6}" + ("  events from to, UTC" if wide else "")]
    unknown = False
    known: list[dict[str, object]] = []
    for number, one in enumerate(shown):
        if hidden and number == half:
            rows.append(f"... {len(hidden):,} more, {size(sum(each.size for each in hidden))} ...")
        times = times_of(source, one.name, one.size)
        unknown = unknown or (times.last is None and bool(times.compression))
        name = printable(one.name)
        if len(name) > room:
            name = "..." + name[len(name) - room + 3 :]
        row = f"{name:<{room}} {size(one.size):>9} {times.compression:<6}"
        span = f"{_minute(times.first)}  {_minute(times.last)}" if times.first or times.last else ""
        if wide and span:
            rows.append(f"{row}  {span}")
        else:
            rows += [row, *([f"    {span}"] if span else [])]
        note = times.problem or notes.get(one.name, "")
        if note:
            rows.append(f"    {printable(note)}")
        known.append(
            {
                "name": one.name,
                "size": one.size,
                "compression": times.compression,
                "first": in_utc(times.first) if times.first else None,
                "last": in_utc(times.last) if times.last else None,
                "note": note,
            }
        )
    fields = {"objects": known, "more": len(hidden)}
    findings.table([" " * TABLE_INDENT + row.rstrip() for row in rows], "objects", fields)
    if unknown:
        findings.note("The last event of a large compressed object is not known before all of it is read.")


def _minute(when: datetime | None) -> str:
    return f"{when.astimezone(timezone.utc):%Y-%m-%d %H:%M}" if when else f"{'?':<16}"


def _try(
    findings: Findings,
    config: JobConfig,
    source: Storage,
    left: Left,
    transformer: Transformer,
    destinations: Sequence[Destination],
) -> None:
    limits = Limits(config.batch_size, config.batch_max_bytes, config.max_line_bytes)
    pieces = [read_place(source, place, config.max_line_bytes) for place in places(left.segments)]
    model = importlib.import_module("event_routing_backends.helpers").ExternalId
    with changing_nothing(router.db_for_write(model)):
        tallies = Trial(transformer, destinations, limits, Filters.of(config)).run(pieces)
    counts = counted(tallies)
    findings.ok(f"sample: {count(counts.lines, 'line')} from {count(len(pieces), 'place')}")
    _show_sample(findings, counts)
    whole = estimate(left.stored, tallies)
    if whole is None:
        findings.note("No line was found at these places: nothing can be estimated.")
        return
    lines = [f"about {about(whole.lines)} lines, {size(left.bytes)} to read"]
    for name, statements in whole.statements.items():
        many = f"about {about(statements)} statements, {size(whole.bytes[name])}"
        lines.append(f"{many if statements else 'hardly any statements, or none'}, to {printable(name)}")
    workers = max(1, min(worker_count(config.workers), len(os.sched_getaffinity(0)), len(left.segments)))
    lines.append(
        f"{_time(config, whole, workers)} to make them with {count(workers, 'worker')}; delivery may take longer"
    )
    findings.ok("to do: " + "\n".join(lines))


def _show_sample(findings: Findings, counts: Counts) -> None:
    rows = []
    for name, meaning in OUTCOMES:
        number = getattr(counts, name)
        if number:
            share = f"{number / counts.lines:.1%}" if number * 1000 >= counts.lines else "<0.1%"
            row = f"{name.replace('_', ' '):<16}{number:>7,} {share:>7}"
            rows.append(f"{row}  {meaning}" if INDENT + len(row) + 2 + len(meaning) <= findings.width else row)
    rows += [f"    {reason:<20}{number:>11,}" for reason, number in sorted(counts.reasons.items())]
    findings.table([" " * INDENT + row for row in rows], "sample", counts.to_json())
    events = counts.transformed + counts.untransformable
    for reason, whom in ((UNKNOWN_USER, "users"), (UNKNOWN_COURSE, "courses")):
        if counts.reasons.get(reason, 0) * 2 > events:
            findings.note(f"Most events are of {whom} that this LMS does not know: run it on the site of these logs.")
    if counts.lines and not counts.transformed:
        names = ["filtered"] if counts.filtered else [name for name, _ in OUTCOMES]
        most = max(names, key=lambda name: int(getattr(counts, name)))
        hints = {
            "filtered": "the run's filters leave them out (a sample can miss what they let through)",
            "unparsable": "these are no tracking logs, or the prefix finds too much",
            "unknown_event": "this type transforms none of these events",
        }
        findings.note(f"Not one of these lines makes a statement: {hints.get(most, 'see the reasons above')}.")


def _time(config: JobConfig, whole: Estimate, workers: int) -> str:
    secs = whole.secs / workers
    if config.max_events_per_second:
        secs = max(secs, whole.events / config.max_events_per_second)
    rest = config.sleep_between_batches_secs * whole.events / config.batch_size
    # One worker works and rests in turn; of several, others work meanwhile.
    secs = secs + rest if workers == 1 else max(secs, rest)
    return f"about {duration(float(f'{secs:.2g}'))}" if secs >= 60 else "a minute or less"
