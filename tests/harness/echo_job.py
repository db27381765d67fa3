"""A job on real files, in this process, whose transformer and destination are stand-ins.

A line is its own statement, and the destination is a list: what is tested with it is which lines are taken, thousands
of times over. Plan, ledger, worker and report are the job's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tutor_transform_logs.lms_job.config import schema as job_config
from tutor_transform_logs.lms_job.deliver.loggers import StatementLogger
from tutor_transform_logs.lms_job.ledger.ledger import Ledger
from tutor_transform_logs.lms_job.model.delivery import Outcome, OutgoingStatement, SourcedStatement
from tutor_transform_logs.lms_job.model.plan import HARMLESS_NOTES
from tutor_transform_logs.lms_job.model.records import Event, Statement
from tutor_transform_logs.lms_job.model.work_outcome import WorkOutcome
from tutor_transform_logs.lms_job.plan.planner import make_plan
from tutor_transform_logs.lms_job.report.report import make_report
from tutor_transform_logs.lms_job.storage.local import LocalStorage
from tutor_transform_logs.lms_job.util.errors import Unavailable
from tutor_transform_logs.lms_job.util.signals import Interruptions
from tutor_transform_logs.lms_job.work.opened import OpenJob
from tutor_transform_logs.lms_job.work.progress import Progress
from tutor_transform_logs.lms_job.work.throttle import Throttle
from tutor_transform_logs.lms_job.work.worker import Worker, WorkerContext


def line_of(number: str, length: int = 300) -> str:
    """A line whose statement is ``number``, without its newline."""
    return json.dumps({"name": "e", "event": {"n": int(number)}, "time": "t", "padding": "x" * length})


class Echo:
    """Makes a statement of every event: its line's number."""

    type = "xapi"
    prefilter = None
    looks_ahead = False

    def known(self, name: str) -> bool:
        return True

    def name_by_its_ends(self, raw: bytes) -> None:
        return None

    def statements(self, event: Event, raw: bytes) -> list[Statement]:
        return [Statement(str(event.fields["data"]["n"]), raw)]


class Box:
    """Keeps what it is given. Unavailable after ``capacity`` batches."""

    id = "box"
    name = "box"
    names = ("box",)
    traffic = None

    def __init__(self) -> None:
        self.batches: dict[str, list[str]] = {}
        self.capacity = 0

    def route(self, made: SourcedStatement) -> bytes:
        return made.statement.body

    def deliver(self, batch_name: str, outgoing: Sequence[OutgoingStatement]) -> Outcome:
        if self.capacity <= 0:
            raise Unavailable("the box is full")
        self.capacity -= 1
        # As a file has it: the same batch again is the same file again.
        self.batches[batch_name] = [statement.id for statement in outgoing]
        return Outcome(stored=len(outgoing))

    def delivered(self) -> Iterator[str]:
        """The numbers of all lines, as often as they came."""
        for numbers in self.batches.values():
            yield from numbers


class EchoJob:
    """A folder of logs, and a job on them."""

    def __init__(self, folder: Path) -> None:
        self.logs = folder / "logs"
        self.logs.mkdir()
        self.box = Box()
        raw = {"source_key": str(folder), "ledger_key": str(folder), "batch_size": 3, "segment_bytes": 65536}
        self.config = job_config.load(raw)
        self.source = LocalStorage(self.config.source.root)
        self.ledger = Ledger(LocalStorage(self.config.ledger.root), "", "job")

    def run(self, capacity: int = 10_000) -> int:
        """A run that ends when the box is full; one that got through takes up what came since, as ``run`` does.

        Gives its exit status.
        """
        self.box.capacity = capacity
        status = 0
        for _ in range(2):
            if not any(self.logs.iterdir()):
                return status
            before = self.ledger.load_plan()
            plan = make_plan(self.config, self.source, self.ledger, [self.box.id])
            if not plan.segments:
                return max(status, 3 if self.left_out() else 0)
            echo: Any = Echo()
            tools = WorkerContext(
                self.source,
                self.ledger,
                echo,
                [self.box],
                StatementLogger("xapi", False),
                Progress(0).emit,
                Throttle(0, 0),
                Interruptions(),
            )
            worker = Worker(self.config, plan, tools)
            worker.work(plan.segments)
            job = OpenJob(self.config, self.source, self.ledger, (self.box,), None)
            result = make_report(job, plan, WorkOutcome(worker.stopped))
            assert not result.accounting_errors
            status = max(status, result.status)
            if worker.stopped or before is None or before.finished:
                return status
        return status

    def left_out(self) -> list[str]:
        """The objects of the last plan of which it is said that they were not read."""
        plan = self.ledger.load_plan()
        assert plan is not None
        return [obj.name for obj in plan.objects if obj.note not in HARMLESS_NOTES]
