"""A plan of another kind: the dead letters of the plans before are its lines."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import IO

from ..ledger.ledger import Ledger
from ..model.plan import REDELIVERY, Plan, Segment, SourceObject
from ..storage.base import READ_CHUNK
from ..util.errors import JobError


def make_retry_plan(ledger: Ledger) -> Plan:
    """Plan to try every dead letter again, and save the plan; an unfinished one is taken up again.

    Raises :class:`~.errors.JobError` while another plan is unfinished.
    """
    old = ledger.load_plan()
    if old is None:
        raise JobError("This job has not run yet: there is nothing to retry.")
    if not old.finished:
        if old.redelivers:
            return old
        raise JobError("The last run of this job was not finished: run it again without --retry-failed first.")
    files = ledger.dead_letter_files()
    segments = [
        Segment(id=number, content=0, object=one.name, start=0, end=one.size, stored_bytes=one.size, lines_before=0)
        for number, one in enumerate(files, 1)
    ]
    plan = replace(
        old,
        number=old.number + 1,
        created=time.time(),
        objects=tuple(SourceObject(one.name, one.size, None) for one in files),
        segments=tuple(segments),
        finished=False,
        kind=REDELIVERY,
    )
    if segments:
        ledger.save_plan(plan)
    return plan


def drop_retried(ledger: Ledger, plan: Plan) -> None:
    """Remove the dead letters that a finished retry has replaced: those that failed again are in its own file."""
    if plan.redelivers:
        for one in plan.objects:
            ledger.storage.delete(one.name)


def make_repair_plan(ledger: Ledger, plan: Plan, lines: IO[bytes]) -> Plan:
    """A plan whose lines are the missing ones: they are sent as dead letters are sent again. Saves both."""
    number = plan.number + 1
    name = ledger.save_missing(replace(plan, number=number), lambda: _chunks(lines))
    size = lines.seek(0, 2)
    repair = replace(
        plan,
        number=number,
        created=time.time(),
        objects=(SourceObject(name, size, None),),
        segments=(Segment(id=1, content=0, object=name, start=0, end=size, stored_bytes=size, lines_before=0),),
        finished=False,
        kind=REDELIVERY,
    )
    ledger.save_plan(repair)
    return repair


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    return iter(lambda: file.read(READ_CHUNK), b"")
