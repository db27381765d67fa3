"""Several workers: processes forked from one that has loaded the LMS, fed with segments until there are none left."""

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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from django.db import connections

from ..model.counts import Counts
from ..model.plan import Segment
from ..storage.base import Readable
from ..util.backoff import Waiting
from ..util.errors import JobError, Unavailable
from ..util.signals import Interrupted
from .progress import Progress, watched

log = logging.getLogger(__name__)

# A worker that was asked to end has this long; less than the run itself has to leave (signals.LEAVE_SECS).
END_SECS = 5.0
# How often a segment is given to another worker after the one that had it died.
TRIES = 2
PR_SET_PDEATHSIG = 1

Message = tuple[str, Any]
# What is told of a worker, and not of the run.
OF_ONE_WORKER = ("begin", "add_counts", "rest", "wait")


class Channel:
    """A worker's end of the pipe to its parent: takes what :class:`~.progress.Progress` takes, and passes it on."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()

    def send(self, kind: str, value: Any = None) -> None:
        with self._lock:
            self._pipe.send((kind, value))

    def next_segment(self) -> tuple[Segment, dict[str, JobError]] | None:
        """Ask for work: a segment, and the destinations that have failed elsewhere. ``None``: there is no more."""
        self.send("next")
        work: tuple[Segment, dict[str, JobError]] | None = self._pipe.recv()
        return work

    def watch(self, source: Readable) -> Readable:
        return watched(source, self.add_bytes)

    def skip(self, count: int) -> None:
        self.send("skip", count)

    def begin(self, name: str) -> None:
        self.send("begin", name)

    def add_bytes(self, count: int) -> None:
        self.send("add_bytes", count)

    def add_counts(self, counts: Counts) -> None:
        self.send("add_counts", counts)

    def rest(self, secs: float) -> None:
        self.send("rest", secs)

    def wait(self, waiting: Waiting) -> None:
        self.send("wait", waiting)

    def say(self, message: str) -> None:
        self.send("say", message)


@dataclass
class _Child:
    number: int
    """From 0; one that takes another's place has its number."""
    process: Any
    pipe: Connection
    segment: Segment | None = None


@dataclass
class Pool:
    """The parent's side: hands out segments, hears how it goes, replaces workers that die."""

    count: int
    body: Callable[[Channel], None]
    """What a worker does: ask its channel for segments until there are none."""
    progress: Progress
    stopped: dict[str, JobError] = field(default_factory=dict)
    """Destination id -> why nothing more goes there in this run."""
    aborted: JobError | None = None
    _waiting: list[Segment] = field(default_factory=list)
    _children: list[_Child] = field(default_factory=list)
    _tries: dict[int, int] = field(default_factory=dict)

    def run(self, segments: Sequence[Segment], destinations: int) -> None:
        """Have all ``segments`` done. Raises :class:`~.signals.Interrupted` once the workers have ended.

        Largest first: what is left at the end, when workers run out of work, is small.
        """
        self._waiting = sorted(segments, key=lambda segment: (segment.stored_bytes, -segment.id))
        # A connection must not be shared between processes.
        connections.close_all()
        try:
            for _ in range(min(self.count, len(segments))):
                self._start()
            while self._children:
                self._receive()
                if self.aborted or (self.stopped and len(self.stopped) == destinations):
                    self._waiting.clear()
        except Interrupted:
            self._end_all()
            raise

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
                kind, value = child.pipe.recv()
            except (EOFError, OSError):
                self._reap(child)
                continue
            if kind == "next":
                child.segment = self._waiting.pop() if self._waiting else None
                with contextlib.suppress(OSError):
                    child.pipe.send((child.segment, dict(self.stopped)) if child.segment else None)
            elif kind == "stopped":
                self.stopped.update(value)
            elif kind == "aborted":
                self.aborted = value
            elif kind in OF_ONE_WORKER:
                getattr(self.progress, kind)(value, child.number)
            else:
                getattr(self.progress, kind)(value)

    def _reap(self, child: _Child) -> None:
        """A worker has ended: as it should, or by being killed; then another takes up where its ledger ends."""
        child.process.join()
        self._children.remove(child)
        self.progress.end(child.number)
        if child.process.exitcode == 0:
            return
        how = (
            f"was killed by {signal.Signals(-child.process.exitcode).name}" if child.process.exitcode < 0 else "failed"
        )
        segment = child.segment
        where = f" in {segment.object}" if segment else ""
        if segment is None or self.aborted:
            self.aborted = self.aborted or Unavailable(f"A worker {how}. Run again to resume.")
            return
        self._tries[segment.id] = self._tries.get(segment.id, 1) + 1
        if self._tries[segment.id] > TRIES:
            self.aborted = Unavailable(f"A worker {how}{where}, for the second time. Run again to resume.")
            return
        self.progress.say(f"A worker {how}{where}: another one takes over.")
        self._waiting.append(segment)
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
    channel = Channel(pipe)
    status = 0
    try:
        body(channel)
    except JobError as error:
        channel.send("aborted", error)
    except Interrupted:
        pass  # the parent, which sent the signal, knows
    except (BrokenPipeError, EOFError):
        status = 1  # the parent is gone
    except BaseException as error:
        import traceback

        traceback.print_exc()
        with contextlib.suppress(OSError):
            channel.send("aborted", JobError(f"A worker failed: {type(error).__name__}: {error}. Please report this."))
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: what the parent registered to be done at its exit is the parent's to do.
    os._exit(status)


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies: a killed run must not go on delivering."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
