"""A job that a test has started, and what it left."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.harness.forked import Zygote


@dataclass(frozen=True)
class JobRun:
    """A job that has ended. A negative ``status`` is the signal that killed it.

    ``result`` is what REPORT had saved by then; ``ledger`` is its folder, if it is one.
    """

    status: int
    stdout: str
    stderr: str
    result: dict[str, Any] | None
    ledger: Path | None

    @property
    def detail(self) -> str:
        """All that it said."""
        return self.stdout + self.stderr

    def dead_letters(self) -> list[dict[str, Any]]:
        """The dead letters of the latest plan, from the file that REPORT makes."""
        found = newest(self.ledger, "dead-letters.jsonl") if self.ledger else None
        return [json.loads(line) for line in found.read_text().splitlines()] if found else []


def newest(folder: Path, name: str) -> Path | None:
    """The file of this name in the last-numbered folder of the ledger below ``folder``."""
    found = sorted(folder.glob(f"**/{name}"), key=lambda path: (path.parent.name, path.stat().st_mtime))
    return found[-1] if found else None


def latest_result(ledger: Path) -> dict[str, Any] | None:
    """The result of the latest plan, as REPORT saved it, if there is one."""
    path = newest(ledger, "result.json")
    return json.loads(path.read_text()) if path else None


def local(role: str, folder: Path, *, prefix: str = "") -> dict[str, Any]:
    """The settings that make this local folder the job's ``source``, ``destination`` or ``ledger``."""
    values = {"provider": "LOCAL", "key": str(folder.parent), "container": folder.name, "prefix": prefix}
    return {f"{role}_{key}": value for key, value in values.items()}


class Process:
    """A started job."""

    def __init__(self, zygote: Zygote, pid: int, files: tuple[Path, Path], ledger: Path | None) -> None:
        self.pid = pid
        self._zygote = zygote
        self._out, self._err = files
        self._ledger = ledger
        self._status: int | None = None

    def poll(self) -> int | None:
        """Its exit status, if it has ended."""
        if self._status is None:
            self._status = self._zygote.ask({"wait": self.pid})["status"]
        return self._status

    def ended(self, timeout_secs: float) -> bool:
        """Wait; has it ended within this time?"""
        deadline = time.monotonic() + timeout_secs
        while self.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        return self._status is not None

    def wait(self, timeout_secs: float = 180) -> JobRun:
        """Let it end by itself."""
        if not self.ended(timeout_secs):
            self.kill()
            raise AssertionError(f"the job did not end within {timeout_secs} s:\n{self.err()[-2000:]}")
        assert self._status is not None
        result = latest_result(self._ledger) if self._ledger else None
        return JobRun(self._status, self.out(), self.err(), result, self._ledger)

    def out(self) -> str:
        """What it has printed so far."""
        return self._out.read_text() if self._out.exists() else ""

    def err(self) -> str:
        """What it has said so far."""
        return self._err.read_text() if self._err.exists() else ""

    def workers(self) -> list[int]:
        """The process ids of its workers."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return [child.pid for child in psutil.Process(self.pid).children()]
        return []

    def send(self, number: int) -> None:
        """Send the job (not its workers) a signal."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self, group: bool = True) -> None:
        """SIGKILL, to its whole process group or to the parent alone."""
        with contextlib.suppress(ProcessLookupError):
            if group:
                os.killpg(self.pid, signal.SIGKILL)
            else:
                os.kill(self.pid, signal.SIGKILL)
        self.ended(10)
