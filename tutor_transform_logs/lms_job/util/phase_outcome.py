"""What a phase tells the program that started it: one line of JSON.

On Kubernetes it is the container's termination message, which the kubelet puts into the pod's status. Elsewhere nobody
asks for it: whoever starts the job has its output and its exit status.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from .errors import ExitStatus
from .run_summary import RunNumbers

# Holds the path of the file to write; not set: nothing is written.
VARIABLE = "TRANSFORM_LOGS_OUTCOME_FILE"
# The kubelet cuts a termination message at this size, and half a line of JSON says nothing.
MAX_BYTES = 4096


@dataclass(frozen=True)
class PhaseOutcome:
    """How a phase ended."""

    status: int = ExitStatus.DONE
    nothing_new: bool = False
    """PLAN: there is no work to do."""
    resumed: bool = False
    """PLAN: the plan was made by an earlier run, so the source may hold more than it covers."""
    message: str = ""
    """What ended the phase early."""
    numbers: RunNumbers = field(default_factory=RunNumbers)
    """REPORT: what was counted. Not in the line, which has them in ``summary``."""
    summary: Mapping[str, object] = field(default_factory=dict)
    """What is told of the run's end (:mod:`.run_summary`); empty where nothing is told."""

    def to_line(self) -> str:
        """At most :data:`MAX_BYTES` of ASCII; a message that is too long is cut at its end."""
        kept = len(self.message)
        line = self._line(self.message)
        while len(line) > MAX_BYTES and kept:
            kept = kept * MAX_BYTES // (len(line) + 1)
            line = self._line(f"{self.message[:kept]}...")
        return line

    def _line(self, message: str) -> str:
        fields = {"status": self.status, "nothing_new": self.nothing_new, "resumed": self.resumed}
        return json.dumps({**fields, "message": message, "summary": self.summary})


def parse(text: str) -> PhaseOutcome | None:
    """The outcome in a termination message; ``None`` if the text is none, such as the end of a log."""
    try:
        fields = json.loads(text)
        status, nothing_new, resumed = fields["status"], fields["nothing_new"], fields["resumed"]
        found = PhaseOutcome(int(status), bool(nothing_new), bool(resumed), str(fields["message"]))
        return replace(found, summary=dict(fields.get("summary") or {}))
    except (ValueError, KeyError, TypeError):
        return None


def write(outcome: PhaseOutcome) -> None:
    """Write ``outcome`` where the environment asks for it. Raises ``OSError``."""
    path = os.environ.get(VARIABLE)
    if path:
        # Kubernetes mounts the file itself: it can be written, but not replaced.
        with open(path, "w", encoding="ascii") as file:
            file.write(outcome.to_line())
