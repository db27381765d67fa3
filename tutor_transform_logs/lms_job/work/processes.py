"""Processes forked from one that has loaded the LMS, each with a pipe to its parent."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any

from django.db import connections

from ..util import console
from ..util.errors import JobError
from ..util.secrets import hide_known
from ..util.signals import Interrupted, held, let_through
from ..util.threads import none_left

# A worker that was asked to end has this long; less than the run itself has to leave (signals.LEAVE_SECS).
END_SECS = 5.0
PR_SET_PDEATHSIG = 1
# What a fork says at a limit of processes, and for lack of memory.
NONE_LEFT = (errno.EAGAIN, errno.ENOMEM)


@dataclass(frozen=True)
class WorkAborted:
    """A worker met an error that ends all of the work."""

    error: JobError


@dataclass(frozen=True)
class Ended:
    """A worker has ended. All that it had sent was received before."""

    code: int
    """Its exit code; a negative one is the signal that killed it."""

    def __str__(self) -> str:
        """For people: how it ended before its work was done."""
        return f"was killed by {signal.Signals(-self.code).name}" if self.code < 0 else "failed"


class ParentGone(BaseException):
    """The parent has ended. Not an ``Exception``, so that nothing on the way takes it for one event's error."""


class Channel:
    """A worker's end of the pipe to its parent. Sending and receiving raise :class:`ParentGone`."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()

    def send(self, message: object) -> None:
        try:
            with self._lock:
                self._pipe.send(message)
        except OSError:
            raise ParentGone from None

    def receive(self) -> Any:
        try:
            return self._pipe.recv()
        except (EOFError, OSError):
            raise ParentGone from None


@dataclass(frozen=True)
class _Worker:
    number: int
    process: Any
    pipe: Connection


class Workers:
    """The running workers, as their parent sees them. An exception that leaves the context ends all of them."""

    def __init__(self) -> None:
        self._running: list[_Worker] = []

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._end_all()

    def __bool__(self) -> bool:
        return bool(self._running)

    def start(self, body: Callable[[Channel], None]) -> int:
        """Fork a process that does ``body``, and ends. Returns its number, the lowest that no running worker has."""
        # A connection must not be shared between processes.
        connections.close_all()
        number = min(set(range(len(self._running) + 1)) - {worker.number for worker in self._running})
        context = multiprocessing.get_context("fork")
        ours, theirs = context.Pipe()
        not_its_own = [ours, *(worker.pipe for worker in self._running)]
        process = context.Process(target=_child_main, args=(body, theirs, not_its_own, os.getpid()))
        # A worker that has no handler yet would show a traceback, and one that is not among these would not be ended.
        with held():
            try:
                process.start()
            except OSError as error:
                if error.errno not in NONE_LEFT:
                    raise
                raise none_left("process for a worker") from None
            theirs.close()
            self._running.append(_Worker(number, process, ours))
        return number

    def receive(self) -> Iterator[tuple[int, Any]]:
        """Wait for messages: the number of each sender, and what it has sent. A worker's last one is :class:`Ended`."""
        by_pipe = {worker.pipe: worker for worker in self._running}
        for pipe in wait(list(by_pipe)):
            worker = by_pipe[pipe]  # type: ignore[index]  # only connections were waited for
            try:
                message = worker.pipe.recv()
            except (EOFError, OSError):
                worker.process.join()
                worker.pipe.close()
                self._running.remove(worker)
                message = Ended(worker.process.exitcode)
            yield worker.number, message

    def send(self, number: int, message: object) -> None:
        """To one worker. If it has ended, that is received next."""
        pipe = next(worker.pipe for worker in self._running if worker.number == number)
        with contextlib.suppress(OSError):
            pipe.send(message)

    def _end_all(self) -> None:
        for worker in self._running:
            worker.process.terminate()
        deadline = time.monotonic() + END_SECS
        for worker in self._running:
            worker.process.join(timeout=max(0.0, deadline - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()


def _child_main(body: Callable[[Channel], None], pipe: Connection, not_ours: Sequence[Connection], parent: int) -> None:
    """The life of a worker process, which is forked with its signals held."""
    _die_with(parent)
    for other in not_ours:
        other.close()
    status = 0
    try:
        with let_through():
            _do(body, Channel(pipe))
    except ParentGone:
        status = 1
    except Interrupted:
        pass  # the parent, which sent the signal, knows
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
    except (Interrupted, ParentGone):
        raise
    except BaseException as error:
        console.tell_traceback()
        detail = hide_known(f"{type(error).__name__}: {error}")
        channel.send(WorkAborted(JobError(f"A worker failed: {detail}. Please report this.")))


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies: a killed run must not go on delivering."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
