"""The LMS's logging while the job runs: it does not use the standard streams and the LMS's log file.

Tutor gives the LMS's root logger two handlers, the console (standard error) and the file ``all.log``, so what any
library logs at INFO would be among the job's messages. In the job's process, these handlers ignore all loggers except
those that the user asked for. Warnings become messages of the job.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection, Iterator
from typing import Any

from .console import LOGGER
from .formatting import printable
from .secrets import hide_known

MAX_WARNING_CHARACTERS = 500


class WarningsToJob(logging.Handler):
    """Has the job report a library's warning, once for each place in the code that gives it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._seen: set[object] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        # Python itself gives a warning once for each place, and all of them are logged from one.
        place = text if record.name == "py.warnings" else (record.pathname, record.lineno)
        if place in self._seen:
            return
        self._seen.add(place)
        text = hide_known(text)
        if len(text) > MAX_WARNING_CHARACTERS:
            text = f"{text[:MAX_WARNING_CHARACTERS]}..."
        logging.getLogger(LOGGER).log(record.levelno, "%s: %s", record.name, printable(text))


def take_over(exempt: Collection[str]) -> None:
    """Keep records from the handlers that are the LMS's own, but for those of the loggers named in ``exempt``.

    These are the handlers of the root logger, and those of any logger that write to a standard stream or a terminal.
    Has to be called again when the LMS's logging was configured, which replaces handlers.
    """
    root = logging.getLogger()
    root.handlers = [handler for handler in root.handlers if not isinstance(handler, WarningsToJob)]
    for handler in {*_handlers()}:
        if handler in root.handlers or _writes_to_console(handler):
            handler.addFilter(lambda record: record.name in exempt)
    root.addHandler(WarningsToJob())
    logging.captureWarnings(True)


def _handlers() -> Iterator[logging.Handler]:
    """Of all loggers but the job's own."""
    root = logging.getLogger()
    for logger in (root, *root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger) and logger.name != LOGGER:
            yield from logger.handlers


def _writes_to_console(handler: logging.Handler) -> bool:
    """Does it write to a standard stream, or to a terminal?"""
    stream: Any = getattr(handler, "stream", None)
    if stream in (sys.stdout, sys.stderr):
        return True
    # A closed stream can't be asked.
    return bool(hasattr(stream, "isatty") and not getattr(stream, "closed", False) and stream.isatty())
