"""A job that has a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import termios
from typing import Any

from tests.harness.forked import start_job
from tests.harness.job import local
from tests.harness.runs import Site


def run_on_a_terminal(site: Site, columns: int = 80, **config: Any) -> tuple[int, str]:
    """Run the job with a terminal of its own; gives its exit status and all that came to the terminal."""
    file = site.folder / "config.json"
    parts = {**site.source(), **site.to_files(), **local("ledger", site.folder / "ledger"), **config}
    file.write_text(json.dumps(parts))
    mine, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    arguments = ["run", "--config", str(file)]
    environment = {"COLUMNS": str(columns)}
    process = start_job(arguments, site.lms, site.folder, environment=environment, terminal=os.ttyname(its))
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
        status = process.wait(60).status
    return status, seen.decode().replace("\r\n", "\n")
