"""VERIFY put together: from the ledger to what is to be read, from there to the destinations, and to words."""

from __future__ import annotations

from collections.abc import Sequence

from .batches import Limits
from .config import JobConfig
from .delivered import delivered, stretches
from .delivery import Destination
from .errors import JobError
from .filters import Filters
from .ledger import Ledger
from .output_files import OutputFiles
from .pace import Pace
from .plan import chosen
from .plan_model import ContentIndex, Plan
from .progress import Progress
from .recall import Recall
from .report import load_entries
from .set_aside import SetAside, letters_of
from .source_objects import look_at_all
from .storage import Storage
from .text import count, size
from .transform import Transformer
from .verified import MissingLines, exit_status, in_words
from .verify import Verifier


def look(
    config: JobConfig,
    plan: Plan,
    ledger: Ledger,
    source: Storage,
    store: Storage | None,
    destinations: Sequence[Destination],
    transformer: Transformer,
    missing: MissingLines,
) -> tuple[int, str]:
    """Look for everything that ``plan`` and those before it have delivered: exit status and words.

    ``store``: the destination's storage, where it has one. Raises :class:`~.errors.JobError` if the source fails.
    """
    entries = {} if plan.finished else load_entries(plan, ledger, destinations)
    found, _ = chosen(config, source, must_exist=False)
    seen = look_at_all(source, found, ContentIndex(plan.contents))
    parts, gone = stretches(plan, delivered(plan, entries, [one.id for one in destinations]), seen)
    if not parts and not gone:
        raise JobError("Nothing has been delivered by this job yet, so there is nothing to verify: run it first.")
    total = sum(part.segment.stored_bytes for part in parts)
    progress = Progress(total)
    what = f"a sample of {count(config.verify_sample, 'line')} of" if config.verify_sample else "all of"
    progress.say(f"Verifying {what} what was delivered: {count(len(parts), 'part')} of logs, {size(total)}.")
    limits = Limits(config.batch_size, config.batch_max_bytes, config.max_line_bytes)
    recall = Recall(progress.watch(source), transformer, limits, parts, progress.add_counts, Filters.of(config))
    set_aside = SetAside(letters_of(ledger, plan, entries))
    pace = Pace(config.sleep_between_batches_secs, config.max_events_per_second)
    verifier = Verifier(recall, set_aside, config.verify_sample, pace)
    outputs = None
    if store is not None and config.destination is not None:
        outputs = OutputFiles(ledger, store, config.destination.prefix)
    try:
        results, drawn = verifier.verify(destinations, outputs, missing)
    finally:
        progress.close()
    notes = [*(f"{name}: not in the source any more" for name in gone), *recall.problems]
    words = in_words(results, config.verify_sample, drawn, notes, config.repair)
    return exit_status(results), words
