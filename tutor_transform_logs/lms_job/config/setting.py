"""What a setting is: one row of the tables of settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..util.formatting import binary_size
from .validators import Validator

PREFIX = "TRANSFORM_LOGS_"

# Kinds of values, and the names of values in the command's help.
TEXT = "TEXT"
TEXTS = "TEXT..."
"""One text or a list of several."""
CHOICE = "CHOICE"
TIME = "TIME"
NUMBER = "NUMBER"
FLAG = "FLAG"
LIST = "LIST"
MAPPING = "MAPPING"

# Where a value is taken from and where it goes.
JOB = "job"
"""A setting and an option; goes into the job's config file."""
ONE_RUN = "one run"
"""An option only, since it makes sense for a single run; goes into the job's config file."""
HOST = "host"
"""A setting and an option of the host; the job does not get it."""
MANIFESTS = "manifests"
"""A setting only, since ``tutor config save`` writes it into the manifests; the job does not get it."""


@dataclass(frozen=True)
class Setting:
    """One row of the table."""

    key: str
    """The name in the job's config file; the Tutor setting is ``TRANSFORM_LOGS_`` and the key in capitals."""
    group: str
    """The title under which help and documentation list it."""
    kind: str
    meaning: str
    check: Validator
    default: Any = None
    """``None``: it depends on other settings; ``default_text`` says how."""
    default_text: str = ""
    """What a reader sees in place of the default."""
    secret: bool = False
    """It may hold a secret: it has no option, and its value is never printed."""
    masked: bool = False
    """It may hold a secret, so that its value is never printed. It has an option, for values that hold none."""
    metavar: str = ""
    """What stands for the value in the command's help, if not its kind."""
    offered: tuple[str, ...] = ()
    """The values that the shell completes; ``check`` decides what is allowed."""
    scope: str = JOB

    @property
    def name(self) -> str:
        return PREFIX + self.key.upper()

    @property
    def is_hidden(self) -> bool:
        """Is its value never to be printed?"""
        return self.secret or self.masked

    @property
    def option(self) -> str:
        return "--" + self.key.replace("_", "-")

    @property
    def shown_default(self) -> str:
        """The default as a reader should see it."""
        if self.default_text:
            return self.default_text
        if isinstance(self.default, bool):
            return str(self.default).lower()
        if self.default in (None, "", (), []):
            return "none"
        if self.key.endswith("_bytes"):
            return f"{self.default}, {binary_size(self.default)}"
        return f"{self.default:g}" if isinstance(self.default, float) else str(self.default)

    def value(self, given: Any) -> Any:
        """The checked value, or the default if ``given`` is empty. Raises :class:`.validators.ConfigError`."""
        if given is None or (given == "" and self.kind not in (TEXT, TEXTS, LIST, MAPPING)):
            return self.default
        return self.check(self.key, given)
