"""The site that a test replays: its logs, the output and the ledger, whatever the job runs in.

How a job is started differs: ``forked_site`` forks it in milliseconds, ``cluster_site`` has the real ``tutor`` start it
as pods, ``tests/e2e/site.py`` in Docker containers.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.harness.job import latest_result
from tutor_transform_logs.demo import log_writer
from tutor_transform_logs.demo.log_writer import BigLog, Mix

# Users 1 to 6 all have their external ids from the seed, so every copy of the LMS makes the same statements of theirs.
USERS = 6
SINGLE_NAME = re.compile(r"\d\d-\d\d-\d\d_\d\d-\d\d-\d\d_(xapi|caliper)_[0-9a-f]{12}-[0-9a-f]{8}(-\d+)?\.log(\.gz)?")
"""Of an output file in layout ``single``."""


@dataclass
class Site:
    """A site with all its files below ``folder``."""

    folder: Path

    @property
    def logs(self) -> Path:
        """The folder of the logs."""
        return self.folder / "logs"

    @property
    def out(self) -> Path:
        """The folder of the output files."""
        return self.folder / "out"

    @property
    def ledger(self) -> Path:
        """The folder of the ledger."""
        return self.folder / "ledger"

    def log(self, mix: Mix, *, name: str = "tracking.log", **more: Any) -> BigLog:
        """Write a log of users that every copy of the LMS knows under the same ids."""
        self.logs.mkdir(parents=True, exist_ok=True)
        written = log_writer.write_log(self.logs / name, mix, **{"users": USERS, **more})
        self.placed(written.path)
        return written

    def place(self, name: str, content: bytes) -> Path:
        """Put a file among the logs."""
        path = self.logs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.placed(path)
        return path

    def placed(self, path: Path) -> None:
        """A log has been written to ``path``: do what a site does to make it the LMS's."""

    def output(self, below: str = "") -> dict[str, bytes]:
        """All files of the output, hidden ones too, by their name below it."""
        root = self.out / below
        return {str(path.relative_to(root)): path.read_bytes() for path in files_below(root)}

    def outputs_on_disk(self) -> list[Path]:
        """The output files, without the manifest."""
        return [path for path in files_below(self.out) if not is_manifest(path.name)]

    def outputs(self) -> list[bytes]:
        """The content of the output files, in the order of their names, unpacked."""
        return [unpacked(path.read_bytes()) for path in self.outputs_on_disk()]

    def output_lines(self) -> list[bytes]:
        """The lines of all output files."""
        return b"".join(self.outputs()).splitlines()

    def result(self) -> dict[str, Any]:
        """The result of the latest plan, as REPORT saved it."""
        result = latest_result(self.ledger)
        assert result is not None, f"there is no result in {self.ledger}"
        return result


def is_manifest(name: str) -> bool:
    """Is this the list of source files that a plan writes beside its output?"""
    return name.endswith("manifest.log")


def statement_files(output: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files of an output that are not manifests."""
    return {name: content for name, content in output.items() if not is_manifest(name)}


def manifests(output: Mapping[str, bytes]) -> list[bytes]:
    """The manifests in an output."""
    return [content for name, content in sorted(output.items()) if is_manifest(name)]


def files_below(folder: Path) -> list[Path]:
    """All files at any depth, by name."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def unpacked(content: bytes) -> bytes:
    """The content of a file that may be a gzip file."""
    return gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
