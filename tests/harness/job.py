"""Run the real job in the embedded LMS, and look at what it left."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.harness import forked
from tests.harness.demo_lms import REPOSITORY, DemoLms
from tests.harness.forked import Process

__all__ = ["REPOSITORY", "DemoLms", "JobRun", "Process", "local", "newest", "run_job", "start_job"]


@dataclass(frozen=True)
class JobRun:
    """A finished run of the job. ``result`` is what REPORT saved, if it came so far."""

    status: int
    stdout: str
    stderr: str
    result: dict[str, Any] | None
    ledger: Path | None

    def dead_letters(self) -> list[dict[str, Any]]:
        """The dead letters of the latest plan, from the file that REPORT makes."""
        found = newest(self.ledger, "dead-letters.jsonl") if self.ledger else None
        return [json.loads(line) for line in found.read_text().splitlines()] if found else []


def newest(folder: Path, name: str) -> Path | None:
    """The file of this name in the last-numbered folder of the ledger below ``folder``."""
    found = sorted(folder.glob(f"**/{name}"), key=lambda path: (path.parent.name, path.stat().st_mtime))
    return found[-1] if found else None


def local(role: str, folder: Path, *, prefix: str = "") -> dict[str, Any]:
    """The settings that make this local folder the job's ``source``, ``destination`` or ``ledger``."""
    values = {"provider": "LOCAL", "key": str(folder.parent), "container": folder.name, "prefix": prefix}
    return {f"{role}_{key}": value for key, value in values.items()}


def start_job(
    config: Mapping[str, Any], lms: DemoLms, *, command: str = "run", arguments: Sequence[str] = (), folder: Path
) -> Process:
    """Start the job, for tests that do something to it; its config file and its output are in ``folder``."""
    file = folder / "job-config.json"
    file.write_text(json.dumps(dict(config)))
    return forked.start_job([command, "--config", str(file), *arguments], lms, folder)


def run_job(
    config: Mapping[str, Any],
    lms: DemoLms,
    *,
    folder: Path,
    command: str = "run",
    arguments: Sequence[str] = (),
    timeout_secs: float = 180,
) -> JobRun:
    """Run the job to its end.

    A ledger that the config does not name is put into ``folder / "ledger"``.
    """
    if "ledger_provider" not in config and "ledger_key" not in config:
        config = {**config, **local("ledger", folder / "ledger")}
    ran = start_job(config, lms, command=command, arguments=arguments, folder=folder).wait(timeout_secs)
    ledger = None
    if config.get("ledger_provider", "LOCAL") == "LOCAL":
        ledger = Path(config["ledger_key"], config["ledger_container"], config.get("ledger_prefix") or "")
    found = newest(ledger, "result.json") if ledger else None
    return JobRun(ran.status, ran.out, ran.err, json.loads(found.read_text()) if found else None, ledger)
