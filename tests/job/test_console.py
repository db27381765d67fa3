"""What a person at a terminal sees of a run."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from typing import Any

import pytest

from tests.job.runs import Site
from tests.services.job import local
from tutor_transform_logs.demo.log_writer import Mix

pytestmark = pytest.mark.usefixtures("lms")

MIX = Mix(good=30, page_view=20, unknown_user=1, broken=1)


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


def test_a_run_shows_its_progress_and_not_its_statements(site: Site) -> None:
    log = site.log(MIX)
    status, seen = run_on_a_terminal(site)
    assert status == 0, seen
    assert "\r" in seen
    assert "100%" in seen
    assert '{"id"' not in seen
    assert re.search(rf"transformed +{log.xapi.count('transformed')}  made into statements\n", seen)
    assert "Traceback" not in seen
    # The table fits a terminal of 80 columns, but for names and paths.
    table = seen[seen.rindex("object  ") :].splitlines()
    assert all(len(line) <= 80 for line in table if "/" not in line)


@pytest.mark.parametrize("option", ["log_statements", "dry_run"])
def test_statements_are_shown_where_they_are_asked_for(site: Site, option: str) -> None:
    log = site.log(MIX)
    status, seen = run_on_a_terminal(site, **{option: True})
    assert status == 0, seen
    assert seen.count('"version": "1.0.3"') == log.xapi.statements
