"""The three phases, put together from the rooms."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Mapping, Sequence

from .config import JobConfig
from .delivery import Destination
from .errors import DONE, JobError
from .files import Files, OutputFormat
from .ledger import Ledger, job_identity, job_key
from .lock import lock_directory
from .loggers import Loggers, open_logger
from .plan import make_plan
from .plan_model import Plan
from .progress import Progress, size
from .report import Result, make_report
from .routers import open_endpoints
from .signals import Interrupted, Interruptions
from .storage import Storage, open_storage
from .summary import summary
from .transform import Transformer
from .work import Tools, Worker

WIDEST = 100


class Run:
    """One run of the job: opens what the config names, once it has seen that everything is there."""

    def __init__(self, config: JobConfig, interruptions: Interruptions) -> None:
        self._config = config
        self._interruptions = interruptions
        self._progress: Progress | None = None
        wait = config.lrs_max_wait_secs
        self._source = open_storage(config.source, wait)
        self._source.check()
        self._store: Storage | None = None
        if config.destination is not None and not config.dry_run:
            self._store = open_storage(config.destination, wait)
            self._store.check()
        ledger_storage = open_storage(config.ledger, wait)
        ledger_storage.check(create=True)
        identity = job_identity(config)
        self._ledger = Ledger(ledger_storage, config.ledger.prefix, job_key(identity))
        if config.ledger.is_local:
            lock_directory(ledger_storage.where(self._ledger.directory))
        self._ledger.save_identity(identity)
        self._stopped: Mapping[str, JobError] = {}

    def run(self) -> int:
        """Plan, work, report. After a plan that was resumed, what came to the source since is planned and done too."""
        status = DONE
        while True:
            plan, resumed = self._plan()
            if not plan.segments:
                self._nothing_new(plan)
                return status
            status = max(status, self._work_and_report(plan))
            if not resumed or status:
                return status

    def plan(self) -> int:
        plan, _ = self._plan()
        if not plan.segments:
            self._nothing_new(plan)
        return DONE

    def work_only(self) -> int:
        """The phase WORK alone: does what the plan in hand has left."""
        plan = self._plan_in_hand()
        interrupted = self._work(plan)
        if interrupted is not None:
            raise interrupted
        return max((error.status for error in self._stopped.values()), default=DONE)

    def report_only(self) -> int:
        """The phase REPORT alone."""
        plan = self._plan_in_hand()
        return self._report(plan, self._destinations(plan), interrupted=False)

    def close(self) -> None:
        if self._progress is not None:
            self._progress.close()

    def _say(self, message: str) -> None:
        if self._progress is not None:
            self._progress.say(message)
        else:
            print(message, file=sys.stderr, flush=True)

    def _plan_in_hand(self) -> Plan:
        plan = self._ledger.load_plan()
        if plan is None:
            raise JobError(f"There is no plan in {self._ledger.where()}: run the phase plan first.")
        return plan

    def _plan(self) -> tuple[Plan, bool]:
        """The plan, and whether it was begun by an earlier run."""
        config = self._config
        before = None if config.restart else self._ledger.load_plan()
        resumed = before is not None and not before.finished
        names = [one.id for one in self._destinations(None)]
        plan = make_plan(config, self._source, self._ledger, names, self._say)
        self._say(
            f"{len(plan.objects):,} objects, {size(sum(one.size for one in plan.objects))}; "
            f"to do: {len(plan.segments):,} segments, {size(sum(s.stored_bytes for s in plan.segments))}."
        )
        return plan, resumed

    def _nothing_new(self, plan: Plan) -> None:
        print(f"Nothing new: all {len(plan.objects):,} objects were done before. To do them again: --restart.")
        print(f"Ledger: {self._ledger.where()}")

    def _work_and_report(self, plan: Plan) -> int:
        interrupted = self._work(plan)
        if interrupted is not None:
            self._say(f"Interrupted ({interrupted.name}).")
        return self._report(plan, self._destinations(plan), interrupted is not None)

    def _work(self, plan: Plan) -> Interrupted | None:
        """Do the plan's segments. Returns the interruption that ended the work early, if one did."""
        config = self._config
        transformer = Transformer(config.transformer_type, config.caliper_stable_ids, config.lrs_max_wait_secs)
        for notice in transformer.notices:
            self._say(notice)
        statement_logger = open_logger(
            config.transformer_type, transformer.logging_enabled, config.dry_run, config.log_statements
        )
        self._progress = Progress(sum(segment.stored_bytes for segment in plan.segments))
        _show_warnings(self._progress)
        tools = Tools(
            self._source,
            self._ledger,
            transformer,
            self._destinations(plan),
            statement_logger,
            self._progress,
            self._interruptions,
        )
        worker = Worker(config, plan, tools)
        self._stopped = worker.stopped
        try:
            worker.work(plan.segments)
        except Interrupted as interruption:
            return interruption
        finally:
            self._progress.close()
            self._progress = None
        return None

    def _destinations(self, plan: Plan | None) -> Sequence[Destination]:
        config = self._config
        if config.dry_run:
            return [Loggers(config.transformer_type)]
        if config.destination is None:
            return open_endpoints(config)
        assert self._store is not None
        output = plan.output if plan else OutputFormat("", "", 0)
        return [Files(config.destination, self._store, output, self._ledger.key)]

    def _report(self, plan: Plan, destinations: Sequence[Destination], interrupted: bool) -> int:
        stores = {Files.id: self._store} if self._store is not None else {}
        result = make_report(self._config, plan, self._ledger, destinations, stores, self._stopped, interrupted)
        self._print(result)
        return result.status

    def _print(self, result: Result) -> None:
        width = min(shutil.get_terminal_size().columns, WIDEST)
        print(summary(self._config, result, width), flush=True)


def _show_warnings(progress: Progress) -> None:
    """The job's own log (a server that is away, a wait) goes where the progress goes, on lines of its own."""

    class ToProgress(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            progress.say(self.format(record))

    logger = logging.getLogger("tutor_transform_logs")
    logger.handlers[:] = [ToProgress()]
    logger.propagate = False
