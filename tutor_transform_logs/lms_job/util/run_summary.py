"""What is told of a run at its end, to programs outside: a flat object, and a command that gets it.

It has numbers and names of the job alone: no secret, no text from outside, nothing of learners.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import FrameType

from .errors import ExitStatus
from .formatting import count, duration

VARIABLES = "TRANSFORM_LOGS_"
COMMAND_SECS = 60.0
NOTHING_NEW = "Nothing new."
COUNTED_STATEMENTS = ("made", "stored", "duplicates", "rejected")

Summary = Mapping[str, object]


@dataclass
class RunNumbers:
    """What REPORT has counted: of all that the plan has done so far, and not of its last run alone."""

    ending: str = ""
    """How the run ended and what to do about it, in sentences."""
    lines: dict[str, int] = field(default_factory=dict)
    """Outcome -> lines."""
    statements: dict[str, dict[str, int]] = field(default_factory=dict)
    """Name of the destination -> outcome -> statements, and ``made``."""
    dead_letters: int = 0
    planned: float = 0.0
    """When the plan was made (seconds since 1970)."""

    def added(self, other: RunNumbers) -> RunNumbers:
        """The sum with a later plan, whose ending is the run's."""
        places = {**self.statements, **other.statements}
        return RunNumbers(
            other.ending,
            _sums(self.lines, other.lines),
            {name: _sums(self.statements.get(name, {}), other.statements.get(name, {})) for name in places},
            self.dead_letters + other.dead_letters,
            self.planned,
        )


def _sums(some: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    return {name: some.get(name, 0) + more.get(name, 0) for name in {**some, **more}}


def summarise(status: int, secs: float, numbers: RunNumbers, job_key: str = "", type_: str = "") -> Summary:
    """The summary of a run with this exit status, which took ``secs``; ``numbers``: as far as it came."""
    # Any other status is Docker's.
    found = ExitStatus(status) if status in set(ExitStatus) else ExitStatus.FAILED
    ending = numbers.ending or " ".join(filter(None, (f"{found.summary.capitalize()}.", found.next_step)))
    lines = sum(numbers.lines.values())
    sums = {name: sum(counts.get(name, 0) for counts in numbers.statements.values()) for name in COUNTED_STATEMENTS}
    counted = (
        f"{count(lines, 'line')}, {count(sums['stored'], 'statement')} stored, "
        f"{count(numbers.dead_letters, 'dead letter')}, in {duration(secs)}"
    )
    return {
        # Chat services show what an object has under this name.
        "text": f"Replay of tracking logs: {ending} ({counted})",
        "status": int(status),
        "ending": ending,
        "job_key": job_key,
        "type": type_,
        "lines": lines,
        "statements": sums.pop("made"),
        **sums,
        "dead_letters": numbers.dead_letters,
        "duration_secs": round(secs, 1),
        "ended": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def is_url(target: str) -> bool:
    """Is what is to be told of the end of a run a URL? Otherwise it is a command."""
    return target.lower().startswith(("http://", "https://"))


def run_command(command: str, summary: Summary) -> str:
    """Run ``command`` with sh: the summary in variables and, as JSON, on its standard input.

    Its output goes to standard error, since standard output is the job's result. Gives what went wrong, or ``""``.
    SIGINT and SIGTERM end the command: it is all that is left to do.
    """
    variables = {f"{VARIABLES}{name.upper()}": str(value) for name, value in summary.items()}
    running: list[subprocess.Popen[bytes]] = []
    # Before the command starts: it would inherit that a signal is ignored, but not that one is handled.
    with _handled(lambda *_: _kill(running)):
        try:
            process = subprocess.Popen(
                ["sh", "-c", command],
                stdin=subprocess.PIPE,
                env={**os.environ, **variables},
                stdout=sys.stderr.fileno(),
                # A process group of its own: all that the command has started ends with it.
                start_new_session=True,
            )
            running.append(process)
            process.communicate(json.dumps(summary).encode(), timeout=COMMAND_SECS)
        except subprocess.TimeoutExpired:
            _kill(running)
            process.wait()
            return f"it did not end within {duration(COMMAND_SECS)}"
        except OSError as error:
            return f"sh can't be run: {error.strerror}"
    if process.returncode == -signal.SIGKILL:
        return "it was killed"
    return f"exit status {process.returncode}" if process.returncode else ""


@contextlib.contextmanager
def _handled(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Have SIGINT and SIGTERM handled by ``handler``, and then as before."""
    before = {number: signal.signal(number, handler) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def _kill(running: Iterable[subprocess.Popen[bytes]]) -> None:
    """Kill them with all that they have started. May be called in a signal handler: it does not wait."""
    for process in running:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
