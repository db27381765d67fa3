"""What every test has: the embedded LMS in this process, and real servers to send to."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import signal
import tempfile
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.harness import demo_lms, memory, tally
from tests.harness.registry import register, used_services

UNIT = Path(__file__).parent / "unit"

pytest_plugins = ["tests.harness.fixtures"]

# A busy machine is slow, which is not a failure; and in CI a run must not fail by the luck of the draw.
hypothesis.settings.register_profile(
    "tests",
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("tests")

# A shell starts what runs in the background with Ctrl-C ignored, and nohup ignores SIGHUP. All that the tests
# start would inherit it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Temporary files of the tests and of all they start: what a killed job leaves there goes with it. Pytest's own folders
# stay, to be looked at.
os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
# A short name: the path of a Unix socket in it can have 107 bytes, and xdist's workers have a folder in this one.
_workspace = tempfile.TemporaryDirectory(prefix="tl-", ignore_cleanup_errors=True)
Path(_workspace.name).chmod(0o755)  # users in containers have files of their own in it
os.environ["TMPDIR"] = tempfile.tempdir = _workspace.name


def pytest_collect_file(file_path: Path) -> None:
    """Start Django before a test module is imported that may import ERB: all but those of ``tests/unit``."""
    if file_path.name.startswith("test_") and UNIT not in file_path.parents:
        demo_lms.activate(Path(_workspace.name) / "in-process.sqlite3")


def pytest_unconfigure() -> None:
    """Take the database of this process away, and the temporary files."""
    _workspace.cleanup()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In a worker of pytest-xdist: hand what is counted to the process that prints the summary."""
    if hasattr(session.config, "workeroutput"):
        counted = {"services": used_services(), "tally": tally.counts(), "said": tally.said(), "memory": memory.peaks()}
        session.config.workeroutput |= counted


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A worker of pytest-xdist has ended: add what it counted. (One that crashed has nothing to say.)"""
    output = getattr(node, "workeroutput", {})
    for service in output.get("services", []):
        register(service)
    for kind, count in output.get("tally", {}).items():
        tally.add(kind, count)
    for line in output.get("said", []):
        tally.say(line)
    memory.add(output.get("memory", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what the fault suite tried, how much memory jobs took, and what the tests ran under and against."""
    for line in filter(None, [*tally.said(), tally.summary(), memory.summary()]):
        terminalreporter.write_line(line)
    used = used_services()
    erb = importlib.metadata.version("edx-event-routing-backends")
    terminalreporter.write_line(f"ran under Python {platform.python_version()} with event-routing-backends {erb}")
    terminalreporter.write_line(f"real services used: {', '.join(used) if used else 'none'}")


@pytest.fixture(scope="session")
def lms() -> None:
    """The embedded LMS in this process, with 50 users and 5 courses in its database."""
    from tutor_demo_lms import seed  # type: ignore[import-not-found, unused-ignore]

    seed.migrate()
    seed.seed()
