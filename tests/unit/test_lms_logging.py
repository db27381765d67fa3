"""The LMS's logging in the job's process: its consoles and its log file take nothing; warnings are reported."""

from __future__ import annotations

import io
import logging
import sys
import warnings
from collections.abc import Iterator

import pytest

from tutor_transform_logs.lms_job.util import console, lms_logging


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record.getMessage())


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger with no handlers but those of the test; the job's logger as it was."""
    root, job = logging.getLogger(), logging.getLogger(console.LOGGER)
    before = (root.handlers, root.level, job.handlers, job.level, job.propagate)
    root.handlers, job.handlers = [], []
    root.setLevel(logging.DEBUG)
    yield root
    logging.captureWarnings(False)
    # Pytest's own are among them while a test runs, and last longer than it.
    for handler in root.handlers:
        handler.filters.clear()
    root.handlers, _, job.handlers, _, job.propagate = before
    root.setLevel(before[1])
    job.setLevel(before[3])


@pytest.fixture
def said(root: logging.Logger) -> list[str]:
    """What the job says."""
    said: list[str] = []
    console.show_log(said.append, lambda waiting: None)
    return said


def test_handlers_of_the_root_logger_take_only_exempt_records(root: logging.Logger, said: list[str]) -> None:
    kept = Kept()
    root.addHandler(kept)
    lms_logging.take_over(["asked.for"])
    logging.getLogger("asked.for").info("a statement")
    logging.getLogger("a.library").info("not this")
    logging.getLogger("a.library").error("nor this")
    assert kept.records == ["a statement"]
    assert said == ["a.library: nor this"]


def test_so_do_handlers_on_the_console_wherever_they_are(root: logging.Logger, said: list[str]) -> None:
    logger = logging.getLogger("a.logger.with.handlers")
    streams, file = [sys.stderr, sys.stdout, Terminal()], io.StringIO()
    on_console = [logging.StreamHandler(stream) for stream in streams]
    closed = io.StringIO()
    closed.close()
    logger.handlers = [*on_console, logging.StreamHandler(file), logging.StreamHandler(closed)]
    try:
        lms_logging.take_over(())
        logger.handlers.pop()
        logger.warning("seen")
        assert file.getvalue() == "seen\n"
        record = logger.makeRecord(logger.name, logging.WARNING, "", 1, "seen", (), None)
        assert not any(handler.filter(record) for handler in on_console)
        assert said == ["a.logger.with.handlers: seen"]
    finally:
        logger.handlers = []


def test_a_place_in_the_code_warns_once(root: logging.Logger, said: list[str]) -> None:
    lms_logging.take_over(())
    lms_logging.take_over(())
    for number in range(3):
        logging.getLogger("a.library").warning("number %d\n%s", number, "x" * 1000)
    assert len(said) == 1
    assert said[0].startswith("a.library: number 0\\nxxx")
    assert len(said[0]) < 600


def test_warnings_of_python_are_reported_too(root: logging.Logger, said: list[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        lms_logging.take_over(())
        for text in ("this", "this", "that"):
            warnings.warn(f"do not do {text}", stacklevel=1)
        logging.captureWarnings(False)
    assert ["do not do this" in said[0], "do not do that" in said[1], len(said)] == [True, True, 2]
