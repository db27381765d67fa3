"""The loggers ``xapi_tracking`` and ``caliper_tracking``; and a dry run, which sends statements nowhere else."""

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


class DryRun:
    """The destination of a dry run: what is made counts as stored, and nothing is sent."""

    id = "loggers"
    traffic = None

    def __init__(self, transformer_type: str, log_statements: bool) -> None:
        where = f"logger {NAMES[transformer_type]}" if log_statements else "no destination"
        self.name = f"{where} (dry run)"
        self.names = (self.name,)

    def route(self, made: SourcedStatement) -> bytes | None:
        return made.statement.body

    def deliver(self, batch_name: str, outgoing: Sequence[OutgoingStatement]) -> Outcome:
        return Outcome(stored=len(outgoing))


def open_logger(transformer_type: str, toggled_on: bool, dry_run: bool, log_statements: bool) -> StatementLogger:
    """Set up the logger of the type for this run.

    ``toggled_on``: the state of ERB's own switch. With ``log_statements``, every statement is logged, whatever this
    switch says, and reaches all handlers that the LMS has set up. Otherwise, statements reach only the handlers of this
    logger itself. In a dry run, they reach none, because a handler may forward them to a store.
    """
    logger = logging.getLogger(NAMES[transformer_type])
    if not log_statements:
        logger.propagate = False
        return StatementLogger(transformer_type, toggled_on and not dry_run and bool(logger.handlers))
    if not logger.isEnabledFor(logging.INFO):
        logger.setLevel(logging.INFO)
    if not any(handler.level <= logging.INFO for handler in _handlers_reached(logger)):
        logger.addHandler(logging.StreamHandler(sys.stdout))
    return StatementLogger(transformer_type, True)


def _handlers_reached(logger: logging.Logger) -> Iterator[logging.Handler]:
    current: logging.Logger | None = logger
    while current is not None:
        yield from current.handlers
        current = current.parent if current.propagate else None
