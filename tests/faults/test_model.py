"""A log that is written, rotated and compressed, and runs that are killed: every line is delivered once.

In one process, on real files: see ``echo_job.py``.
"""

from __future__ import annotations

import gzip
import itertools
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.harness import tally
from tests.harness.echo_job import EchoJob, line_of

EXAMPLES = 1500 if tally.LONG else 150


class Scene(EchoJob):
    """A folder of logs, and a job on them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.numbers = itertools.count()
        self.whole: list[str] = []
        self.pending = ""
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
                file.write(line_of(number) + "\n")
                self.whole.append(number)

    def begin_line(self, whole: bool) -> None:
        """A line without a newline: cut in the middle, or whole but for it."""
        if self.pending:
            return
        number = str(next(self.numbers))
        line = line_of(number)
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
        return line_of(pending)[-20:] + "\n"

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
        delivered = sorted(scene.box.delivered(), key=int)
        tally.same(sorted(scene.whole, key=int), delivered, f"after {actions}")
