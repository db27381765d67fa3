"""WORK: the segments of a plan, done by one process or by several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from ..config.schema import JobConfig
from ..deliver.loggers import StatementLogger, open_logger
from ..ledger.status import done_bytes
from ..model.plan import Plan, Segment, segments_of_share
from ..model.progress_events import Emit, Message
from ..model.work_outcome import WorkOutcome
from ..transform.factory import open_transformer
from ..transform.transformer import Transformer
from ..util import console
from ..util.collector import collect_rarely
from ..util.cpus import waiting_worker_count, worker_count
from ..util.errors import JobError, Unavailable
from ..util.signals import Interrupted, Interruptions
from .allowance import Allowance
from .dead_letter_limit import DeadLetterLimit
from .opened import OpenJob
from .pool import DestinationsStopped, Pool, next_assignment
from .processes import Channel
from .progress import Progress
from .throttle import Throttle
from .worker import Worker, WorkerContext

# Logs of this stored size, on average, take no longer to transform than the requests for them, or with them to an LRS.
SMALL_BYTES = 128 * 1024
# Starting a worker takes as long as a few requests.
LOGS_PER_WORKER = 8


def do_segments(
    job: OpenJob,
    plan: Plan,
    interruptions: Interruptions,
    share: tuple[int, int] = (0, 1),
    allowance: Allowance | None = None,
) -> WorkOutcome:
    """Do the segments of ``plan``, or one ``share`` (I of N) of them. What ends it early is in the outcome.

    ``allowance``: how much of them this run may do; ``None``: all.
    """
    config = job.config
    collect_rarely()
    transformer = open_transformer(config)
    index, shares = share
    segments = segments_of_share(plan.segments, index, shares) if shares > 1 else list(plan.segments)
    workers = min(_worker_count(config, segments, shares), max(len(segments), 1))
    started = bool(job.ledger.destination_ids(plan))
    before = _done_before(job, plan, segments) if started else 0
    progress = Progress(sum(segment.stored_bytes for segment in segments), workers, before)
    emit = DeadLetterLimit(config.max_dead_letters, shares).counting(progress.emit)
    show_log(progress.emit)
    setup = _Setup(
        plan,
        transformer,
        _open_logger(config, transformer),
        _throttle(config, shares),
        interruptions,
        allowance or Allowance(0, 0),
        _requests_in_flight(config, workers, shares),
    )
    try:
        if workers > 1:
            pool = Pool(workers, partial(_work_on_assignments, job, setup), emit)
            try:
                return pool.run(segments, len(job.destinations))
            except (Interrupted, JobError) as error:
                return WorkOutcome(pool.stopped, _reason(error))
        worker = setup.worker(job, emit)
        try:
            worker.work(segments, ahead=not started and config.source.needs_libcloud and _are_small(segments))
        except (Interrupted, JobError) as error:
            return WorkOutcome(worker.stopped, _reason(error))
        finally:
            worker.close()
        return WorkOutcome(worker.stopped)
    finally:
        progress.close()
        console.show_log(console.say, console.tell_wait)
        if not config.quiet:
            progress.sample.print()


def _worker_count(config: JobConfig, segments: Sequence[Segment], shares: int) -> int:
    """More than there are CPUs for many small logs where workers wait most of their time, for a store or an LRS.

    The last requests to an LRS for a log, which may be all of them, are answered before a worker begins with the next.
    """
    to_lrs = config.destination is None and config.clickhouse is None and not config.dry_run
    if not (_are_small(segments) and (config.source.needs_libcloud or to_lrs)):
        return worker_count(config.workers)
    most = len(segments) // LOGS_PER_WORKER
    if to_lrs:
        most = min(most, config.max_requests_in_flight // shares)
    return max(worker_count(config.workers), min(waiting_worker_count(config.workers), most))


def _are_small(segments: Sequence[Segment]) -> bool:
    return sum(segment.stored_bytes for segment in segments) <= SMALL_BYTES * len(segments)


def _done_before(job: OpenJob, plan: Plan, segments: Sequence[Segment]) -> int:
    """How many stored bytes of ``segments`` earlier runs of the plan have done."""
    return done_bytes(segments, job.ledger.load_entries(replace(plan, segments=tuple(segments)), job.destinations))


@dataclass(frozen=True)
class _Setup:
    """What all workers of a run have in common; made before they are forked."""

    plan: Plan
    transformer: Transformer
    statement_logger: StatementLogger
    throttle: Throttle
    interruptions: Interruptions
    allowance: Allowance
    requests_in_flight: int
    """Of each worker, to one destination."""

    def worker(self, job: OpenJob, emit: Emit) -> Worker:
        context = WorkerContext(
            source=job.ledger.storage if self.plan.redelivers else job.source,
            ledger=job.ledger,
            transformer=self.transformer,
            destinations=job.destinations,
            statement_logger=self.statement_logger,
            emit=emit,
            throttle=self.throttle,
            interruptions=self.interruptions,
            allowance=self.allowance,
            requests_in_flight=self.requests_in_flight,
        )
        return Worker(job.config, self.plan, context)


def _work_on_assignments(job: OpenJob, setup: _Setup, channel: Channel) -> None:
    """The life of a forked worker: what talks over a connection is opened again."""
    show_log(channel.send)
    worker = setup.worker(job.reopened(setup.plan), channel.send)
    try:
        while (assignment := next_assignment(channel)) is not None:
            worker.stopped.update(assignment.stopped)
            worker.do(assignment.segment)
            channel.send(DestinationsStopped(worker.stopped))
    finally:
        worker.close()


def _reason(error: Interrupted | JobError) -> JobError:
    if isinstance(error, Interrupted):
        return Unavailable(f"Interrupted ({error.name}). Run again to resume.")
    return error


def show_log(emit: Emit) -> None:
    """Have what the job's own log says shown with the progress."""
    console.show_log(lambda text: emit(Message(text)), emit, emit)


def _open_logger(config: JobConfig, transformer: Transformer) -> StatementLogger:
    return open_logger(config.transformer_type, transformer.logging_enabled, config.dry_run, config.log_statements)


def _throttle(config: JobConfig, shares: int) -> Throttle:
    """The limits are the run's: each share of the work, which runs beside the others, gets its fraction of them."""
    return Throttle(config.sleep_between_batches_secs, config.max_events_per_second, shares)


def _requests_in_flight(config: JobConfig, workers: int, shares: int) -> int:
    """How many requests each of the ``workers`` of one of the ``shares`` may have in flight to one destination."""
    # A pause after each batch is one in which nothing is sent. Workers of one machine take turns at ClickHouse.
    if config.sleep_between_batches_secs or (config.clickhouse is not None and workers > 1):
        return 1
    return max(1, config.max_requests_in_flight // (workers * shares))
