"""A signal ends the run wherever it arrives. Each case is a process of its own, since it changes handlers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.harness.demo_lms import REPOSITORY

HEAD = """
import os, signal, time, weakref
from tutor_transform_logs.lms_job.util.signals import Interrupted, Interruptions

def send(*_):
    os.kill(os.getpid(), signal.SIGTERM)
    for _ in range(100):
        pass  # the handler runs here

class Finalized:
    def __del__(self):
        send()

class Watched:
    pass

interruptions = Interruptions()
interruptions.install()
"""
IN_A_FINALIZER = "Finalized()\n"
IN_A_WEAK_REFERENCE = "watched = Watched(); finalizer = weakref.finalize(watched, send); del watched\n"
BOTH_AT_ONCE = """
both = {signal.SIGINT, signal.SIGTERM}
signal.pthread_sigmask(signal.SIG_BLOCK, both)
for number in both:
    os.kill(os.getpid(), number)
signal.pthread_sigmask(signal.SIG_UNBLOCK, both)
"""
WAIT = "time.sleep(30)\n"
WHILE_DEFERRED = """
with interruptions.deferred():
    time.sleep(0.3)
    print("the block has ended", flush=True)
time.sleep(30)
"""


def interrupted(body: str) -> str:
    """What is printed by ``body``, which is interrupted; it must not take long and must not show a traceback."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    script = f"{HEAD}\ntry:\n{lines}except Interrupted as error:\n    print(error.name)\n"
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert time.monotonic() - began < 6
    return done.stdout


@pytest.mark.parametrize("where", [IN_A_FINALIZER, IN_A_WEAK_REFERENCE], ids=["finalizer", "weak reference"])
def test_where_python_ignores_exceptions_a_signal_is_not_lost(where: str) -> None:
    assert interrupted(where + WAIT) == "SIGTERM\n"


def test_then_too_a_deferred_block_ends_first() -> None:
    assert interrupted(IN_A_FINALIZER + WHILE_DEFERRED) == "the block has ended\nSIGTERM\n"


def test_the_second_of_two_signals_that_arrive_together_is_ignored() -> None:
    """As in a worker that gets one from the terminal and one from its parent: Python sees both at the same time."""
    assert interrupted(BOTH_AT_ONCE + WAIT) == "SIGINT\n"


def test_one_that_arrives_as_the_run_has_ended_is_ignored() -> None:
    assert interrupted("interruptions.uninstall()\nsend()\nprint('the end')") == "the end\n"


FORKING = """
from django.conf import settings
settings.configure()
from tutor_transform_logs.lms_job.work import processes

with processes.Workers() as workers:
    {setup}
    try:
        workers.start(lambda channel: time.sleep(30))
        while workers:
            print(*(message.code for _, message in workers.receive()))
        send()
    finally:
        workers._end_all()
        print([worker.process.is_alive() for worker in workers._running])
"""


@pytest.mark.parametrize("step", ["_die_with", "Channel"])
def test_a_worker_that_is_interrupted_while_it_starts_ends_and_says_nothing(step: str) -> None:
    setup = f"processes.{step} = send"
    assert interrupted(FORKING.format(setup=setup)) == "0\n[]\nSIGTERM\n"


def test_a_parent_that_is_interrupted_as_it_forks_ends_the_worker() -> None:
    setup = "known = processes._Worker; processes._Worker = lambda *worker: (send(), known(*worker))[1]"
    assert interrupted(FORKING.format(setup=setup)) == "[False]\nSIGTERM\n"


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_during_the_first_imports_ends_the_job(tmp_path: Path, name: str) -> None:
    (tmp_path / "argparse.py").write_text(
        f"import os, signal, time\nos.kill(os.getpid(), signal.{name})\ntime.sleep(30)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "tutor_transform_logs.lms_job", "check", "--config", "none"],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == f"Interrupted ({name}). Run the same command again.\n"
