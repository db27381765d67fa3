"""Jobs that are forked from a process that has loaded the LMS: see ``zygote.py``."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.harness.demo_lms import REPOSITORY, DemoLms

_numbers = itertools.count()


@dataclass(frozen=True)
class Ran:
    """A job that has ended: its exit status (negative: the signal that killed it) and its output."""

    status: int
    out: str
    err: str

    @property
    def detail(self) -> str:
        """All that it said."""
        return self.out + self.err


class Process:
    """A started job."""

    def __init__(self, zygote: Zygote, pid: int, out: Path, err: Path) -> None:
        self.pid = pid
        self._zygote = zygote
        self._out, self._err = out, err
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

    def wait(self, timeout_secs: float = 180) -> Ran:
        """Let it end by itself."""
        if not self.ended(timeout_secs):
            self.kill()
            raise AssertionError(f"the job did not end within {timeout_secs} s:\n{self.err()[-2000:]}")
        assert self._status is not None
        return Ran(self._status, self.out(), self.err())

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


class Zygote:
    """Forks jobs in LMSs that differ in their databases alone: see ``zygote.py``. It ends with this process."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.harness.zygote"],
            env=dict(environment),
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # A pipe, as a job's output may be a terminal: Python remembers whether one can seek in it.
            stderr=subprocess.PIPE,
            text=True,
        )

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request and wait for the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(dict(request)) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            assert self._process.stderr is not None
            raise AssertionError(f"the process that forks jobs ended:\n{self._process.stderr.read()[-3000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer


_zygotes: dict[str, Zygote] = {}


def start_job(
    arguments: Sequence[str],
    lms: DemoLms,
    folder: Path,
    *,
    environment: Mapping[str, str] | None = None,
    steps: Mapping[str, Any] | None = None,
    terminal: str = "",
    unprivileged: bool = False,
) -> Process:
    """Start ``python -m tutor_transform_logs.lms_job ARGUMENTS`` in ``folder``, where its output is kept, too.

    :param environment: laid over the LMS's own.
    :param steps: where to kill it: see ``steps.py``.
    :param terminal: the name of a terminal for its input and output.
    :param unprivileged: file modes hold for it, even if the tests run as root.

    Seven parameters: a test uses one or two of the last four.
    """
    key = json.dumps(lms.settings, sort_keys=True)
    if key not in _zygotes:
        _zygotes[key] = Zygote(lms.environment())
    zygote, number = _zygotes[key], next(_numbers)
    out, err = (folder / f".job-{number:05d}.{end}" for end in ("out", "err"))
    request: dict[str, Any] = {
        "arguments": list(arguments),
        "folder": str(folder),
        "files": [terminal] * 3 if terminal else [os.devnull, str(out), str(err)],
        "environment": {**lms.environment(), **(environment or {})},
        "databases": lms.databases,
        "unprivileged": unprivileged,
        "steps": {"token": str(folder / f".job-{number:05d}.token"), **steps} if steps else None,
    }
    return Process(zygote, zygote.ask(request)["pid"], out, err)
