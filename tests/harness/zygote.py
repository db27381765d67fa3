"""A process that has loaded the LMS once and forks one job after the other: a job starts in milliseconds, not seconds.

What runs is the job's own ``main`` in a process (and process group) of its own, which is free to be killed. Run as
``python -m tests.harness.zygote``, it reads requests from standard input and answers on standard output, one JSON line
each.
"""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import signal
import sys
import threading
import traceback
from typing import Any

_PR_SET_PDEATHSIG = 1


def _serve() -> None:
    requests, answers = os.fdopen(os.dup(0), "r"), os.fdopen(os.dup(1), "w")
    _load()
    for line in requests:
        request = json.loads(line)
        answer = _status_of(request["wait"]) if "wait" in request else {"pid": _start(request)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _load() -> None:
    """Everything that a job would import."""
    import importlib

    import django

    django.setup()
    from event_routing_backends.processors import caliper, xapi

    for processors in (caliper, xapi):
        importlib.import_module(f"{processors.__name__}.registry")
    for module in ("__main__", "phases", "storage.cloud", "storage.local"):
        importlib.import_module(f"tutor_transform_logs.lms_job.{module}")


def _start(request: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    for number, file in enumerate((nothing, os.open(request["out"], flags), os.open(request["err"], flags))):
        os.dup2(file, number)
    os.environ.update(request["environment"])
    status = 1
    try:
        status = _job(request)
    except SystemExit as exit:
        status = exit.code if isinstance(exit.code, int) else 1
    except BaseException:
        traceback.print_exc()
    threading._shutdown()  # type: ignore[attr-defined]  # as an interpreter that ends does
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _job(request: dict[str, Any]) -> int:
    from tests.harness import steps
    from tutor_transform_logs.lms_job.__main__ import main

    if request.get("steps"):
        steps.watch(request["steps"])
    return main(request["arguments"])


def _status_of(pid: int) -> dict[str, Any]:
    done, status = os.waitpid(pid, os.WNOHANG)
    return {"status": os.waitstatus_to_exitcode(status) if done else None}


if __name__ == "__main__":
    _serve()
