"""Where the job's output goes: results to standard output, everything else to standard error. As text or as JSON lines.

One for the process, as the standard streams are. Workers speak through their parent.
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import IO

from .backoff import Waiting
from .doing import Doing
from .formatting import printable_lines, wrapped
from .secrets import hide_known

TEXT_FORMAT, JSON_FORMAT = "text", "json"
LOG_FORMATS = (TEXT_FORMAT, JSON_FORMAT)
INFO, WARNING, ERROR = "info", "warning", "error"
LOGGER = "tutor_transform_logs"

MAX_COLUMNS = 100

Fields = Mapping[str, object]


@dataclass
class ConsoleState:
    log_format: str = TEXT_FORMAT
    quiet: bool = False


_state = ConsoleState()


def set_up(log_format: str, quiet: bool) -> None:
    """``quiet``: only results, warnings and errors from now on."""
    _state.log_format, _state.quiet = log_format, quiet


def has_terminal() -> bool:
    """May progress be drawn, for a person at a terminal?"""
    return _state.log_format == TEXT_FORMAT and not _state.quiet and sys.stderr.isatty()


def columns() -> int | None:
    """The width that results have on the terminal; ``None`` off a terminal, where nothing needs to be wrapped."""
    return min(shutil.get_terminal_size().columns, MAX_COLUMNS) if sys.stdout.isatty() else None


def say(message: str, event: str = "message", level: str = INFO, fields: Fields | None = None) -> None:
    """What is going on. ``event`` and ``fields`` are for programs."""
    if not _state.quiet or level != INFO:
        _write(sys.stderr, message, event, level, {"message": message, **(fields or {})})


def error(message: str, status: int) -> None:
    """What ends the run."""
    say(message, "error", ERROR, {"status": status})


def tell_traceback() -> None:
    """Where the exception that is being handled came from."""
    say(hide_known(traceback.format_exc().rstrip()), "traceback", ERROR)


def result(text: str, event: str, level: str = INFO, fields: Fields | None = None) -> None:
    """What was asked for: ``text`` for people, ``fields`` for programs."""
    _write(sys.stdout, text, event, level, fields or {"message": text})


def _write(stream: IO[str], text: str, event: str, level: str, fields: Fields) -> None:
    if _state.log_format == JSON_FORMAT:
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        text = json.dumps({"time": now, "level": level, "event": event, **fields})
    else:
        # Names and answers come from outside: what would be an escape sequence to a terminal is shown as text.
        text = printable_lines(text)
        if level != ERROR and stream.isatty():
            text = "\n".join(map(_fitted, text.split("\n")))
    print(text, file=stream, flush=True)


def _fitted(line: str) -> str:
    """Wrapped, unless it is indented: a row of a table, or a command or a statement that is to be copied."""
    return line if line.startswith(" ") else wrapped(line, shutil.get_terminal_size().columns)


def tell_wait(waiting: Waiting) -> None:
    """What a wait is, outside of the progress, which it is a part of."""
    if not _state.quiet:
        say(str(waiting), "waiting", WARNING, {"seconds": round(waiting.secs, 1)})


def show_log(
    say: Callable[[str], None], wait: Callable[[Waiting], None], do: Callable[[Doing], None] = lambda _doing: None
) -> None:
    """Have the job's own log told by ``say``, its waits by ``wait``, and what it is doing by ``do``."""

    class ToConsole(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            waiting, doing = getattr(record, "waiting", None), getattr(record, "doing", None)
            if isinstance(waiting, Waiting):
                wait(waiting)
            elif isinstance(doing, Doing):
                do(doing)
            else:
                say(self.format(record))

    logger = logging.getLogger(LOGGER)
    logger.setLevel(logging.INFO)
    logger.handlers[:] = [ToConsole()]
    logger.propagate = False
