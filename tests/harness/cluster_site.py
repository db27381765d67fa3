"""A site on the stand-in for a cluster."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.harness.cluster import Cluster
from tests.harness.object_store import Bucket
from tests.harness.ralph import Lrs
from tutor_transform_logs.demo.log_writer import LOG_START, Mix, write_log

TUTOR = Path(sys.executable).with_name("tutor")


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    status: int
    output: str

    def must(self, status: int = 0) -> str:
        """Its output, if it ended so."""
        assert self.status == status, f"ended with {self.status}, not {status}:\n{self.output[-6000:]}"
        return self.output


@dataclass(frozen=True)
class Site:
    """A Tutor root, the cluster it is on, and where its logs are and go."""

    root: Path
    environ: dict[str, str]
    cluster: Cluster
    bucket: Bucket
    lrs: Lrs
    tutor: Path = TUTOR
    outputs: list[str] = field(default_factory=list)
    """What each command printed."""

    def printed(self) -> str:
        """All that commands printed."""
        return "\n".join(self.outputs)

    def start(self, *args: str) -> subprocess.Popen[str]:
        """Start ``tutor ARGS``."""
        return subprocess.Popen(
            [self.tutor, *args],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def finish(self, process: subprocess.Popen[str]) -> Done:
        """Wait for a command."""
        try:
            output, _ = process.communicate(timeout=180)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            logs = "\n".join(pod.sandbox.log()[-1500:] for job in self.cluster.jobs for pod in job.running())
            raise AssertionError(f"tutor did not end:\n{output[-3000:]}\nrunning pods:\n{logs}") from None
        self.outputs.append(output)
        return Done(process.returncode, output)

    def save(self, **settings: Any) -> None:
        """``tutor config save``."""
        pairs = (word for name, value in settings.items() for word in ("--set", f"{name}={value}"))
        self.finish(self.start("config", "save", *pairs)).must()

    def replay(self, *options: str) -> Done:
        """The command under test."""
        return self.finish(self.start("k8s", "do", "transform-tracking-logs", *options))

    def start_replay(self, *options: str) -> subprocess.Popen[str]:
        """Start the command under test."""
        return self.start("k8s", "do", "transform-tracking-logs", *options)

    def log(self, number: int, good: int = 12) -> None:
        """Put a log into the bucket, of people whom every LMS knows; no two have a statement in common."""
        path = self.root.parent / f"tracking.log-{number}"
        start = LOG_START + timedelta(days=number)
        write_log(path, Mix(good=good, page_view=10, broken=1), seed=number, users=6, start=start)
        self.bucket.put(f"logs/{path.name}", path)

    def settings(self, pods: int, destination: dict[str, Any] | None = None) -> dict[str, Any]:
        """The settings of a run."""
        values = self.bucket.settings("source", prefix="logs/")
        values["lrs_endpoints"] = f"[{self.endpoint}]"
        values |= {"batch_size": 4, "lrs_max_wait_secs": 5, "k8s_pods": pods, **(destination or {})}
        return {f"TRANSFORM_LOGS_{key.upper()}": value for key, value in values.items()}

    @property
    def endpoint(self) -> str:
        lrs = self.lrs
        return f'{{"url": "{lrs.url}", "username": "{lrs.username}", "password": "{lrs.password}"}}'

    def statements(self) -> dict[str, Any]:
        """What the LRS has, by id, without what it adds itself."""
        found = self.lrs.statements()
        own = [{key: value for key, value in one.items() if key not in ("stored", "authority")} for one in found]
        by_id = {one["id"]: one for one in own}
        assert len(by_id) == len(own)
        return by_id
