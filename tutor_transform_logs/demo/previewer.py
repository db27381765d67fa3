"""Start a preview: the embedded LMS in a separate process, with a database in a temporary folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tutor_transform_logs.demo.runner import embedded_lms, say_what_is_missing

WIDEST = 100
STDIN = "-"


def run_preview(files: Sequence[str], type_: str, lines: int, format_: str, statements: bool) -> int:
    """Print what is in ``files``; returns the exit status. ``lines``: read at most this many; 0: all.

    A directory stands for the files in it, at any depth; ``-`` for standard input. Writes only to a temporary folder,
    and uses no network.
    """
    if say_what_is_missing("The preview"):
        return 1
    found: list[str] = []
    for name in files:
        path = Path(name)
        if name != STDIN and not path.exists():
            print(f"{name}: there is no such file.", file=sys.stderr)
            return 1
        inside = [name] if name == STDIN or not path.is_dir() else list(_files(path))
        if not inside:
            print(f"{name}: there is no file in this directory.", file=sys.stderr)
            return 1
        found += inside
    width = min(shutil.get_terminal_size().columns, WIDEST)
    with tempfile.TemporaryDirectory(prefix="transform-logs-preview-") as folder:
        options = ["--type", type_, "--lines", str(lines), "--format", format_, "--width", str(width)]
        options += ["--statements"] if statements else []
        command = [sys.executable, "-m", "tutor_transform_logs.demo.preview", *options, "--", *found]
        return subprocess.run(command, env=embedded_lms(Path(folder)), check=False).returncode


def _files(folder: Path) -> Iterator[str]:
    """The files below ``folder`` by name, without hidden ones."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden:
            yield str(path)
