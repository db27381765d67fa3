"""Watches a Job while Tutor waits for it.

Tutor says nothing of pods that can't start, for which it waits without a time limit, and it waits for ever for a Job
that is deleted meanwhile.
"""

from __future__ import annotations

import _thread
import threading
import time
from collections.abc import Callable
from types import TracebackType

from tutor.exceptions import TutorError

from tutor_transform_logs.kubectl import Job, Kubectl
from tutor_transform_logs.lms_job.util.formatting import printable

WATCH_SECS = 5.0
# Most pods start sooner: a node may have to load the image first.
PATIENCE_SECS = 30.0


class JobWatch:
    """Looks at a Job every few seconds, within a ``with`` block in the main thread.

    Each reason why no pod of it starts is told once. If the Job is deleted, the main thread is interrupted, as by
    Ctrl-C.
    """

    def __init__(self, kubectl: Kubectl, ours: Callable[[], list[Job]], tell: Callable[[str], object]) -> None:
        """``ours``: the Jobs that this command has started for the phase. ``tell``: shows a text."""
        self._kubectl = kubectl
        self._ours = ours
        self._tell = tell
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._seen = False
        self._told: set[str] = set()
        self._since: float | None = None
        """Since when no pod has started (monotonic clock)."""
        self.deleted = False
        """Was the Job deleted, and the main thread interrupted for that?"""

    def __enter__(self) -> JobWatch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(WATCH_SECS):
            try:
                self.look(time.monotonic())
            except TutorError:
                # The command itself says so, if it lasts.
                continue
            if self.deleted and not self._ended.is_set():
                _thread.interrupt_main()
                return

    def look(self, now: float) -> None:
        """Look once. ``now``: of the monotonic clock. Raises ``TutorError`` if the cluster does not answer."""
        jobs = self._ours()
        if not jobs:
            self.deleted = self._seen
            return
        self._seen = True
        pods = self._kubectl.pods_of(jobs[-1])
        # One that failed may have another in its place, which can't start.
        if any(not pod.waits and not pod.status for pod in pods) or not jobs[-1].active:
            self._since = None
            return
        if self._since is None:
            self._since = now
        if now - self._since < PATIENCE_SECS:
            return
        reasons = [pod.waits for pod in pods if pod.waits] or [self._kubectl.why_no_pods(jobs[-1])]
        for reason in filter(None, reasons):
            if reason not in self._told:
                self._told.add(reason)
                self._tell(f"No pod of {jobs[-1].name} has started yet: {printable(reason)}.")
