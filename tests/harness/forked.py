"""The process that jobs are forked from, seen from the tests: see ``zygote.py``."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tests.harness.demo_lms import REPOSITORY, DemoLms


class Zygote:
    """Forks jobs in LMSs that differ in their databases alone: see ``zygote.py``. It ends with this process."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.harness.zygote"],
            env=dict(environment),
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # A pipe, as a job's output may be a terminal: Python remembers whether one can seek in it.
            stderr=subprocess.PIPE,
            text=True,
        )

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request and wait for the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(dict(request)) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line:
            assert self._process.stderr is not None
            raise AssertionError(f"the process that forks jobs ended:\n{self._process.stderr.read()[-3000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer


_zygotes: dict[str, Zygote] = {}
_making = threading.Lock()


def zygote_of(lms: DemoLms) -> Zygote:
    """The one with this LMS's settings; its first job starts it."""
    key = json.dumps(lms.settings, sort_keys=True)
    with _making:
        if key not in _zygotes:
            # With SQLite, also if this job has MariaDB: one without databases takes those that the zygote was loaded
            # with.
            _zygotes[key] = Zygote(replace(lms, databases=None).environment())
        return _zygotes[key]
