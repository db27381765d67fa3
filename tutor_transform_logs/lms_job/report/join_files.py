"""The last step of layout ``single``: the batches of a plan become one file, or a few.

After a kill at any point, doing it again has the same result: the names and parts of each file are in the ledger before
the first byte is written, a file is written whole or not at all, and its parts are removed only afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from ..deliver.files import Files, group_parts, joined_stem, parts_directory
from ..ledger import names
from ..model.plan import Plan, Segment
from ..storage.base import Storage
from ..util.errors import JobError, ObjectGone
from ..work.opened import OpenJob


def join_parts(job: OpenJob, plan: Plan, files: Files, batches: Sequence[tuple[Segment, int]]) -> list[str]:
    """Join the batches (their number for each segment, in order); returns where the files are."""
    config, ledger, store = job.config, job.ledger, job.store
    assert config.destination is not None
    assert store is not None
    prefix = config.destination.prefix
    present = {stored.name: stored.size for stored in store.listing(parts_directory(prefix, ledger.key))}
    joining = ledger.load_joining(plan)
    if joining is None:
        parts = [
            files.object_name(names.batch_name(plan, segment, number))
            for segment, count in batches
            for number in range(1, count + 1)
        ]
        lost = [part for part in parts if part not in present]
        if lost:
            raise _lost(store, lost[0])
        groups = group_parts([(part, present[part]) for part in parts], plan.output.max_bytes)
        free_names = _free_names(joined_stem(prefix, plan, config.transformer_type, ledger.key), plan, store)
        joining = [{"name": next(free_names), "parts": group} for group in groups]
        ledger.save_joining(plan, joining)
    for file in joining:
        ledger.hold()
        left = [part for part in file["parts"] if part in present]
        if len(left) == len(file["parts"]):
            store.write(file["name"], partial(joined_bytes, store, left))
        elif not any(obj.name == file["name"] for obj in store.listing(file["name"])):
            # Parts go only after their file is there: these were lost, and what is left of them must stay.
            first = next(part for part in file["parts"] if part not in present)
            raise _lost(store, first)
        for part in left:
            store.delete(part)
    return [store.where(file["name"]) for file in joining]


def _lost(store: Storage, part: str) -> JobError:
    """What ends the run if a part is gone before its file is written."""
    return JobError(f"{store.where(part)} is missing: start over with --restart.")


def joined_bytes(store: Storage, parts: Sequence[str]) -> Iterator[bytes]:
    """The parts one after the other. This holds for gzip, too: a file may consist of several members."""
    for part in parts:
        try:
            yield from store.read(part)
        except ObjectGone:
            raise _lost(store, part) from None


def _free_names(stem: str, plan: Plan, store: Storage) -> Iterator[str]:
    """Names for the plan's files that are not taken."""
    taken = {stored.name for stored in store.listing(stem)}
    number = 1
    while True:
        name = f"{stem}{'' if number == 1 else f'-{number}'}{plan.output.suffix}"
        if name not in taken:
            yield name
        number += 1
