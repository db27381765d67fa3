"""What the ledger knows of other jobs: those whose folders are beside this job's."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from ..model.dead_letters import DeadLetter
from . import names
from .ledger import Ledger


def dead_letters_of_all_jobs(ledger: Ledger, transformer_type: str) -> Iterator[DeadLetter]:
    """Those of every job of this type, this one included: an event that one can't transform, another can't either.

    Raises :class:`~.json_objects.LedgerError`.
    """
    parent = posixpath.dirname(ledger.directory)
    below = f"{parent}/" if parent else ""
    listing = ledger.storage.listing(below)
    keys = {
        stored.name.removeprefix(below).partition("/")[0] for stored in listing if names.has_dead_letters(stored.name)
    }
    for key in sorted(keys):
        job = Ledger(ledger.storage, parent, key)
        if job.transformer_type() == transformer_type:
            yield from job.every_dead_letter()
