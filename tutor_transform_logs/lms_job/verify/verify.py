"""VERIFY: transform the delivered lines again, and compare the statements with what the destinations have."""

from __future__ import annotations

from ..config.schema import JobConfig
from ..model.plan import ContentIndex, Plan
from ..model.progress_events import Message
from ..plan.discovery import identify_objects
from ..plan.selection import select_objects
from ..read.filters import Filters
from ..transform.transformer import Transformer
from ..util.collector import collect_rarely
from ..util.cpus import worker_count
from ..util.errors import JobError
from ..util.formatting import count, size
from ..work.opened import OpenJob
from ..work.progress import Progress, watched
from ..work.throttle import Throttle
from .dead_letter_index import DeadLetterIndex
from .delivered import delivered, ranges
from .expected import ExpectedStatements
from .output_files import OutputFiles
from .verifier import KeepLine, Verifier
from .verify_result import Verification
from .workers import verify_in_workers


def check_verifiable(config: JobConfig) -> None:
    """Raise :class:`~.errors.JobError` if the destination can't be verified."""
    if config.dry_run:
        raise JobError("A dry run delivers nothing, so there is nothing to verify. Leave --dry-run out.")
    if config.transformer_type != "caliper":
        return
    if config.destination is None:
        raise JobError(
            "A Caliper endpoint can't be verified, since Caliper has no way to read events. Count its events there; if "
            "some are missing, send all of them again with --restart: they keep their ids."
        )
    if not config.caliper_stable_ids:
        raise JobError(
            "Caliper events can't be verified without stable ids, since every transformation gives them new ones: "
            "set TRANSFORM_LOGS_CALIPER_STABLE_IDS to true and deliver again with --restart."
        )


def verify_delivered(job: OpenJob, plan: Plan, transformer: Transformer, keep: KeepLine | None) -> Verification:
    """Compare everything that ``plan`` and those before it have delivered. ``keep`` takes the lines that are missing.

    Raises :class:`~.errors.JobError` if the source fails, or a worker.
    """
    collect_rarely()
    config, ledger = job.config, job.ledger
    entries = {} if plan.finished else ledger.load_entries(plan, job.destinations)
    found, _ = select_objects(config, job.source, must_exist=False)
    seen = identify_objects(job.source, found, ContentIndex(plan.contents))
    done = delivered(plan, entries, job.destination_ids)
    parts, gone = ranges(plan, done, seen)
    if not parts and not gone:
        raise JobError("Nothing has been delivered by this job yet, so there is nothing to verify: run it first.")
    total = sum(part.segment.stored_bytes for part in parts)
    # Files are compared as a whole, and a sample is drawn from the whole: by one process.
    workers = 1 if job.store is not None or config.verify_sample else worker_count(config.workers)
    progress = Progress(total, workers)
    emit = progress.emit
    what = f"a sample of {count(config.verify_sample, 'line')} of" if config.verify_sample else "all of"
    emit(Message(f"Verifying {what} what was delivered: {count(len(parts), 'part')} of logs, {size(total)}."))
    expected = ExpectedStatements(
        watched(job.source, emit), transformer, config.max_line_bytes, parts, emit, Filters.of(config)
    )
    dead_letters = DeadLetterIndex(ledger.all_dead_letters(plan, entries))
    throttle = Throttle(config.sleep_between_batches_secs, config.max_events_per_second)
    verifier = Verifier(expected, dead_letters, config.verify_sample, throttle, keep)
    drawn = 0
    try:
        if workers > 1:
            results = verify_in_workers(job, plan, verifier, workers, progress.emit)
        else:
            results, drawn = verifier.verify(job.destinations, _outputs(job))
    finally:
        progress.close()
    started = {destination for of_content in done.values() for destination, spans in of_content.items() if spans}
    for result in results:
        if result.id not in started and result.stopped is None:
            result.stopped = JobError("Nothing has been delivered there yet: run the job without --verify first.")
    notes = [*(f"{name}: not in the source any more" for name in gone), *expected.problems]
    undecided = [f"{obj.name}: {obj.note}" for obj in seen if obj.note]
    return Verification(results, [*notes, *undecided], config.verify_sample, drawn, bool(undecided))


def _outputs(job: OpenJob) -> OutputFiles | None:
    if job.store is None or job.config.destination is None:
        return None
    return OutputFiles(job.ledger, job.store, job.config.destination.prefix, job.config.transformer_type)
