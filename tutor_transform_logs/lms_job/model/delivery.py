"""What WORK hands to a destination, and what a destination answers: the values that the layers exchange."""

from __future__ import annotations

import enum
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from .dead_letters import DeadLetter
from .records import Event, Line, Statement


class SourcedStatement(NamedTuple):
    """A statement, the event it was made of, and the line the event was read from."""

    statement: Statement
    event: Event
    line: Line
    letter: DeadLetter | None = None
    """The dead letter that is delivered again, in a redelivery."""

    def concerns(self, destination: Destination) -> bool:
        """A statement that one destination rejected is delivered again there only."""
        return self.letter is None or self.letter.destination in ("", *destination.names)


class OutgoingStatement(NamedTuple):
    """A statement as one destination gets it: routed, with that router's overrides, serialised."""

    made: SourcedStatement
    body: bytes

    @property
    def id(self) -> str:
        return self.made.statement.id


@dataclass(frozen=True)
class Rejection:
    """A statement that the destination rejected; ``reason`` is a code of ``dead_letters``."""

    statement: OutgoingStatement
    reason: str
    detail: str


@dataclass
class Outcome:
    """What the destination did with the statements of one delivery."""

    stored: int = 0
    duplicates: int = 0
    rejected: list[Rejection] = field(default_factory=list)


class Held(enum.Enum):
    """What a destination has of a statement that was sent to it."""

    SAME = "the same statement"
    DIFFERENT = "another statement with its id"
    VOIDED = "the statement, voided by another one"
    NOTHING = "nothing"


class NamedDestination(Protocol):
    """What reports need to know of a destination."""

    @property
    def id(self) -> str:
        """Stable and short, safe in a file name: says in the ledger which destination an entry is about."""

    @property
    def name(self) -> str:
        """For people, without secrets."""


@dataclass(frozen=True)
class KnownDestination:
    """A :class:`NamedDestination` that the ledger has entries of."""

    id: str
    name: str


class Traffic(Protocol):
    """The requests to an endpoint that may take several at the same time."""

    @property
    def limit(self) -> int:
        """How many are of use at the same time, as far as is known."""

    @property
    def has_answered(self) -> bool:
        """Has the endpoint rejected some statements for what is in them? Then others may be sent to it meanwhile."""

    def allow(self, most: int) -> None:
        """Allow up to this number at the same time. Called before the first one."""

    def close(self) -> None:
        """Send no more."""


class Destination(NamedDestination, Protocol):
    """Where statements go. One object belongs to one worker."""

    @property
    def names(self) -> Collection[str]:
        """What dead letters may call it: its name, and those that it may have had beside other destinations."""

    @property
    def traffic(self) -> Traffic | None:
        """Of a destination that takes batches from several threads; ``None``: it takes one after the other."""

    def route(self, made: SourcedStatement) -> bytes | None:
        """The bytes to send for this statement, or ``None`` if its event is not for this destination."""

    def deliver(self, batch_name: str, outgoing: Sequence[OutgoingStatement]) -> Outcome:
        """Hand over a batch. Returns when every statement is accounted for.

        Doing it again with the same batch (after a kill) leaves the destination as if it had been done once. Raises
        :class:`~.errors.Unavailable` or :class:`~.errors.PermanentError` if the batch could not be delivered.
        """
