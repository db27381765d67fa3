"""Counts of lines and statements, and the sums that must hold at the end of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields

LINE_OUTCOMES = ("blank", "unparsable", "unknown_event", "filtered", "transformed", "untransformable")
STATEMENT_OUTCOMES = ("stored", "duplicates", "rejected")


@dataclass
class Counts:
    """Lines by their outcome, statements by theirs. ``made`` are the statements offered to one destination."""

    lines: int = 0
    blank: int = 0
    unparsable: int = 0
    unknown_event: int = 0
    filtered: int = 0
    transformed: int = 0
    untransformable: int = 0
    made: int = 0
    stored: int = 0
    duplicates: int = 0
    rejected: int = 0
    not_routed: int = 0
    """Statements that a router's ``match_params`` keep from it; they are not ``made`` for it."""
    reasons: dict[str, int] = field(default_factory=dict)
    """How many dead letters there are for each reason."""

    def add(self, other: Counts) -> None:
        for name in NUMBER_FIELDS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for reason, count in other.reasons.items():
            self.reasons[reason] = self.reasons.get(reason, 0) + count

    def since(self, old: Counts) -> Counts:
        """What was counted after ``old``."""
        new = Counts()
        for name in NUMBER_FIELDS:
            setattr(new, name, getattr(self, name) - getattr(old, name))
        new.reasons = {reason: count - old.reasons.get(reason, 0) for reason, count in self.reasons.items()}
        return new

    def add_dead_letters(self, reason: str, count: int = 1) -> None:
        """Count dead letters."""
        self.reasons[reason] = self.reasons.get(reason, 0) + count

    @property
    def dead_letters(self) -> int:
        return sum(self.reasons.values())

    def accounting_errors(self) -> list[str]:
        """A text for each sum that does not hold; empty if everything is accounted for."""
        wrong = []
        for whole, outcomes in (("lines", LINE_OUTCOMES), ("made", STATEMENT_OUTCOMES)):
            total = sum(getattr(self, name) for name in outcomes)
            if total != getattr(self, whole):
                wrong.append(f"{whole} is {getattr(self, whole)}, but {' + '.join(outcomes)} is {total}")
        failed = self.unparsable + self.untransformable + self.rejected
        if failed != self.dead_letters:
            wrong.append(f"{failed} lines and statements failed, but {self.dead_letters} are dead letters")
        return wrong

    def to_json(self) -> dict[str, object]:
        return {**{name: getattr(self, name) for name in NUMBER_FIELDS}, "reasons": dict(sorted(self.reasons.items()))}

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> Counts:
        """Raises ``KeyError``, ``TypeError`` or ``ValueError`` for what :meth:`to_json` has not written."""
        counts = cls()
        for name in NUMBER_FIELDS:
            setattr(counts, name, whole_number(values[name]))
        reasons = values["reasons"]
        if not isinstance(reasons, Mapping):
            raise TypeError("reasons is not an object")
        counts.reasons = {str(reason): whole_number(count) for reason, count in reasons.items()}
        return counts


NUMBER_FIELDS = tuple(entry.name for entry in fields(Counts) if entry.name != "reasons")


def whole_number(value: object) -> int:
    """``value``, which is a count, below 2**63. Raises ``ValueError`` for anything else."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise ValueError(f"{value!r} is not a count")
    return value


def total(parts: Iterable[Counts]) -> Counts:
    """The sum of ``parts``."""
    whole = Counts()
    for part in parts:
        whole.add(part)
    return whole
