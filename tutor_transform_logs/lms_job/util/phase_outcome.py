"""What a phase tells the program that started it: one line of JSON.

On Kubernetes it is the container's termination message, which the kubelet puts into the pod's status. Elsewhere nobody
asks for it: whoever starts the job has its output and its exit status.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace

from .errors import ExitStatus

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

    def to_line(self) -> str:
        """At most :data:`MAX_BYTES` of ASCII; a message that is too long is cut at its end."""
        kept = len(self.message)
        line = json.dumps(asdict(self))
        while len(line) > MAX_BYTES:
            kept = kept * MAX_BYTES // (len(line) + 1)
            line = json.dumps(asdict(replace(self, message=f"{self.message[:kept]}...")))
        return line


def parse(text: str) -> PhaseOutcome | None:
    """The outcome in a termination message; ``None`` if the text is none, such as the end of a log."""
    try:
        fields = json.loads(text)
        status, nothing_new, resumed = fields["status"], fields["nothing_new"], fields["resumed"]
        return PhaseOutcome(int(status), bool(nothing_new), bool(resumed), str(fields["message"]))
    except (ValueError, KeyError, TypeError):
        return None


def write(outcome: PhaseOutcome) -> None:
    """Write ``outcome`` where the environment asks for it. Raises ``OSError``."""
    path = os.environ.get(VARIABLE)
    if path:
        # Kubernetes mounts the file itself: it can be written, but not replaced.
        with open(path, "w", encoding="ascii") as file:
            file.write(outcome.to_line())
