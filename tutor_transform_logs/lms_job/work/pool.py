"""Several workers: processes forked from one that has loaded the LMS, given segments until there are none left."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from django.db import connections

from ..model.plan import Segment
from ..model.progress_events import Message, ProgressEvent, WorkerEnded
from ..model.work_outcome import WorkOutcome
from ..util import console
from ..util.errors import JobError, Unavailable
from ..util.signals import Interrupted

log = logging.getLogger(__name__)

# A worker that was asked to end has this long; less than the run itself has to leave (signals.LEAVE_SECS).
END_SECS = 5.0
# How often a segment is given to another worker after the one that had it died.
TRIES = 2
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class SegmentWanted:
    """A worker asks for its next segment."""


@dataclass(frozen=True)
class DestinationsStopped:
    """Destinations to which a worker sends nothing more, and why: id -> error."""

    errors: Mapping[str, JobError]


@dataclass(frozen=True)
class WorkAborted:
    """A worker met an error that ends all of the work."""

    error: JobError


@dataclass(frozen=True)
class Assignment:
    """The parent's answer to :class:`SegmentWanted`."""

    segment: Segment
    stopped: Mapping[str, JobError]
    """The destinations that have failed for any worker."""


WorkerMessage = SegmentWanted | DestinationsStopped | WorkAborted | ProgressEvent


class ParentGone(BaseException):
    """The parent has ended. Not an ``Exception``, so that nothing on the way takes it for one event's error."""


class Channel:
    """A worker's end of the pipe to its parent. Sending and asking raise :class:`ParentGone`."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()

    def send(self, message: WorkerMessage) -> None:
        try:
            with self._lock:
                self._pipe.send(message)
        except OSError:
            raise ParentGone from None

    def next_assignment(self) -> Assignment | None:
        """Ask for a segment. ``None``: there is no more."""
        self.send(SegmentWanted())
        try:
            assignment: Assignment | None = self._pipe.recv()
        except (EOFError, OSError):
            raise ParentGone from None
        return assignment


@dataclass
class _Child:
    number: int
    """From 0; one that takes another's place has its number."""
    process: Any
    pipe: Connection
    segment: Segment | None = None


@dataclass
class Pool:
    """The parent's side: hands out segments, passes on what the workers report, replaces workers that die."""

    count: int
    body: Callable[[Channel], None]
    """What a worker does: ask its channel for assignments until there are none."""
    emit: Callable[[ProgressEvent, int], None]
    """Takes the progress of a worker, with its number."""
    stopped: dict[str, JobError] = field(default_factory=dict)
    """Destination id -> why nothing more goes there in this run."""
    aborted: JobError | None = None
    _queue: list[Segment] = field(default_factory=list)
    _children: list[_Child] = field(default_factory=list)
    _tries: dict[int, int] = field(default_factory=dict)

    def run(self, segments: Sequence[Segment], destinations: int) -> WorkOutcome:
        """Have all ``segments`` done. Raises :class:`~.signals.Interrupted` once the workers have ended.

        Largest first, so that little is left at the end, when some workers have no more work.
        """
        self._queue = sorted(segments, key=lambda segment: (segment.stored_bytes, -segment.id))
        # A connection must not be shared between processes.
        connections.close_all()
        try:
            for _ in range(min(self.count, len(segments))):
                self._start()
            while self._children:
                self._receive()
                if self.aborted or (self.stopped and len(self.stopped) == destinations):
                    self._queue.clear()
        except Interrupted:
            self._end_all()
            raise
        return WorkOutcome(self.stopped, self.aborted)

    def _start(self) -> None:
        context = multiprocessing.get_context("fork")
        ours, theirs = context.Pipe()
        others = [child.pipe for child in self._children]
        number = min(set(range(self.count)) - {child.number for child in self._children})
        process = context.Process(target=_child_main, args=(self.body, theirs, [ours, *others], os.getpid()))
        process.start()
        theirs.close()
        self._children.append(_Child(number, process, ours))

    def _receive(self) -> None:
        pipes = {child.pipe: child for child in self._children}
        for pipe in wait(list(pipes)):
            child = pipes[pipe]  # type: ignore[index]  # only connections were waited for
            try:
                message: WorkerMessage = child.pipe.recv()
            except (EOFError, OSError):
                self._reap(child)
            else:
                self._handle(message, child)

    def _handle(self, message: WorkerMessage, child: _Child) -> None:
        if isinstance(message, SegmentWanted):
            child.segment = self._queue.pop() if self._queue else None
            with contextlib.suppress(OSError):
                child.pipe.send(Assignment(child.segment, dict(self.stopped)) if child.segment else None)
        elif isinstance(message, DestinationsStopped):
            self.stopped.update(message.errors)
        elif isinstance(message, WorkAborted):
            self.aborted = message.error
        else:
            self.emit(message, child.number)

    def _reap(self, child: _Child) -> None:
        """A worker has ended: normally, or killed; then another one resumes where its ledger ends."""
        child.process.join()
        self._children.remove(child)
        self.emit(WorkerEnded(), child.number)
        code = child.process.exitcode
        if code == 0:
            return
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else "failed"
        segment = child.segment
        where = f" in {segment.object}" if segment else ""
        if segment is None or self.aborted:
            self.aborted = self.aborted or Unavailable(f"A worker {how}. Run again to resume.")
            return
        self._tries[segment.id] = self._tries.get(segment.id, 1) + 1
        if self._tries[segment.id] > TRIES:
            self.aborted = Unavailable(f"A worker {how}{where}, for the second time. Run again to resume.")
            return
        self.emit(Message(f"A worker {how}{where}: another one takes over."), child.number)
        self._queue.append(segment)
        self._start()

    def _end_all(self) -> None:
        for child in self._children:
            child.process.terminate()
        deadline = time.monotonic() + END_SECS
        for child in self._children:
            child.process.join(timeout=max(0.0, deadline - time.monotonic()))
            if child.process.is_alive():
                child.process.kill()
                child.process.join()


def _child_main(body: Callable[[Channel], None], pipe: Connection, not_ours: Sequence[Connection], parent: int) -> None:
    """The life of a worker process."""
    _die_with(parent)
    for other in not_ours:
        other.close()
    status = 0
    try:
        _do(body, Channel(pipe))
    except ParentGone:
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: what the parent registered to be done at its exit is the parent's to do.
    os._exit(status)


def _do(body: Callable[[Channel], None], channel: Channel) -> None:
    """Do the work, and report what ends it early."""
    try:
        body(channel)
    except JobError as error:
        channel.send(WorkAborted(error))
    except Interrupted:
        pass  # the parent, which sent the signal, knows
    except ParentGone:
        raise
    except BaseException as error:
        console.tell_traceback()
        channel.send(WorkAborted(JobError(f"A worker failed: {type(error).__name__}: {error}. Please report this.")))


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies: a killed run must not go on delivering."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
