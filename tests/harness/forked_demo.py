"""The demo and the preview in the tests' own process. The processes that they start are forked: see ``zygote.py``."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.harness.demo_lms import DemoLms
from tests.harness.forked import zygote_of
from tests.harness.job import JobRun, Process
from tutor_transform_logs.demo import runner
from tutor_transform_logs.demo.outcomes import Kind


@contextlib.contextmanager
def processes_are_forked(steps: Mapping[str, Any] | None = None) -> Iterator[None]:
    """``subprocess.run([PYTHON, "-m", MODULE, ...], env=...)`` forks a process that has loaded the LMS.

    What the process prints is printed here when it has ended.

    :param steps: where to kill or interrupt the job: see ``steps.py``.
    """
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        out, err, token = (Path(folder, name) for name in ("out", "err", "token"))

        def fork(command: Sequence[str], env: Mapping[str, str], check: bool) -> subprocess.CompletedProcess[str]:
            _, flag, module, *arguments = command
            assert flag == "-m"
            zygote = zygote_of(DemoLms(settings=json.loads(env["DEMO_LMS_SETTINGS"])))
            answer = zygote.ask(
                {
                    "module": module,
                    "arguments": arguments,
                    "folder": str(Path.cwd()),
                    "files": [os.devnull, str(out), str(err)],
                    "environment": dict(env),
                    "databases": None,
                    "unprivileged": False,
                    "steps": {"token": str(token), **steps} if steps else None,
                }
            )
            ran = Process(zygote, answer["pid"], (out, err), None).wait()
            for file, stream in ((out, sys.stdout), (err, sys.stderr)):
                stream.write(file.read_text())
                file.unlink()
            assert ran.status == 0 or not check, ran.detail
            return subprocess.CompletedProcess(command, ran.status)

        patch.setattr(subprocess, "run", fork)
        yield


def run_demo(kind: Kind, folder: Path, steps: Mapping[str, Any] | None = None) -> JobRun:
    """Run the demo in ``folder``, into its subfolder ``out``; for ``steps`` see :func:`processes_are_forked`."""
    out, err = io.StringIO(), io.StringIO()
    with (
        processes_are_forked(steps),
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.chdir(folder)
        status = runner.run_demo(kind, Path("out"))
    return JobRun(status, out.getvalue(), err.getvalue(), None, folder / "out" / "ledger")
