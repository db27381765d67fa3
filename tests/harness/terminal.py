"""A job that has a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
from typing import Any

from tests.harness.forked_site import ForkedSite


def run_on_a_terminal(site: ForkedSite, columns: int = 80, command: str = "run", **config: Any) -> tuple[int, str]:
    """Run the job with a terminal of its own; gives its exit status and all that came to the terminal."""
    mine, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = site.start(
        site.source(),
        site.to_files(),
        config,
        command=command,
        environment={"COLUMNS": str(columns)},
        terminal=os.ttyname(its),
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
        status = process.wait(60).status
    return status, seen.decode().replace("\r\n", "\n")
