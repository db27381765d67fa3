"""A site as an operator has it: a Tutor root, and ``tutor`` commands."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from tests.harness.site import Site

TUTOR = Path(sys.executable).with_name("tutor")


@dataclass(frozen=True)
class Done:
    """A command that has ended. ``output`` is all it printed, both streams."""

    status: int
    output: str

    def must(self, status: int = 0) -> str:
        """Its output; it must have ended with ``status``."""
        assert self.status == status, f"tutor ended with {self.status}, not {status}:\n{self.output[-6000:]}"
        return self.output


@dataclass
class TutorSite(Site):
    """A site whose jobs the real ``tutor`` starts. ``environment`` names its root.

    All that ``tutor`` printed so far is in ``printed``.
    """

    MODE: ClassVar[str] = "local"

    environment: dict[str, str]
    tutor_program: Path = TUTOR
    printed: list[str] = field(default_factory=list)

    @property
    def root(self) -> Path:
        """The Tutor root."""
        return Path(self.environment["TUTOR_ROOT"])

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start ``tutor ARGUMENTS`` with no terminal."""
        return subprocess.Popen(
            [self.tutor_program, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self, process: subprocess.Popen[str], timeout_secs: float = 300) -> Done:
        """Wait for a command to end."""
        try:
            output, _ = process.communicate(timeout=timeout_secs)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            shown = f"{output[-3000:]}\n{self.still_running()}"
            raise AssertionError(f"tutor did not end within {timeout_secs:g} s:\n{shown}") from None
        self.printed.append(output)
        return Done(process.returncode, output)

    def still_running(self) -> str:
        """What runs on the site, for the error of a command that does not end."""
        return ""

    def tutor(self, *arguments: str, status: int = 0) -> str:
        """Run ``tutor ARGUMENTS``, which must end with ``status``; gives what it printed."""
        return self.finish(self.start(*arguments)).must(status)

    def start_replay(self, *options: str, mode: str = "") -> subprocess.Popen[str]:
        """Start ``tutor MODE do transform-tracking-logs OPTIONS``; ``mode`` is the site's own if empty."""
        return self.start(mode or self.MODE, "do", "transform-tracking-logs", *options)

    def replay(self, *options: str, status: int = 0, mode: str = "") -> str:
        """Run what :meth:`start_replay` starts, which must end with ``status``; gives what it printed."""
        return self.finish(self.start_replay(*options, mode=mode)).must(status)

    def save(self, **settings: Any) -> None:
        """``tutor config save --set ...``, values other than text as JSON."""
        pairs = [f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in settings.items()]
        self.tutor("config", "save", *(word for pair in pairs for word in ("--set", pair)))
