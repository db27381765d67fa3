"""Several workers that verify: each transforms its share of the lines, and searches for their statements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from ..model.plan import Plan
from ..model.progress_events import BatchDone, BytesRead, ProgressEvent, WorkerEnded
from ..util.errors import Unavailable
from ..work.opened import OpenJob
from ..work.processes import Channel, Ended, WorkAborted, Workers
from ..work.progress import watched
from ..work.work import show_log
from .verifier import KeepLine, Verifier
from .verify_result import Mismatch, VerifyResult, total_result


@dataclass(frozen=True)
class LineMissing:
    """A worker has found a line that is to be kept."""

    mismatch: Mismatch
    destination: str


@dataclass(frozen=True)
class ShareVerified:
    """What one worker has found, at its end."""

    results: Sequence[VerifyResult]
    """Of each destination."""
    problems: Sequence[str]
    """What could not be read."""


def verify_in_workers(
    job: OpenJob, plan: Plan, verifier: Verifier, workers: int, emit: Callable[[ProgressEvent, int], None]
) -> list[VerifyResult]:
    """The result of each destination, found by several workers.

    Raises :class:`~.errors.JobError` if one of them fails or is killed, once all have ended.
    """
    bodies = [partial(_verify_share, job, plan, verifier, (number, workers)) for number in range(workers)]
    shares = run_shares(bodies, emit, verifier.keep)
    verifier.expected.problems.update(dict.fromkeys(problem for share in shares for problem in share.problems))
    return [total_result(of_destination) for of_destination in zip(*(share.results for share in shares), strict=True)]


def run_shares(
    bodies: Sequence[Callable[[Channel], None]],
    emit: Callable[[ProgressEvent, int], None],
    keep: KeepLine | None,
) -> list[ShareVerified]:
    """Fork a worker for each of ``bodies``, which sends one :class:`ShareVerified` at its end."""
    verified: dict[int, ShareVerified] = {}
    with Workers() as running:
        for body in bodies:
            running.start(body)
        while running:
            for number, message in running.receive():
                if isinstance(message, ShareVerified):
                    verified[number] = message
                elif isinstance(message, LineMissing):
                    if keep is not None:
                        keep(message.mismatch, message.destination)
                elif isinstance(message, WorkAborted):
                    raise message.error
                elif not isinstance(message, Ended):
                    emit(message, number)
                elif number in verified:
                    emit(WorkerEnded(), number)
                else:
                    raise Unavailable(f"A worker of the verification {message}. Run the same command again.")
    return [verified[number] for number in range(len(bodies))]


def _verify_share(job: OpenJob, plan: Plan, verifier: Verifier, share: tuple[int, int], channel: Channel) -> None:
    """The life of a forked worker: what talks over a connection is opened again."""

    def emit(event: ProgressEvent) -> None:
        # All workers read all lines. The progress is the first one's.
        if share[0] and isinstance(event, BytesRead):
            return
        if share[0] and isinstance(event, BatchDone):
            event = BatchDone(replace(event.counts, lines=0))
        channel.send(event)

    def keep(mismatch: Mismatch, destination: str) -> None:
        channel.send(LineMissing(mismatch, destination))

    show_log(channel.send)
    own = job.reopened(plan)
    expected = replace(verifier.expected, source=watched(own.source, emit), emit=emit)
    verifier = replace(verifier, expected=expected, keep=keep if verifier.keep is not None else None)
    results = verifier.search(expected.everything(share), own.destinations)
    channel.send(ShareVerified(results, list(expected.problems)))
