"""Several workers that verify: each is forked, looks for its share of the statements, and reports what it found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait

from django.db import connections

from ..model.progress_events import ProgressEvent, WorkerEnded
from ..util.errors import Unavailable
from ..work.pool import Channel, Child, WorkAborted, end_workers, fork_worker, how_it_ended
from .verify_result import VerifyResult


@dataclass(frozen=True)
class ShareVerified:
    """What one worker has found, sent to its parent at its end."""

    results: Sequence[VerifyResult]
    """Of each destination."""
    problems: Sequence[str]
    """What could not be read."""
    missing: int
    """How many lines are in its file of missing lines."""
    has_unfixable: bool


def verify_shares(
    count: int, body: Callable[[int, Channel], None], emit: Callable[[ProgressEvent, int], None]
) -> list[ShareVerified]:
    """Fork ``count`` workers that each do ``body`` with their number, and send one :class:`ShareVerified`.

    Raises :class:`~.errors.JobError` if one fails or is killed, after all have ended.
    """
    # A connection must not be shared between processes.
    connections.close_all()
    children: list[Child] = []
    verified: dict[int, ShareVerified] = {}
    try:
        for number in range(count):
            children.append(fork_worker(number, partial(body, number), children))
        while children:
            _receive(children, verified, emit)
    except BaseException:
        end_workers(children)
        raise
    return [verified[number] for number in range(count)]


def _receive(
    children: list[Child], verified: dict[int, ShareVerified], emit: Callable[[ProgressEvent, int], None]
) -> None:
    pipes = {child.pipe: child for child in children}
    for pipe in wait(list(pipes)):
        child = pipes[pipe]  # type: ignore[index]  # only connections were waited for
        try:
            message: ShareVerified | WorkAborted | ProgressEvent = child.pipe.recv()
        except (EOFError, OSError):
            child.process.join()
            children.remove(child)
            emit(WorkerEnded(), child.number)
            if child.number not in verified:
                how = how_it_ended(child.process.exitcode)
                raise Unavailable(f"A worker of the verification {how}. Run the command again.") from None
            continue
        if isinstance(message, ShareVerified):
            verified[child.number] = message
        elif isinstance(message, WorkAborted):
            raise message.error
        else:
            emit(message, child.number)
