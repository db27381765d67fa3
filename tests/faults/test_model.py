"""A log that is written, rotated and compressed, and runs that are killed: every line is delivered once.

In one process, with the job's own plan, ledger and worker on real files. The transformer is a stand-in (a line is its
own statement) and so is the destination (a list): what is tested is which lines are taken, thousands of times over.
"""

from __future__ import annotations

import gzip
import itertools
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.harness import tally
from tutor_transform_logs.lms_job.config import schema as job_config
from tutor_transform_logs.lms_job.deliver.loggers import StatementLogger
from tutor_transform_logs.lms_job.ledger.ledger import Ledger
from tutor_transform_logs.lms_job.model.delivery import Outcome, OutgoingStatement, SourcedStatement
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

EXAMPLES = 1500 if tally.LONG else 150


class Echo:
    """Makes a statement of every event: its line's number."""

    type = "xapi"
    prefilter = None
    looks_ahead = False

    def known(self, name: str) -> bool:
        return True

    def statements(self, event: Event, raw: bytes) -> list[Statement]:
        return [Statement(str(event.fields["data"]["n"]), raw)]


class Box:
    """Keeps what it is given. Unavailable after ``capacity`` batches."""

    id = "box"
    name = "box"
    names = ("box",)

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


class Scene:
    """A folder of logs, and a job on them."""

    def __init__(self, folder: Path) -> None:
        self.logs = folder / "logs"
        self.logs.mkdir()
        self.numbers = itertools.count()
        self.whole: list[str] = []
        self.pending = ""
        self.box = Box()
        raw = {"source_key": str(folder), "ledger_key": str(folder), "batch_size": 3, "segment_bytes": 65536}
        self.config = job_config.load(raw)
        self.source = LocalStorage(self.config.source.root)
        self.ledger = Ledger(LocalStorage(self.config.ledger.root), "", "job")
        self.rotated = itertools.count()

    @property
    def log(self) -> Path:
        return self.logs / "tracking.log"

    def append(self, count: int) -> None:
        """Whole lines; one that was begun before is finished first."""
        with self.log.open("a") as file:
            if self.pending:
                file.write(self._rest_of_pending())
            for _ in range(count):
                number = str(next(self.numbers))
                file.write(self._line(number) + "\n")
                self.whole.append(number)

    def begin_line(self, whole: bool) -> None:
        """A line without a newline: cut in the middle, or whole but for it."""
        if self.pending:
            return
        number = str(next(self.numbers))
        line = self._line(number)
        with self.log.open("a") as file:
            file.write(line if whole else line[:-20])
        if whole:
            self.whole.append(number)
        self.pending = "\n" if whole else number

    def _rest_of_pending(self) -> str:
        pending, self.pending = self.pending, ""
        if pending == "\n":
            return "\n"
        self.whole.append(pending)
        return self._line(pending)[-20:] + "\n"

    @staticmethod
    def _line(number: str) -> str:
        return json.dumps({"name": "e", "event": {"n": int(number)}, "time": "t", "padding": "x" * 300})

    def rotate(self, compress: bool) -> None:
        if not self.log.exists() or not self.log.stat().st_size:
            return
        if self.pending:
            self.append(0)
        target = self.logs / f"tracking.log.{next(self.rotated)}"
        self.log.rename(target)
        if compress:
            self.compress(target)

    def compress(self, path: Path | None = None) -> None:
        """One that was rotated plain is compressed later."""
        plain = [log for log in self.logs.glob("tracking.log.*") if log.suffix != ".gz"]
        path = path or min(plain, default=None)
        if path is not None:
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()

    def run(self, capacity: int) -> None:
        """A run that ends when the box is full; one that got through takes up what came since, as ``run`` does."""
        self.box.capacity = capacity
        for _ in range(2):
            if not any(self.logs.iterdir()):
                return
            before = self.ledger.load_plan()
            plan = make_plan(self.config, self.source, self.ledger, [self.box.id])
            if not plan.segments:
                return
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
            if worker.stopped or before is None or before.finished:
                return


ACTIONS = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 8)),
    st.tuples(st.just("begin_line"), st.booleans()),
    st.tuples(st.just("rotate"), st.booleans()),
    st.tuples(st.just("compress")),
    st.tuples(st.just("run"), st.integers(0, 4)),
    st.tuples(st.just("run"), st.just(1000)),
)


@given(st.lists(ACTIONS, max_size=14))
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_whole_line_is_delivered_once(actions: list[tuple[Any, ...]]) -> None:
    tally.add("inputs")
    with tempfile.TemporaryDirectory() as name:
        scene = Scene(Path(name))
        for action, *arguments in actions:
            getattr(scene, action)(*arguments)
        # Whatever was left open is closed in the end, and runs go through.
        if scene.pending:
            scene.append(0)
        for _ in range(3):
            scene.run(1000)
        delivered = sorted(itertools.chain.from_iterable(scene.box.batches.values()), key=int)
        tally.same(sorted(scene.whole, key=int), delivered, f"after {actions}")
