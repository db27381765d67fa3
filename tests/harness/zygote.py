"""A process that has loaded the LMS once and forks one job after the other: a job starts in milliseconds, not seconds.

Settings of Django are those that the LMS was loaded with: its applications read them as they start. Databases are each
job's own, since nothing connects to one before.

What runs is the job's own ``main`` in a process (and process group) of its own, which is free to be killed. Run as
``python -m tests.harness.zygote``, it reads requests from standard input and answers on standard output, one JSON line
each.
"""

from __future__ import annotations

import atexit
import ctypes
import importlib
import json
import os
import runpy
import signal
import sys
import threading
import traceback
from typing import Any

_PR_SET_PDEATHSIG = 1
_LINUX_CAPABILITY_VERSION_3 = 0x20080522


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
    import django

    django.setup()
    from event_routing_backends.processors import caliper, xapi

    for processors in (caliper, xapi):
        importlib.import_module(f"{processors.__name__}.registry")
    for module in ("__main__", "phases", "storage.cloud", "storage.local"):
        importlib.import_module(f"tutor_transform_logs.lms_job.{module}")
    # Each job compares what is loaded with what the files define, and those are read and compiled once.
    from tutor_transform_logs.lms_job.fast_path import foreign_code

    for kind in ("xapi", "caliper"):
        foreign_code.reason_against_fast_path(kind, None)


def _start(request: dict[str, Any]) -> int:
    # Opened here, so that a terminal is in use before this answers.
    flags = (os.O_RDONLY, os.O_WRONLY | os.O_CREAT | os.O_APPEND, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    files = [os.open(name, flag | os.O_NOCTTY) for name, flag in zip(request["files"], flags, strict=True)]
    pid = os.fork()
    if pid:
        for file in files:
            os.close(file)
        return pid
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # As for a job that has only begun to import itself.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.setsid()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    if request["unprivileged"]:
        _drop_capabilities()
    status = 1
    try:
        _use_databases(request["databases"])
        _use_log()
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


def _drop_capabilities() -> None:
    """Root without its capabilities is a user like others: the modes of files hold for it."""
    header = (ctypes.c_uint32 * 2)(_LINUX_CAPABILITY_VERSION_3, 0)
    if ctypes.CDLL(None, use_errno=True).capset(header, (ctypes.c_uint32 * 6)()):
        raise OSError(ctypes.get_errno(), "capset")


def _use_databases(databases: dict[str, Any] | None) -> None:
    """Change Django's databases, to which nothing has connected yet."""
    from django.conf import settings
    from django.db import connections

    if databases:
        if any("mysql" in database["ENGINE"] for database in databases.values()):
            import pymysql

            pymysql.install_as_MySQLdb()
    else:
        default = settings.DATABASES["default"]
        databases = {"default": {**default, "NAME": os.environ["DEMO_LMS_DB"]}}
    for alias in connections:
        if hasattr(connections._connections, alias):
            delattr(connections._connections, alias)
    settings.DATABASES = databases
    connections._settings = None
    connections.__dict__.pop("settings", None)


def _use_log() -> None:
    """Change where the LMS logs to, if the environment says it."""
    from django.conf import settings
    from django.utils.log import configure_logging

    if os.environ.get("DEMO_LMS_LOG"):
        settings.LOGGING = importlib.reload(sys.modules[settings.SETTINGS_MODULE]).LOGGING
        configure_logging(settings.LOGGING_CONFIG, settings.LOGGING)


def _job(request: dict[str, Any]) -> int:
    from tests.harness import steps
    from tutor_transform_logs.lms_job.__main__ import main

    if request["module"] != "tutor_transform_logs.lms_job":
        sys.argv = [request["module"], *request["arguments"]]
        runpy.run_module(request["module"], run_name="__main__")
        return 0
    if request["steps"]:
        steps.watch(request["steps"])
    return main(request["arguments"])


def _status_of(pid: int) -> dict[str, Any]:
    done, status = os.waitpid(pid, os.WNOHANG)
    return {"status": os.waitstatus_to_exitcode(status) if done else None}


if __name__ == "__main__":
    _serve()
