"""Start a server as a process of its own, wait until it answers, stop it for sure."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_POLL_SECS = 0.05
_STOP_SECS = 10


class ServiceError(RuntimeError):
    """A real service is not available. Tests fail on it: they never skip."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now, for servers that can't choose one themselves.

    It is none of those that the kernel gives to whoever asks for any: no connection takes it before the server does.
    """
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10_000, max(first, 32_768))
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def answers_http(url: str) -> bool:
    """Whether something answers HTTP there, whatever the status."""
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False


def listens(port: int) -> bool:
    """Whether something accepts connections on this port of 127.0.0.1."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2):
        return True
    return False


def wait_for(condition: Callable[[], Any], timeout_secs: float = 120, poll_secs: float = _POLL_SECS) -> Any:
    """Ask until the answer is true, and give it."""
    deadline = time.monotonic() + timeout_secs
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"still not so after {timeout_secs:g} s"
        time.sleep(poll_secs)
    return answer


def _die_with_parent() -> None:
    # Should the test run be killed outright, its servers must not outlive it.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop a process started with its own session, and whatever it has started."""
    for sign in signal.SIGTERM, signal.SIGKILL:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        try:
            process.wait(_STOP_SECS)
        except subprocess.TimeoutExpired:
            continue
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def tail(log: Path, lines: int = 25) -> str:
    """The last lines of a server's log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else "(no log)"


@contextlib.contextmanager
def running(
    name: str,
    command: Sequence[str | Path],
    *,
    ready: Callable[[], bool],
    log: Path,
    environment: Mapping[str, str] | None = None,
    timeout_secs: float = 60,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the block ends.

    :param ready: asked until it says yes; it must not raise.
    :param log: gets the server's output, and is quoted when it fails.
    :raises ServiceError: the server ended or was not ready in time.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
    try:
        deadline = time.monotonic() + timeout_secs
        while not ready():
            if process.poll() is not None:
                raise ServiceError(f"{name} ended with status {process.returncode}:\n{tail(log)}")
            if time.monotonic() > deadline:
                raise ServiceError(f"{name} was not ready after {timeout_secs:g} s:\n{tail(log)}")
            time.sleep(_POLL_SECS)
        yield process
    finally:
        stop(process)
