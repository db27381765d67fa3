"""Where fault tests take place: a folder with logs, outputs and a ledger, and jobs that are started on them."""

from __future__ import annotations

import gzip
import itertools
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.harness import tally
from tests.harness.demo_lms import DemoLms
from tests.harness.forked import Process, Ran, start_job
from tests.harness.job import local, newest
from tests.harness.object_store import Bucket

_numbers = itertools.count()


@dataclass
class World:
    """Logs in ``source``, files in ``destination``, and a ledger; each may be moved to a bucket.

    ``settings`` holds what all jobs of this world have in common.
    """

    folder: Path
    lms: DemoLms
    settings: dict[str, Any] = field(default_factory=dict)
    buckets: dict[str, Bucket] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("logs", "out", "ledger", "jobs"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.settings = {
            **local("source", self.folder / "logs"),
            **local("destination", self.folder / "out"),
            **local("ledger", self.folder / "ledger"),
            "batch_size": 6,
            "lrs_timeout_secs": 5,
            "lrs_max_wait_secs": 10,
            **self.settings,
        }

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    def to_lrs(self, *endpoints: Mapping[str, Any]) -> None:
        """Send to these endpoints from now on, not to files."""
        self.settings = {key: value for key, value in self.settings.items() if not key.startswith("destination_")}
        self.settings |= {"destination_provider": "LRS", "lrs_endpoints": [dict(one) for one in endpoints]}

    def in_bucket(self, bucket: Bucket, *roles: str) -> None:
        """Move these roles to a bucket, each below a prefix of its own name; the logs go along."""
        for role in roles:
            self.settings = {key: value for key, value in self.settings.items() if not key.startswith(f"{role}_")}
            self.settings |= bucket.settings(role, prefix=f"{role}/")
            self.buckets[role] = bucket
        if "source" in roles:
            for path in self.logs.iterdir():
                bucket.put(f"source/{path.name}", path)

    def _mirror(self) -> None:
        """Bring what is in buckets to the folders that the same roles have in a world of files."""
        for role, name in (("destination", "out"), ("ledger", "ledger")):
            if role in self.buckets:
                shutil.rmtree(self.folder / name)
                for key in self.buckets[role].keys(f"{role}/"):
                    path = self.folder / name / key.removeprefix(f"{role}/")
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(self.buckets[role].get(key))

    def start(
        self,
        command: str = "run",
        steps: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        unprivileged: bool = False,
        **more: Any,
    ) -> Process:
        """Start a job, ``more`` put over the settings; for the others see :func:`~.forked.start_job`."""
        config = self.folder / "jobs" / f"{next(_numbers):05d}.json"
        config.write_text(json.dumps({**self.settings, **more}))
        arguments = [command, "--config", str(config)]
        return start_job(
            arguments, self.lms, config.parent, environment=environment, steps=steps, unprivileged=unprivileged
        )

    def run(self, command: str = "run", **more: Any) -> Ran:
        """Run a job to its end; takes what :meth:`start` takes."""
        return self.start(command, **more).wait()

    def result(self) -> dict[str, Any]:
        """The result of the latest plan, as REPORT saved it."""
        self._mirror()
        found = newest(self.folder / "ledger", "result.json")
        assert found is not None, "there is no result"
        result: dict[str, Any] = json.loads(found.read_text())
        return result

    def outputs(self) -> list[bytes]:
        """The content of the output files, in the order of their names, unpacked; not the job's own parts."""
        return [unpacked(path.read_bytes()) for path in self.outputs_on_disk()]

    def outputs_on_disk(self) -> list[Path]:
        """The output files of a world of files."""
        return [path for path in self._files("out") if path.name != "manifest.log"]

    def statements(self) -> list[bytes]:
        """The lines of all output files."""
        return b"".join(self.outputs()).splitlines()

    def _files(self, name: str) -> list[Path]:
        return sorted(path for path in (self.folder / name).rglob("*") if path.is_file())

    def left_over(self) -> list[str]:
        """Files that no finished job leaves behind."""
        names = [str(path.relative_to(self.folder)) for name in ("out", "ledger") for path in self._files(name)]
        return [name for name in names if ".parts-" in name or "/dead/" in name or name.endswith(".unfinished")]

    def outcome(self) -> dict[str, Any]:
        """All of a finished job that must not depend on how often it was killed."""
        result = self.result()
        [job] = (self.folder / "ledger").iterdir()
        # Two worlds have other folders and other servers, and so other keys and ids.
        ids = {one["id"]: number for number, one in enumerate(result["destinations"])}
        plan = json.loads((job / "plan.json").read_text())
        return {
            "statements": self.outputs(),
            "dead letters": [path.read_bytes() for path in sorted(job.glob("*/dead-letters.jsonl"))],
            "lines": result["lines"],
            "reasons": result["reasons"],
            "event types": result["event_types"],
            "days": result["days"],
            "made": [(ids[one["id"]], one["made"], one["rejected"]) for one in result["destinations"]],
            "objects": [
                (one["name"].replace(job.name, "KEY"), one["lines"], one["notes"]) for one in result["objects"]
            ],
            "known": [
                ({ids[name]: at for name, at in one["done"].items()}, one["length"], one["lines"], one["resume_at"])
                for one in plan["contents"]
            ],
            "finished": plan["finished"],
            "manifest": [path.read_bytes() for path in (self.folder / "out").rglob("manifest.log")],
            "left over": self.left_over(),
        }


def check_sums(result: Mapping[str, Any]) -> None:
    """DESIGN's first promise, from the saved result alone."""
    lines = result["lines"]
    outcomes = sum(count for name, count in lines.items() if name != "lines")
    tally.same(lines["lines"], outcomes, f"lines do not add up: {lines}")
    for one in result["destinations"]:
        got = one["stored"] + one["duplicates"] + one["rejected"]
        tally.same(one["made"], got, f"statements do not add up: {one}")
    tally.same([], result["accounting_errors"], "the job itself found differences")


def unpacked(content: bytes) -> bytes:
    """The content of a file that may be a gzip file."""
    return gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
