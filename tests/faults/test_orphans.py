"""A worker whose parent was killed: it ends, and says nothing."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable

import pytest

from tests.harness import tally
from tutor_transform_logs.lms_job.util.errors import JobError
from tutor_transform_logs.lms_job.work.pool import SegmentWanted, next_assignment
from tutor_transform_logs.lms_job.work.processes import Channel, _child_main


def ask(channel: Channel) -> None:
    next_assignment(channel)


def report_without_end(channel: Channel) -> None:
    while True:
        channel.send(SegmentWanted())


def fail(channel: Channel) -> None:
    channel.send(SegmentWanted())
    # The parent is gone once the pipe is closed at its end.
    channel._pipe.poll(10)
    raise JobError("The LRS is away.")


@pytest.mark.parametrize("body", [ask, report_without_end, fail])
def test_a_worker_without_a_parent_ends_silently(
    capfd: pytest.CaptureFixture[str], body: Callable[[Channel], None]
) -> None:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    worker = context.Process(target=_child_main, args=(body, theirs, [ours], os.getpid()))
    worker.start()
    theirs.close()
    assert ours.poll(10)
    # With what the worker has sent still unread, as the kernel closes it for a parent that was killed.
    ours.close()
    worker.join(10)
    tally.add("faults")
    tally.same(1, worker.exitcode, "how the worker ended")
    tally.same("", capfd.readouterr().err, "what it said")
