"""A job that has a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from typing import Any

from tests.harness.job import local
from tests.harness.runs import Site


def run_on_a_terminal(site: Site, columns: int = 80, **config: Any) -> tuple[int, str]:
    """Run the job with a terminal of its own; gives its exit status and all that came to the terminal."""
    file = site.folder / "config.json"
    parts = {**site.source(), **site.to_files(), **local("ledger", site.folder / "ledger"), **config}
    file.write_text(json.dumps(parts))
    command = [sys.executable, "-m", "tutor_transform_logs.lms_job", "run", "--config", str(file)]
    mine, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        command,
        env=site.lms.environment() | {"COLUMNS": str(columns)},
        stdin=its,
        stdout=its,
        stderr=its,
        close_fds=True,
    )
    os.close(its)
    seen = b""
    try:
        while True:
            try:
                piece = os.read(mine, 65536)
            except OSError:
                # EIO: Linux's way to say that the last process has let go of the terminal.
                break
            seen += piece
    finally:
        os.close(mine)
        status = process.wait(timeout=60)
    return status, seen.decode().replace("\r\n", "\n")
