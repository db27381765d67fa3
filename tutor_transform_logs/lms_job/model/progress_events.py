"""What a run reports while it runs: small events, from whoever does the work to whoever shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..util.backoff import Waiting
from ..util.doing import Doing
from .counts import Counts


@dataclass(frozen=True)
class SegmentStarted:
    """A worker starts on a segment of the object of this name."""

    name: str


@dataclass(frozen=True)
class BytesRead:
    """Stored bytes that are done."""

    count: int


@dataclass(frozen=True)
class BatchDone:
    """A batch is delivered and in the ledger; ``counts`` are its own."""

    counts: Counts


@dataclass(frozen=True)
class Resting:
    """The throttle pauses a worker for ``secs`` seconds."""

    secs: float


@dataclass(frozen=True)
class Message:
    """One line for the user."""

    text: str


@dataclass(frozen=True)
class StatementSampled:
    """A statement that a dry run may show, and the name of its event."""

    event: str
    statement: str


@dataclass(frozen=True)
class WorkerEnded:
    """A worker has nothing more to do."""


ProgressEvent = (
    SegmentStarted | BytesRead | BatchDone | Resting | Waiting | Doing | Message | StatementSampled | WorkerEnded
)
Emit = Callable[[ProgressEvent], None]
