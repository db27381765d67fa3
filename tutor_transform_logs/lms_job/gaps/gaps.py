"""GAPS: count the statements of the logs and those of the table by day, and compare. Changes nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from ..check.table import check_table
from ..config.schema import JobConfig
from ..deliver.clickhouse import ClickHouse
from ..deliver.table_days import count_rows
from ..deliver.tables import open_table
from ..ledger.json_objects import LedgerError
from ..ledger.ledger import Ledger, job_identity, job_key
from ..ledger.other_jobs import dead_letters_of_all_jobs
from ..model.dead_letters import DELIVER
from ..model.progress_events import BatchDone, Message
from ..plan.planner import next_plan
from ..read.filters import Filters
from ..storage.base import Source
from ..transform.transformer import Transformer
from ..util.collector import collect_rarely
from ..util.errors import JobError, NoContainer
from ..util.formatting import count, size
from ..util.iso_times import period
from ..work.progress import Progress, watched
from .distinct import DistinctByDay
from .result import Gaps, compare
from .scan import Scan, dead_numbers


def open_counted_table(config: JobConfig) -> ClickHouse:
    """The table whose rows are counted, checked as before a run.

    Raises :class:`~.errors.JobError` if the destination can't be counted, or can't hold statements.
    """
    if config.dry_run:
        raise JobError("A dry run delivers nothing, so nothing can be missing. Leave --dry-run out.")
    if config.clickhouse is None:
        raise JobError(
            "--gaps counts the rows of a table in ClickHouse. The destination of this job has no cheap way to count "
            "statements by day: compare all of them with --verify, or a sample with --verify --verify-sample 1000."
        )
    if config.event or config.exclude_event or config.course or config.org:
        raise JobError(
            "--gaps counts all statements of a day, and the table does not know these filters: leave out --event, "
            "--exclude-event, --course and --org. --since, --until and --files can stay."
        )
    clickhouse = open_table(config, config.clickhouse)
    check_table(clickhouse)
    return clickhouse


def find_gaps(
    config: JobConfig, source: Source, ledger: Ledger, clickhouse: ClickHouse, transformer: Transformer
) -> Gaps:
    """Read the whole source, and count. Raises :class:`~.errors.JobError`."""
    collect_rarely()
    filters = Filters.of(config)
    plan = next_plan(config, source, None, 0, [clickhouse.id])
    total = sum(segment.stored_bytes for segment in plan.segments)
    progress = Progress(total)
    progress.emit(Message(f"Counting the events of {count(len(plan.objects), 'object')}, {size(total)}."))
    letters = (
        letter
        for letter in dead_letters_of_all_jobs(ledger, config.transformer_type)
        if letter.stage != DELIVER or letter.destination in clickhouse.names
    )
    with DistinctByDay() as statements:
        scan = Scan(
            watched(source, progress.emit),
            transformer,
            filters,
            config.max_line_bytes,
            dead_numbers(letters, transformer, filters),
            lambda counts: progress.emit(BatchDone(counts)),
        )
        try:
            found = scan.count(plan.segments, statements)
        finally:
            progress.close()
        in_logs = statements.counts()
    in_table = count_rows(clickhouse, in_logs, config.since, config.until)
    days = compare(in_logs, in_table)
    problems = (*plan.left_out, *found.problems)
    gaps = Gaps(clickhouse.name, days, found.dead, found.undated, found.out_of_range, problems)
    done = (dates for dates in {*gaps.ranges, *gaps.to_send} if _is_done(config, ledger, *dates))
    return replace(gaps, done=frozenset(done))


def _is_done(config: JobConfig, ledger: Ledger, first: date, last: date) -> bool:
    """Would a run with these dates as ``since`` and ``until`` find nothing new, since one has finished before?"""
    since, until = period(first.isoformat())[0], period(last.isoformat())[1]
    identity = job_identity(replace(config, since=since, until=until))
    try:
        plan = Ledger(ledger.storage, config.ledger.prefix, job_key(identity)).load_plan()
    except NoContainer:
        return False
    except LedgerError:
        # It can only start over.
        return True
    return plan is not None and plan.finished
