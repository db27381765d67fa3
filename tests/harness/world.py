"""Where fault tests take place: a folder with logs, outputs and a ledger, and jobs that are started on them."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.harness import tally
from tests.harness.job import DemoLms, local, newest
from tests.harness.object_store import Bucket

_numbers = itertools.count()


@dataclass(frozen=True)
class Ran:
    """A job that has ended: its exit status (negative: the signal that killed it) and its words."""

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
        return Ran(self._status, self._out.read_text(), self.err())

    def err(self) -> str:
        """What it has said so far."""
        return self._err.read_text()

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
    """Starts jobs in one LMS: see ``zygote.py``."""

    def __init__(self, lms: DemoLms) -> None:
        self.lms = lms
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.harness.zygote"],
            env=lms.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request and wait for the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(dict(request)) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


@dataclass
class World:
    """Logs in ``source``, files in ``destination``, and a ledger; each may be moved to a bucket.

    ``settings`` holds what all jobs of this world have in common.
    """

    folder: Path
    zygote: Zygote
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
        **more: Any,
    ) -> Process:
        """Start a job, ``more`` laid over the settings; ``steps`` says where to kill it (see ``steps.py``)."""
        number = next(_numbers)
        jobs = self.folder / "jobs"
        config, out, err = (jobs / f"{number:05d}.{end}" for end in ("json", "out", "err"))
        config.write_text(json.dumps({**self.settings, **more}))
        request: dict[str, Any] = {
            "arguments": [command, "--config", str(config)],
            "out": str(out),
            "err": str(err),
            "environment": dict(environment or {}),
        }
        if steps:
            request["steps"] = {"token": str(jobs / f"{number:05d}.token"), **steps}
        return Process(self.zygote, self.zygote.ask(request)["pid"], out, err)

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
