"""The expected outcome of log lines: the labels that the log writers give their lines, and their sums."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from tutor_transform_logs.demo import events

LineOutcome = Literal[
    "blank",
    "unparsable",
    "unknown_event",
    "no_transformer",
    "transformed",
    "unknown_user",
    "unknown_course",
    "type_error",
    "value_error",
    "other_error",
]
Kind = Literal["xapi", "caliper"]

UNTRANSFORMABLE_OUTCOMES: tuple[LineOutcome, ...] = (
    "unknown_user",
    "unknown_course",
    "type_error",
    "value_error",
    "other_error",
)


@dataclass(frozen=True)
class ExpectedOutcome:
    """The outcome of one line, and how many statements it gives."""

    outcome: LineOutcome
    statements: int = 0


@dataclass(frozen=True)
class Expected:
    """The outcomes of a whole log for one transformer type."""

    outcomes: dict[LineOutcome, int]
    statements: int
    distinct_statements: int

    @property
    def lines(self) -> int:
        """All lines, blank ones too."""
        return sum(self.outcomes.values())

    @property
    def untransformable(self) -> int:
        """Lines of known events on which ERB raises."""
        return sum(self.outcomes.get(outcome, 0) for outcome in UNTRANSFORMABLE_OUTCOMES)

    def count(self, outcome: LineOutcome) -> int:
        """The lines with this outcome."""
        return self.outcomes.get(outcome, 0)

    def __add__(self, other: Expected) -> Expected:
        return Expected(
            dict(Counter(self.outcomes) + Counter(other.outcomes)),
            self.statements + other.statements,
            self.distinct_statements + other.distinct_statements,
        )


def of_good_event(name: str, kind: Kind, statements: int = 1) -> ExpectedOutcome:
    """The outcome of a well-formed event with this name by a known user in a known course."""
    if kind == "caliper":
        if name not in events.CALIPER_NAMES:
            return ExpectedOutcome("unknown_event")
        # ERB never makes more than one Caliper event of an event.
        return (
            ExpectedOutcome("no_transformer")
            if name in events.WITHOUT_CALIPER_TRANSFORMER
            else ExpectedOutcome("transformed", 1)
        )
    if name not in events.BUILDERS:
        return ExpectedOutcome("unknown_event")
    return (
        ExpectedOutcome("no_transformer")
        if name in events.WITHOUT_XAPI_TRANSFORMER
        else ExpectedOutcome("transformed", statements)
    )


def add_up(outcomes_of_lines: Iterable[tuple[ExpectedOutcome, int]], duplicate_statements: int = 0) -> Expected:
    """The sum of the outcomes, each with its number of lines."""
    outcomes: Counter[LineOutcome] = Counter()
    statements = 0
    for expected, lines in outcomes_of_lines:
        outcomes[expected.outcome] += lines
        statements += expected.statements * lines
    return Expected({key: n for key, n in outcomes.items() if n}, statements, statements - duplicate_statements)
