"""A site whose jobs are forked from a process that has loaded the LMS (see ``zygote.py``)."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.harness.demo_lms import DemoLms
from tests.harness.forked import zygote_of
from tests.harness.job import JobRun, Process, local
from tests.harness.object_store import Bucket
from tests.harness.site import Site, files_below

_numbers = itertools.count()


@dataclass
class ForkedSite(Site):
    """Logs, output and ledger in folders; each of them may be moved to a bucket.

    ``settings`` holds what all jobs of this site have in common.
    """

    lms: DemoLms
    settings: dict[str, Any] = field(default_factory=dict)
    buckets: dict[str, Bucket] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("logs", "out", "jobs"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)

    def source(self, prefix: str = "tracking.log") -> dict[str, Any]:
        """The settings that make the logs the source."""
        return local("source", self.logs, prefix=prefix)

    def to_files(self, prefix: str = "") -> dict[str, Any]:
        """The settings that make the folder ``out`` the destination."""
        return local("destination", self.out, prefix=prefix)

    def to_lrs(self, *endpoints: Mapping[str, Any]) -> None:
        """Send to these endpoints from now on, not to files."""
        self.settings = {key: value for key, value in self.settings.items() if not key.startswith("destination_")}
        self.settings |= {"destination_provider": "LRS", "lrs_endpoints": [dict(endpoint) for endpoint in endpoints]}

    def in_bucket(self, bucket: Bucket, *roles: str) -> None:
        """Move these roles to a bucket, each below a prefix of its own name; the logs go along."""
        for role in roles:
            self.settings = {key: value for key, value in self.settings.items() if not key.startswith(f"{role}_")}
            self.settings |= bucket.settings(role, prefix=f"{role}/")
            self.buckets[role] = bucket
        if "source" in roles:
            for path in self.logs.iterdir():
                bucket.put(f"source/{path.name}", path)

    def start(
        self,
        *parts: Mapping[str, Any],
        command: str = "run",
        arguments: Sequence[str] = (),
        lms: DemoLms | None = None,
        steps: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        terminal: str = "",
        unprivileged: bool = False,
        **more: Any,
    ) -> Process:
        """Start ``python -m tutor_transform_logs.lms_job COMMAND --config ... ARGUMENTS``.

        Its settings are the site's, ``parts`` over them, and ``more`` over those.

        :param lms: another than the site's own.
        :param environment: over the LMS's own.
        :param steps: where to kill it: see ``steps.py``.
        :param terminal: the name of a terminal for its input and output.
        :param unprivileged: file modes hold for it, even if the tests run as root.

        Nine parameters: a test uses one or two of them.
        """
        config = dict(self.settings)
        for part in (*parts, more):
            config.update(part)
        if not {"ledger_provider", "ledger_key"} & config.keys():
            config |= local("ledger", self.ledger)
        ledger = None
        if config.get("ledger_provider", "LOCAL") == "LOCAL":
            ledger = Path(config["ledger_key"], config["ledger_container"], config.get("ledger_prefix") or "")

        name, lms = f"{next(_numbers):05d}", lms or self.lms
        jobs = self.folder / "jobs"
        config_file, out, err, token = (jobs / f"{name}.{end}" for end in ("json", "out", "err", "token"))
        config_file.write_text(json.dumps(config))
        zygote = zygote_of(lms)
        answer = zygote.ask(
            {
                "module": "tutor_transform_logs.lms_job",
                "arguments": [command, "--config", str(config_file), *arguments],
                "folder": str(jobs),
                "files": [terminal] * 3 if terminal else [os.devnull, str(out), str(err)],
                "environment": {**lms.environment(), **(environment or {})},
                "databases": lms.databases,
                "unprivileged": unprivileged,
                "steps": {"token": str(token), **steps} if steps else None,
            }
        )
        return Process(zygote, answer["pid"], (out, err), ledger)

    def run(self, *parts: Mapping[str, Any], **more: Any) -> JobRun:
        """Run a job to its end; takes what :meth:`start` takes."""
        return self.start(*parts, **more).wait()

    def _mirror(self) -> None:
        """Bring what is in buckets to the folders that the same roles have in a site of files."""
        for role, folder in (("destination", self.out), ("ledger", self.ledger)):
            if role in self.buckets:
                shutil.rmtree(folder, ignore_errors=True)
                for key in self.buckets[role].keys(f"{role}/"):
                    path = folder / key.removeprefix(f"{role}/")
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(self.buckets[role].get(key))

    def result(self) -> dict[str, Any]:
        """The result of the latest plan, wherever the ledger is."""
        self._mirror()
        return super().result()

    def left_over(self) -> list[str]:
        """Files that no finished job leaves behind."""
        paths = [*files_below(self.out), *files_below(self.ledger)]
        names = [str(path.relative_to(self.folder)) for path in paths]
        return [
            name
            for name in names
            if ".parts-" in name or "/dead/" in name or "/sent/" in name or name.endswith(".unfinished")
        ]

    def outcome(self) -> dict[str, Any]:
        """All of a finished job that must not depend on how often it was killed."""
        result = self.result()
        [job] = self.ledger.iterdir()
        objects = result["objects"]
        # Two sites have other folders and other servers, and so other keys and ids.
        ids = {destination["id"]: number for number, destination in enumerate(result["destinations"])}
        plan = json.loads((job / "plan.json").read_text())
        return {
            "statements": self.outputs(),
            "dead letters": [path.read_bytes() for path in sorted(job.glob("*/dead-letters.jsonl"))],
            "lines": result["lines"],
            "reasons": result["reasons"],
            "event types": result["event_types"],
            **{name: result[name] for name in ("days", "skipped_events", "courses", "verbs")},
            "made": [(ids[row["id"]], row["made"], row["rejected"]) for row in result["destinations"]],
            "objects": [(obj["name"].replace(job.name, "KEY"), obj["lines"], obj["notes"]) for obj in objects],
            "known": [
                (
                    {ids[name]: at for name, at in content["done"].items()},
                    content["length"],
                    content["lines"],
                    content["resume_at"],
                )
                for content in plan["contents"]
            ],
            "finished": plan["finished"],
            "manifest": [path.read_bytes() for path in self.out.rglob("*_manifest.log")],
            "left over": self.left_over(),
        }
