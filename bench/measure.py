"""Run a program and say how long it took and how much memory it had, with its children."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

SAMPLE_SECS = 0.05


@dataclass(frozen=True)
class Measured:
    """One run. ``cpu_secs`` is less sensitive than ``secs`` to what else the machine does."""

    secs: float
    cpu_secs: float
    peak_bytes: int

    def to_json(self) -> dict[str, Any]:
        """For the results' file."""
        return {name: round(value, 3) for name, value in asdict(self).items()}


class Failed(Exception):
    """A program that was measured did not do its work."""


def _memory(process: psutil.Process) -> int:
    """Resident memory of a process and its children; pages that they share count once for each."""
    total = 0
    for member in [process, *process.children(recursive=True)]:
        try:
            total += member.memory_info().rss
        except psutil.Error:
            continue
    return total


def measure(
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    stdin: Path | None = None,
    stdout: Path | None = None,
) -> Measured:
    """Run ``command`` to its end. Raises :class:`Failed` if it gives another exit code than 0."""
    with open(stdin or os.devnull, "rb") as source, open(stdout or os.devnull, "wb") as sink:
        before = os.times()
        start = time.monotonic()
        program = subprocess.Popen(
            command, env=environment, cwd=folder, stdin=source, stdout=sink, stderr=subprocess.PIPE
        )
        peak = 0

        def watch() -> None:
            nonlocal peak
            try:
                process = psutil.Process(program.pid)
                while program.returncode is None:
                    peak = max(peak, _memory(process))
                    time.sleep(SAMPLE_SECS)
            except psutil.Error:
                return

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        _, errors = program.communicate()
        secs = time.monotonic() - start
        after = os.times()
        watcher.join()
    if program.returncode:
        raise Failed(f"{' '.join(map(str, command))[:300]}\n{errors.decode(errors='replace')[-3000:]}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Measured(secs, cpu, peak)
