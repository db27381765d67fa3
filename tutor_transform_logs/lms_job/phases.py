"""The phases, put together from the rooms."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence

from .config.schema import JobConfig
from .deliver.files import Files
from .deliver.loggers import Loggers, open_logger
from .deliver.routers import open_endpoints
from .ledger.ledger import Ledger, job_identity, job_key
from .ledger.lock import Group, current_owner, local_lock, remote_lock
from .ledger.status import job_status
from .model.delivery import Destination
from .model.plan import HARMLESS_NOTES, OUT_OF_RANGE, OutputFormat, Plan, Segment, share
from .plan.planner import make_plan, starts_over
from .plan.resend import make_repair_plan, make_retry_plan
from .read.filters import TAKE_ALL, Filters
from .report.report import make_report, make_status
from .report.result import brief
from .report.summary import summary
from .storage.base import Storage
from .storage.factory import open_storage
from .transform.db_router import read_from
from .transform.transformer import Transformer
from .util import console
from .util.cpus import worker_count
from .util.errors import ExitStatus, JobError, Unavailable
from .util.formatting import count, printable, size
from .util.phase_outcome import PhaseOutcome
from .util.signals import Interrupted, Interruptions
from .verify.outcome import MissingLines, after_repair
from .verify.verify import check_verifiable, look
from .work.pool import Channel, Pool
from .work.progress import Progress, ProgressReporter
from .work.throttle import Pace
from .work.worker import Worker, WorkerContext

WIDEST = 100
# The Kubernetes Job that this process is a pod of, and those of this job that have ended: see Group.
GROUP_VARIABLE = "TRANSFORM_LOGS_K8S_JOB"
ENDED_VARIABLE = "TRANSFORM_LOGS_K8S_ENDED_JOBS"
# Objects made and not freed; Python's own are 700, 10 and 10, which takes a sixth of all time.
COLLECT_AFTER = (100_000, 50, 100)


class Run:
    """One run of the job: opens what the config names, once it has seen that everything is there."""

    def __init__(self, config: JobConfig, interruptions: Interruptions, share: tuple[int, int] = (0, 1)) -> None:
        """``share``: which part of the segments the phase WORK is to do, and of how many (PLAN cuts them for those)."""
        self._config = config
        self._share = share
        self._interruptions = interruptions
        wait = config.lrs_max_wait_secs
        read_from(config.database_alias)
        self._source = open_storage(config.source, wait)
        self._source.check()
        self._store: Storage | None = None
        if config.destination is not None and not config.dry_run:
            self._store = open_storage(config.destination, wait)
            self._store.check()
        ledger_storage = open_storage(config.ledger, wait)
        ledger_storage.check(create=True)
        self._ledger = Ledger(ledger_storage, config.ledger.prefix, job_key(job_identity(config)))
        # Asked for now, so that a job that has nowhere to send to says so before it reads anything.
        self._destinations: Sequence[Destination] = self._open_destinations()
        self._stopped: Mapping[str, JobError] = {}
        self._aborted: JobError | None = None
        self._filters_said = False

    def run(self) -> int:
        """Plan, work, report. After a plan that was resumed, what came to the source since is planned and done too."""
        with self._locked():
            if self._config.retry_failed:
                return self._retry()
            plan, resumed = self._plan()
            if not plan.segments:
                self._nothing_to_do(plan)
                return ExitStatus.DONE
            self._work(plan)
            status = self._report(plan)
            if not resumed or self._stopped or self._aborted:
                return status
            plan, _ = self._plan()
            if plan.segments:
                self._work(plan)
                status = max(status, self._report(plan, again=True))
            return status

    def _retry(self) -> int:
        plan = self._retry_plan()
        if not plan.segments:
            self._nothing_to_do(plan)
            return ExitStatus.DONE
        self._work(plan)
        return self._report(plan)

    def _retry_plan(self) -> Plan:
        plan = make_retry_plan(self._ledger)
        if plan.segments:
            self._say_filters()
            _say(f"Retrying the dead letters of {count(len(plan.objects), 'plan')}.")
        return plan

    def plan(self) -> PhaseOutcome:
        """The phase PLAN alone."""
        with self._locked():
            plan, resumed = (self._retry_plan(), False) if self._config.retry_failed else self._plan(console.result)
            if not plan.segments:
                self._nothing_to_do(plan)
        return PhaseOutcome(ExitStatus.DONE, nothing_new=not plan.segments, resumed=resumed)

    def work(self) -> int:
        """The phase WORK alone: what the plan in hand has left."""
        with self._locked(self._share[0]):
            self._work(self._plan_in_hand())
        for error in (*self._stopped.values(), self._aborted):
            if error is not None:
                raise error
        return ExitStatus.DONE

    def report(self) -> int:
        """The phase REPORT alone."""
        with self._locked():
            return self._report(self._plan_in_hand())

    def status(self) -> int:
        """Print where the job stands; nothing is started and nothing is changed."""
        plan = self._ledger.load_plan()
        if plan is None:
            console.result(f"This job has not run yet (ledger: {self._ledger.where()}).", "never_run")
            return ExitStatus.DONE
        self._use_output_of(plan)
        owner = current_owner(self._ledger.storage, self._ledger.directory, self._config.ledger.is_local)
        where = job_status(plan, self._ledger.load_entries(plan, self._destinations), owner)
        if not plan.segments:
            # A later run has found nothing new, and made this of the plan.
            text = f"{where}\nThe last result: {self._ledger.where(plan.name)}"
            console.result(text, "status", fields=where.to_json())
            return ExitStatus.DONE
        result = make_status(plan, self._ledger, self._destinations)
        result.running = owner is not None
        text = f"{where}\n\n{summary(self._config, result, _width())}"
        console.result(text, "status", fields={**brief(self._config, result), **where.to_json()})
        return ExitStatus.DONE

    def verify(self) -> int:
        """Look whether the destinations hold what the ledger says is delivered; send what is missing, if asked to."""
        check_verifiable(self._config)
        with self._locked(), tempfile.TemporaryFile() as lines:
            plan = self._ledger.load_plan()
            if plan is None:
                raise JobError(f"This job has not run yet (ledger: {self._ledger.where()}): run it, then verify it.")
            if self._config.repair and not plan.finished:
                self._finish_retry(plan)
                plan = self._plan_in_hand()
            self._use_output_of(plan)
            missing = MissingLines(lines if self._config.repair else None)
            transformer = self._transformer()
            status, detail = look(
                self._config, plan, self._ledger, self._source, self._store, self._destinations, transformer, missing
            )
            console.result(detail, "verified")
            if not self._config.repair or not missing.count:
                return status
            _say(f"Repairing: {count(missing.count, 'statement')} to send again.")
            plan = make_repair_plan(self._ledger, plan, lines)
            self._work(plan)
            return after_repair(self._report(plan, again=True), status, missing)

    def _finish_retry(self, plan: Plan) -> None:
        """Before a repair: bring one that was stopped, or a retry, to its end."""
        if not plan.redelivers:
            raise JobError("The last run of this job was not finished: run it again without --repair first.")
        self._work(plan)
        self._report(plan)
        for error in (*self._stopped.values(), self._aborted):
            if error is not None:
                raise error

    def _locked(self, share: int | None = None) -> contextlib.AbstractContextManager[None]:
        """One run of the job at a time; a share of the work beside other shares."""
        config = self._config
        lock: contextlib.AbstractContextManager[None]
        if config.ledger.is_local:
            lock = local_lock(self._ledger.where(), share)
        else:
            own = open_storage(config.ledger, config.lrs_max_wait_secs)
            group = Group(os.environ.get(GROUP_VARIABLE, ""), frozenset(os.environ.get(ENDED_VARIABLE, "").split()))
            lock = remote_lock(own, self._ledger.directory, share, group)
        return lock

    def _plan_in_hand(self) -> Plan:
        plan = self._ledger.load_plan()
        if plan is None:
            raise JobError(f"There is no plan in {self._ledger.where()}: run the phase plan first.")
        self._use_output_of(plan)
        return plan

    def _plan(self, tell: Callable[..., None] = console.say) -> tuple[Plan, bool]:
        """The plan, and whether it was begun by an earlier run; ``tell`` gets it in words."""
        before = None if starts_over(self._config) else self._ledger.load_plan()
        names = [one.id for one in self._destinations]
        _say(printable(f"Listing {self._config.source}."))
        plan = make_plan(self._config, self._source, self._ledger, names, self._share[1])
        first = plan.number if before is None else self._ledger.first_plan()
        self._ledger.save_identity(job_identity(self._config), first)
        self._use_output_of(plan)
        resumed = before is not None and not before.finished
        begun = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(plan.created))
        left, in_the_middle = self._left(plan) if resumed else (plan.segments, 0)
        done_before = sum(1 for one in plan.objects if one.note)
        self._say_filters()
        tell(
            (f"Resuming plan {plan.name}, begun {begun} UTC. " if resumed else "")
            + f"Source: {count(len(plan.objects), 'object')}, {size(sum(one.size for one in plan.objects))}"
            + (f", {done_before:,} of them passed over. " if done_before else ". ")
            + f"To do: {count(len(left), 'segment')}"
            + (
                f" of {len(plan.segments):,} ({len(plan.segments) - len(left):,} done, {in_the_middle:,} begun)"
                if resumed
                else ""
            )
            + f", {size(sum(segment.stored_bytes for segment in left))}.",
            "plan",
            fields={
                "plan": plan.number,
                "resumed": resumed,
                "objects": len(plan.objects),
                "segments": len(plan.segments),
                "segments_left": len(left),
                "bytes_left": sum(segment.stored_bytes for segment in left),
            },
        )
        return plan, resumed

    def _say_filters(self) -> None:
        filters = Filters.of(self._config)
        if filters is not TAKE_ALL and not self._filters_said:
            _say(printable(f"Replaying only: {filters}."))
        self._filters_said = True

    def _left(self, plan: Plan) -> tuple[list[Segment], int]:
        """The segments that some destination has not got whole, and how many of them have been begun."""
        entries = self._ledger.load_entries(plan, self._destinations)
        left = [segment for segment in plan.segments if not all(entry.done for entry in entries[segment.id].values())]
        return left, sum(any(entry.counts.lines for entry in entries[segment.id].values()) for segment in left)

    def _nothing_to_do(self, plan: Plan) -> None:
        if self._config.retry_failed:
            console.result("Nothing new in the ledger: there are no dead letters to retry.", "nothing_new")
            return
        # A run that was killed at the very end of its plan has left these.
        self._ledger.drop_dead_batches()
        objects = count(len(plan.objects), "object")
        out_of_range = any(one.note == OUT_OF_RANGE for one in plan.objects)
        why = "done before, empty, or out of range by the date in the name" if out_of_range else "done before, or empty"
        lines = [f"Nothing new in {objects}: {why}. To do it all again: --restart."]
        lines += [printable(f"{one.name}: {one.note}") for one in plan.objects if one.note not in HARMLESS_NOTES]
        ledger = self._ledger.where()
        text = "\n".join([*lines, f"Ledger: {ledger}"])
        console.result(
            text, "nothing_new", fields={"message": lines[0], "objects": len(plan.objects), "ledger": ledger}
        )

    def _work(self, plan: Plan) -> None:
        """Do the plan's segments; what ended the work early is kept for the report."""
        config = self._config
        _collect_rarely()
        transformer = self._transformer()
        statement_logger = open_logger(
            config.transformer_type, transformer.logging_enabled, config.dry_run, config.log_statements, config.quiet
        )
        index, of = self._share
        segments = share(plan.segments, index, of) if of > 1 else plan.segments
        # The limits are the run's: what runs at the same time elsewhere gets its part of them.
        pace = Pace(config.sleep_between_batches_secs * of, config.max_events_per_second / of)
        workers = min(worker_count(config.workers), max(len(segments), 1))
        progress = Progress(sum(segment.stored_bytes for segment in segments), workers)
        console.show_log(progress.say, progress.wait)

        def worker(teller: ProgressReporter) -> Worker:
            tools = WorkerContext(
                source=self._ledger.storage if plan.redelivers else self._source,
                ledger=self._ledger,
                transformer=transformer,
                destinations=self._destinations,
                statement_logger=statement_logger,
                progress=teller,
                pace=pace,
                interruptions=self._interruptions,
            )
            return Worker(config, plan, tools)

        def forked(channel: Channel) -> None:
            self._reopen(plan)
            console.show_log(channel.say, channel.wait)
            mine = worker(channel)
            while (work := channel.next_segment()) is not None:
                segment, stopped_elsewhere = work
                mine.stopped.update(stopped_elsewhere)
                mine.do(segment)
                channel.send("stopped", mine.stopped)

        try:
            if workers > 1:
                pool = Pool(workers, forked, progress)
                self._stopped = pool.stopped
                pool.run(segments, len(self._destinations))
                self._aborted = pool.aborted
            else:
                alone = worker(progress)
                self._stopped = alone.stopped
                alone.work(segments)
        except Interrupted as interruption:
            self._aborted = Unavailable(f"Interrupted ({interruption.name}). Run again to resume.")
        except JobError as error:
            self._aborted = error
        finally:
            progress.close()
            console.show_log(console.say, console.tell_wait)

    def _transformer(self) -> Transformer:
        config = self._config
        transformer = Transformer(
            config.transformer_type, config.caliper_stable_ids, config.lrs_max_wait_secs, config.fast_path
        )
        for notice in transformer.notices:
            _say(notice)
        for pattern in Filters.of(config).idle(transformer.known_names):
            _say(printable(f"event: {config.transformer_type} transforms no event named {pattern}."))
        return transformer

    def _reopen(self, plan: Plan) -> None:
        """After a fork: what talks over a connection is opened anew."""
        config = self._config
        wait = config.lrs_max_wait_secs
        self._source = open_storage(config.source, wait)
        self._ledger = Ledger(open_storage(config.ledger, wait), config.ledger.prefix, self._ledger.key)
        if self._store is not None and config.destination is not None:
            self._store = open_storage(config.destination, wait)
            self._use_output_of(plan)
        else:
            self._destinations = self._open_destinations()

    def _open_destinations(self) -> Sequence[Destination]:
        if self._config.dry_run:
            return [Loggers(self._config.transformer_type)]
        if self._config.destination is None:
            return open_endpoints(self._config)
        return [self._files(OutputFormat.of(self._config))]

    def _files(self, output: OutputFormat) -> Files:
        assert self._config.destination is not None
        assert self._store is not None
        return Files(self._config.destination, self._store, output, self._ledger.key)

    def _use_output_of(self, plan: Plan) -> None:
        """A plan keeps the output format that it was made with."""
        if self._store is not None:
            self._destinations = [self._files(plan.output)]

    def _report(self, plan: Plan, again: bool = False) -> int:
        """``again``: not the first one of this run."""
        stores = {Files.id: self._store} if self._store is not None else {}
        result = make_report(self._config, plan, self._ledger, self._destinations, stores, self._stopped, self._aborted)
        text = summary(self._config, result, _width())
        level = console.INFO if result.status == ExitStatus.DONE else console.WARNING
        console.result(f"\n{text}" if again else text, "result", level, brief(self._config, result))
        return result.status


def _collect_rarely() -> None:
    """What a batch makes is freed without Python's cycle collector, which would look through all of it in vain.

    What is loaded by now stays for good: it is set apart, and its memory shared with the workers.
    """
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def _say(message: str) -> None:
    console.say(message)


def _width() -> int:
    return min(shutil.get_terminal_size().columns, WIDEST)
