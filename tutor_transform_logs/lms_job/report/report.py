"""REPORT: add the segments up, check that everything is accounted for, write the results, set the exit status."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from ..deliver.files import Files, joined_stem, manifest_line, write_manifest
from ..ledger import names
from ..ledger.entries import Entries, Entry
from ..ledger.ledger import Ledger
from ..ledger.names import batch_name
from ..model import dead_letters
from ..model.activity import Activity, total_activity
from ..model.counts import Counts, total
from ..model.dead_letters import DELIVER, DeadLetter
from ..model.delivery import NamedDestination
from ..model.plan import OUT_OF_RANGE, Plan, Segment
from ..model.work_outcome import WorkOutcome
from ..plan.planner import completed_lines, finish_plan, numbered_lines
from ..plan.resend import drop_retried
from ..storage.base import Storage
from ..util.errors import JobError, without_resuming
from ..work.opened import OpenJob
from .deleted_users import DeletedUserEvents
from .ending import ending
from .examples import Examples
from .html_page import page
from .join_files import join_parts
from .next_steps import next_steps
from .result import DestinationResult, ObjectResult, Result, SavedResult, exit_status, to_json
from .site import site_facts
from .table_rows import rows_by_day


def make_report(job: OpenJob, plan: Plan, outcome: WorkOutcome) -> Result:
    """Add up how far the plan is, finish it if all is done, and save the result in the ledger."""
    ledger = job.ledger
    ledger.hold(certain=True)
    entries = ledger.load_entries(plan, job.destinations)
    result = _add_up(plan, ledger, job.destinations, entries, outcome.stopped)
    examples, gone = Examples(), DeletedUserEvents()

    def seen(letters: Iterable[DeadLetter]) -> Iterator[DeadLetter]:
        passed = examples.collect(letters)
        return gone.collect(passed) if job.config.include_deleted_users else passed

    if plan.finished:
        result.outputs = list(load_saved(plan, ledger).outputs)
        result.dead_letters = ledger.joined_dead_letters(plan)
        for _ in seen(ledger.load_joined_dead_letters(plan)):
            pass
    else:
        result.dead_letters = _save_dead_letters(plan, ledger, entries, seen)
    result.deleted_users = gone.by_course if job.config.include_deleted_users else None
    finishing = result.done and not result.accounting_errors and not plan.finished
    if finishing:
        for destination in job.destinations:
            if isinstance(destination, Files):
                result.outputs = _finish_output(job, plan, destination, entries)
    # The last line says what to do next, once for all that has stopped.
    result.aborted = without_resuming(str(outcome.aborted)) if outcome.aborted else ""
    result.status = exit_status(result, [error.status for error in outcome.errors], job.config.strict)
    if result.done:
        result.next_steps = next_steps(job.destinations, [to.counts.stored for to in result.destinations])
        if not plan.redelivers:
            result.rows_by_day = rows_by_day(job.config, result.activity)
    result.site = site_facts()
    result.ending = " ".join(ending(job.config, result).sentences)
    result.page = ledger.save_report_page(plan, page(job.config, result, examples.by_reason))
    result.path = ledger.save_result(plan, to_json(job.config, result))
    if finishing:
        # In this order, so that a kill in between leaves nothing that would be retried or joined twice, and no
        # finished plan without its result.
        drop_retried(ledger, plan, job.destinations)
        ledger.drop_incomplete_lines(plan, completed_lines(plan, entries))
        ledger.save_plan(finish_plan(plan, entries))
        ledger.drop_batches()
    return result


def make_status(plan: Plan, ledger: Ledger, destinations: Sequence[NamedDestination], strict: bool) -> Result:
    """Add up how far the plan is, and change nothing. ``strict``: do dead letters count as a failure?"""
    entries = ledger.load_entries(plan, destinations)
    result = _add_up(plan, ledger, destinations, entries, {})
    if plan.finished:
        saved = load_saved(plan, ledger)
        result.outputs, result.dead_letters = list(saved.outputs), saved.dead_letters
        result.path, result.page = saved.path, saved.page
    if result.done:
        result.status = exit_status(result, [], strict)
    return result


def load_saved(plan: Plan, ledger: Ledger) -> SavedResult:
    """What :func:`make_report` saved for a finished plan; nothing where a file was deleted."""
    saved = ledger.load_result(plan.name)
    reasons = saved.get("reasons", {})
    dead_letters = ledger.joined_dead_letters(plan) if reasons else ""
    path = ledger.where(plan.name, names.RESULT) if saved else ""
    return SavedResult(reasons, saved.get("outputs", []), dead_letters, path, saved.get("page", ""))


def _farthest(entries: Mapping[str, Entry]) -> Entry:
    """The entry that is farthest in a segment: the lines are the same for every destination."""
    return max(entries.values(), key=lambda entry: (entry.position, entry.done, entry.counts.lines))


def _add_up(
    plan: Plan,
    ledger: Ledger,
    destinations: Sequence[NamedDestination],
    entries: Entries,
    stopped: Mapping[str, JobError],
) -> Result:
    results = []
    accounting_errors = []
    for destination in destinations:
        mine = [entries[segment.id][destination.id] for segment in plan.segments]
        counts = total(entry.counts for entry in mine)
        accounting_errors += [f"{destination.name}: {detail}" for detail in counts.accounting_errors()]
        error = stopped.get(destination.id)
        results.append(
            DestinationResult(
                destination.id,
                destination.name,
                counts,
                all(e.done for e in mine),
                without_resuming(str(error)) if error else "",
            )
        )
    objects, problems = _objects(plan, entries)
    counts = total(obj.counts for obj in objects)
    # Statements are each destination's own; in the sum over all lines there is one set of them.
    activity = total_activity(obj.activity for obj in objects)
    return Result(plan, ledger.key, counts, activity, results, objects, accounting_errors, problems)


def _objects(plan: Plan, entries: Entries) -> tuple[list[ObjectResult], list[str]]:
    sizes = {obj.name: obj.size for obj in plan.objects}
    objects = {obj.name: ObjectResult(obj.name, obj.size, Counts(), Activity(), True, [obj.note] if obj.note else [])
               for obj in plan.objects}  # fmt: skip
    problems = [*plan.left_out]
    for segment in plan.segments:
        # An object that was rotated between two runs of the plan goes by its newer name.
        obj = objects.setdefault(
            segment.object, ObjectResult(segment.object, sizes.get(segment.object, 0), Counts(), Activity(), True)
        )
        entry = _farthest(entries[segment.id])
        obj.counts.add(entry.counts)
        obj.activity.add(entry.activity)
        obj.done = obj.done and all(e.done for e in entries[segment.id].values())
        # What is wrong with an object is said once, however many segments it has.
        if entry.problem and entry.problem not in obj.notes:
            obj.notes.append(entry.problem)
            problems.append(f"{segment.object}: {entry.problem}")
    return list(objects.values()), problems


def _save_dead_letters(
    plan: Plan, ledger: Ledger, entries: Entries, seen: Callable[[Iterable[DeadLetter]], Iterator[DeadLetter]]
) -> str:
    """Join the plan's dead letters into one file; returns where it is, or ``""`` if there are none.

    They pass through ``seen``.
    """
    if not any(entry.dead_batches for of_segment in entries.values() for entry in of_segment.values()):
        return ""

    def letters() -> Iterator[DeadLetter]:
        for segment, before in numbered_lines(plan, entries):
            yield from _letters(ledger, plan, segment, entries[segment.id], before)

    return ledger.write_dead_letters(plan, lambda: dead_letters.dump_in_pieces(seen(letters())))


def _letters(
    ledger: Ledger, plan: Plan, segment: Segment, of_segment: Mapping[str, Entry], before: int
) -> Iterator[DeadLetter]:
    """A segment's dead letters, with line numbers in the object: lines once, statements for each destination.

    ``of_segment``: destination id -> entry; ``before``: how many lines come before the segment.
    """
    farthest = _farthest(of_segment)
    for destination, entry in of_segment.items():
        for letter in ledger.load_dead_letters(plan, segment, destination, entry):
            if letter.stage == DELIVER or entry is farthest:
                yield replace(letter, line=letter.line + before)


def _delete_unrecorded(store: Storage, files: Files, plan: Plan, entries: Entries) -> None:
    """Delete what a killed run has delivered and not recorded of segments that could not be read to their ends.

    A resumed run writes such a batch again, under the same name; but not if its lines were not there any more. They are
    delivered by a later plan, should they come back.
    """
    for segment in plan.segments:
        entry = entries[segment.id][files.id]
        if entry.problem:
            store.delete(files.object_name(batch_name(plan, segment, entry.batches + 1)))


def _finish_output(job: OpenJob, plan: Plan, files: Files, entries: Entries) -> list[str]:
    """Join what is to be one file, and list the source files beside it; returns where the output is."""
    config, store = job.config, job.store
    assert config.destination is not None
    assert store is not None
    outputs = []
    batches = [(segment, entries[segment.id][files.id].batches) for segment in plan.segments]
    job.ledger.hold()
    _delete_unrecorded(store, files, plan, entries)
    if plan.output.layout == "single":
        outputs = join_parts(job, plan, files, batches)
    elif any(count for _, count in batches):
        outputs = [f"{store.where(config.destination.prefix)} ({sum(count for _, count in batches)} files)"]
    if plan.redelivers:
        return outputs
    sources = [manifest_line(obj.name, obj.size) for obj in plan.objects if obj.note != OUT_OF_RANGE]
    stem = joined_stem(config.destination.prefix, plan, config.transformer_type, job.ledger.key)
    write_manifest(store, stem, sources)
    return outputs
