"""How WORK ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..util.errors import ExitStatus, JobError


@dataclass(frozen=True)
class WorkOutcome:
    """What kept WORK from its end, if anything did."""

    stopped: Mapping[str, JobError] = field(default_factory=dict)
    """Destination id -> why nothing more was sent there."""
    aborted: JobError | None = None
    """What ended all of the work early."""

    @property
    def errors(self) -> list[JobError]:
        return [*self.stopped.values(), *([self.aborted] if self.aborted is not None else [])]

    def raise_first(self) -> None:
        """Raise the first error, if there is one; one that running again does not fix comes before all others."""
        if self.errors:
            raise min(self.errors, key=lambda error: error.status != ExitStatus.FAILED)
