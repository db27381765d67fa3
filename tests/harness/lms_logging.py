"""``LOGGING`` as the LMS of a Tutor site has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def tutor_logging(folder: Path, handlers: Mapping[str, Any] | None = None, on: Sequence[str] = ()) -> dict[str, Any]:
    """edx-platform's ``get_logger_config`` with the changes of Tutor's ``common_all.py``, files in ``folder``.

    :param handlers: further ones, of the site.
    :param on: the names of those handlers that the site attached to the logger ``xapi_tracking``.
    """
    site = {"xapi_tracking": {"handlers": list(on), "level": "INFO"}} if on else {}
    file = {"class": "logging.handlers.WatchedFileHandler", "formatter": "standard"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "standard": {
                "format": "%(asctime)s %(levelname)s %(process)d [%(name)s] %(filename)s:%(lineno)d - %(message)s"
            },
            "raw": {"format": "%(message)s"},
        },
        "handlers": {
            "console": {
                "level": "INFO",
                "class": "logging.StreamHandler",
                "formatter": "standard",
                "stream": "ext://sys.stderr",
            },
            "local": {**file, "level": "INFO", "filename": str(folder / "all.log")},
            "tracking": {**file, "level": "DEBUG", "filename": str(folder / "tracking.log")},
            **(handlers or {}),
        },
        "loggers": {
            "tracking": {"handlers": ["console", "local", "tracking"], "level": "DEBUG", "propagate": False},
            "": {"handlers": ["console", "local"], "level": "DEBUG", "propagate": False},
            **site,
        },
    }
