"""Entries of the ledger: how far each destination is in each segment of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..model.activity import Activity
from ..model.counts import Counts
from ..model.typed import checked


@dataclass
class Entry:
    """How far one destination is in one segment."""

    position: int
    """Decompressed offset up to which everything is delivered; a line starts there."""
    line: int = 1
    """Number, in the segment, of the line that starts at ``position``; with ``resume_at``, of the second line there."""
    batches: int = 0
    dead_batches: int = 0
    """How many batches have dead letters; they are numbered from 1."""
    counts: Counts = field(default_factory=Counts)
    done: bool = False
    resume_at: int | None = None
    """Where an incomplete last line starts, or those that stay together with it: they are read again once the object
    has grown."""
    unterminated: bool = False
    """The last line done had no newline."""
    problem: str = ""
    """Why the object could not be read to its end; empty if it could."""
    activity: Activity = field(default_factory=Activity)
    tail: str = ""
    """The digest of :class:`~.plan.Tail` at ``position``, of a compressed object."""

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "counts": self.counts.to_json(), "activity": self.activity.to_json()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Entry:
        """Raises ``KeyError``, ``TypeError`` or ``ValueError`` for anything that :meth:`to_json` did not write."""
        if set(values) != set(cls.__dataclass_fields__):
            raise ValueError("not the fields of an entry")
        counts, activity = Counts.from_json(values["counts"]), Activity.from_json(values["activity"])
        return checked(cls(**{**values, "counts": counts, "activity": activity}))


Entries = Mapping[int, Mapping[str, Entry]]
"""Segment id -> destination id -> entry."""


def lines_of(entries: Mapping[str, Entry]) -> int:
    """How many lines of a segment come before where its entries are, those included that an earlier plan had read.

    Of incomplete lines that are read again, and what stays together with them, only the first one.
    """
    return max(entry.line for entry in entries.values()) - 1
