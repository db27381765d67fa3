"""Plans that deliver again: their lines are the dead letters of earlier plans, or what VERIFY found missing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import IO

from ..ledger.ledger import Ledger
from ..ledger.names import is_dead_letters_file
from ..model.delivery import Destination
from ..model.plan import REDELIVERY, Plan, Segment, SourceObject, new_uuid
from ..storage.base import READ_CHUNK
from ..util.errors import JobError


def make_retry_plan(ledger: Ledger) -> Plan:
    """Plan to deliver every dead letter again, and save the plan; an unfinished one is resumed.

    Raises :class:`~.errors.JobError` while another plan is unfinished.
    """
    old = ledger.load_plan()
    if old is None:
        raise JobError("This job has not run yet: there is nothing to retry.")
    if not old.finished:
        if old.redelivers:
            return resume_redelivery(ledger, old)
        raise JobError("The last run of this job was not finished: run it again without --retry-failed first.")
    files = ledger.dead_letter_files()
    segments = [
        Segment(id=number, content=0, object=file.name, start=0, end=file.size, stored_bytes=file.size, lines_before=0)
        for number, file in enumerate(files, 1)
    ]
    plan = replace(
        old,
        number=old.number + 1,
        created=time.time(),
        objects=tuple(SourceObject(file.name, file.size, None) for file in files),
        segments=tuple(segments),
        finished=False,
        kind=REDELIVERY,
        uuid=new_uuid(),
    )
    if segments:
        ledger.save_plan(plan)
    return plan


def resume_redelivery(ledger: Ledger, plan: Plan) -> Plan:
    """An unfinished redelivery, up to where its files end now. Saves it.

    A file that was found to be damaged may have been restored from a backup or corrected since.
    """
    sizes = {stored.name: stored.size for stored in ledger.storage.listing(f"{ledger.directory}/")}
    segments = []
    for segment in plan.segments:
        size = sizes.get(segment.object)
        # A file that is gone stays in the plan: WORK accounts for it.
        segments.append(segment if size is None else replace(segment, end=size, stored_bytes=size))
    objects = (replace(obj, size=sizes.get(obj.name, obj.size)) for obj in plan.objects)
    resumed = replace(plan, segments=tuple(segments), objects=tuple(objects))
    if resumed != plan:
        ledger.save_plan(resumed)
    return resumed


def drop_retried(ledger: Ledger, plan: Plan, destinations: Sequence[Destination]) -> None:
    """Remove the dead letters that a finished redelivery has replaced: those that failed again are in its own file.

    Those of another destination than its ``destinations`` (left out by a setting, disabled) stay where they are.
    """
    if not plan.redelivers:
        return
    replaced = {"", *(name for destination in destinations for name in destination.names)}
    for obj in plan.objects:
        if is_dead_letters_file(obj.name):
            ledger.keep_dead_letters(obj.name, lambda letter: letter.destination not in replaced)
        else:
            ledger.delete(obj.name)


def make_repair_plan(ledger: Ledger, plan: Plan, lines: IO[bytes]) -> Plan:
    """A plan that delivers missing lines as dead letters are delivered again. Saves the lines and the plan."""
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
        uuid=new_uuid(),
    )
    ledger.save_plan(repair)
    return repair


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    return iter(lambda: file.read(READ_CHUNK), b"")
