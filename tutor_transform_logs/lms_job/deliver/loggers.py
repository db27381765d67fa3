"""The loggers ``xapi_tracking`` and ``caliper_tracking``: every run writes to them, a dry run to nothing else."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ..model.delivery import Outcome, OutgoingStatement, SourcedStatement

NAMES = {"xapi": "xapi_tracking", "caliper": "caliper_tracking"}


class StatementLogger:
    """Writes every statement to the logger of its type, as ERB's processors do (XApiProcessor.transform_event)."""

    def __init__(self, transformer_type: str, enabled: bool) -> None:
        self._type = transformer_type
        self._logger = logging.getLogger(NAMES[transformer_type])
        self._enabled = enabled

    def write(self, made: Sequence[SourcedStatement]) -> None:
        if not self._enabled or not self._logger.isEnabledFor(logging.INFO):
            return
        for record in self._records(map(self._text, made)):
            self._logger.handle(record)

    def _records(self, texts: Iterable[str]) -> Iterator[logging.LogRecord]:
        """The records that ``logger.info()`` makes, but faster.

        The caller is not looked up, and the process and the thread are looked up only once.
        """
        logger = self._logger
        plain = logging.getLogRecordFactory() is logging.LogRecord
        pattern: dict[str, Any] = {}
        for text in texts:
            if not plain or not pattern:
                record = logger.makeRecord(logger.name, logging.INFO, __file__, 0, text, (), None, "write")
                # Copied before a filter or a handler adds to the record.
                pattern = dict(vars(record))
            else:
                record = logging.LogRecord.__new__(logging.LogRecord)
                vars(record).update(pattern)
                now = time.time()
                record.msg, record.created, record.msecs = text, now, float(int(now % 1 * 1000))
                record.relativeCreated += (now - pattern["created"]) * 1000
            yield record

    def _text(self, made: SourcedStatement) -> str:
        """ERB logs a Caliper event without its envelope."""
        if self._type == "caliper":
            return json.dumps(made.statement.fields["data"][0])
        return made.statement.body.decode("ascii")


class Loggers:
    """The destination of a dry run: what is logged counts as stored, and nothing is sent."""

    id = "loggers"

    def __init__(self, transformer_type: str) -> None:
        self.name = f"logger {NAMES[transformer_type]} (dry run)"

    def route(self, made: SourcedStatement) -> bytes | None:
        return made.statement.body

    def deliver(self, batch_name: str, outgoing: Sequence[OutgoingStatement]) -> Outcome:
        return Outcome(stored=len(outgoing))


def open_logger(
    transformer_type: str, toggled_on: bool, dry_run: bool, wanted_on_console: bool, quiet: bool
) -> StatementLogger:
    """Set up the logger of the type for this run.

    ``toggled_on``: the state of ERB's own switch. A dry run logs every statement, whatever this switch and the LMS's
    logging settings say. ``wanted_on_console``: the user asked to see the statements. Otherwise a run that is not dry
    hides them on terminals; ``quiet`` hides them in dry runs, too, and also on standard streams that are redirected.
    """
    logger = logging.getLogger(NAMES[transformer_type])
    if dry_run:
        if not logger.isEnabledFor(logging.INFO):
            logger.setLevel(logging.INFO)
        if not logger.hasHandlers():
            logger.addHandler(logging.StreamHandler(sys.stdout))
    if not wanted_on_console and (quiet or not dry_run):
        _mute_console(logger, terminals_only=not quiet)
    return StatementLogger(transformer_type, toggled_on or dry_run)


def _mute_console(logger: logging.Logger, terminals_only: bool) -> None:
    """Keep this logger's records away from handlers that write to a terminal or, on request, a standard stream."""
    current: logging.Logger | None = logger
    while current is not None:
        for handler in current.handlers:
            stream: Any = getattr(handler, "stream", None)
            on_console = stream in (sys.stdout, sys.stderr) and not terminals_only
            if on_console or (stream is not None and hasattr(stream, "isatty") and stream.isatty()):
                handler.addFilter(lambda record: record.name != logger.name)
        current = current.parent if current.propagate else None
