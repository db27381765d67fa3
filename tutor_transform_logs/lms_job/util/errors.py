"""Errors that end a run, and the exit statuses they lead to.

* JobError                the run can't go on (configuration, a bug in the LMS's settings): FAILED
  + PermanentError        something answered and refused (credentials, a wrong URL); another try fails, too: FAILED
    - NoContainer         the container (bucket) does not exist
    - ObjectUnreadable    an object exists and can't be read
  + Unavailable           something did not answer, after every try that the settings allow: STOPPED
    - LimitReached        the run has done as much as the settings let one run do
* TransientError          one try failed, the next may succeed: only what tries it again catches it
* ObjectGone              a source object can't be read as planned; the run goes on with the others

The text of a ``JobError`` is one line for the operator: what happened, to what, and what to do next.
"""

from __future__ import annotations

import re
from enum import IntEnum


class ExitStatus(IntEnum):
    """How a run ended. Every text about exit statuses is made from these members."""

    summary: str
    """A short text to put after the number."""
    next_step: str
    """What to do about it; empty if there is nothing to do."""
    meaning: str
    """What exactly leads to it, in sentences. Names of settings are written out."""

    def __new__(cls, value: int, summary: str = "", next_step: str = "", meaning: str = "") -> ExitStatus:
        member = int.__new__(cls, value)
        member._value_ = value
        member.summary, member.next_step, member.meaning = summary, next_step, meaning
        return member

    DONE = (
        0,
        "done",
        "",
        "All delivered. Dead letters of lines that can't be read or transformed are reported and are not a failure, "
        "unless TRANSFORM_LOGS_STRICT is on.",
    )
    FAILED = (
        1,
        "failed",
        "Fix what the message names and run the same command again.",
        "A setting is wrong, a service refused (credentials, a container that does not exist), or there is a bug. "
        "Running it again without a change fails again.",
    )
    REJECTED = (
        3,
        "done, but some statements were rejected, or some logs could not be read",
        "The last lines of the output say which, and what to do.",
        "The destination rejected some statements, an object could not be read to its end, a log may be a copy or "
        "another log and was left out, an object is not a tracking log, or there are dead letters and "
        "TRANSFORM_LOGS_STRICT is on.",
    )
    STOPPED = (
        4,
        "stopped before the end",
        "Run the same command again to resume.",
        "The destination, the source or the database stayed unavailable, the disk is full, there are more "
        "dead letters than TRANSFORM_LOGS_MAX_DEAD_LETTERS, or the run was interrupted.",
    )

    def __str__(self) -> str:
        return str(self.value)


class JobError(Exception):
    """The run can't go on; ``str()`` says what happened, to what, and what to do next."""

    status = ExitStatus.FAILED


class PermanentError(JobError):
    """Something answered and refused (credentials, a missing container): trying again won't help."""


class NoContainer(PermanentError):
    """The container does not exist."""


class ObjectUnreadable(PermanentError):
    """An object exists and can't be read. It must never count as missing: a job without a ledger starts over.

    ``detail``: what happened, without what to do next.
    """

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail or message


class Unavailable(JobError):
    """Something does not answer, after every try that the settings allow: run again to resume.

    ``is_busy``: as for :class:`TransientError`.
    """

    status = ExitStatus.STOPPED

    def __init__(self, message: str, is_busy: bool = False) -> None:
        super().__init__(message)
        self.is_busy = is_busy


class LimitReached(Unavailable):
    """The run has done as much as the settings let one run do."""


def without_resuming(text: str) -> str:
    """An error's text without "run again to resume": for a run that would fail again, or has nothing to resume."""
    return re.sub(r"(\.)? (and run|Run) again to resume\.$", ".", text)


class TransientError(Exception):
    """One try failed, and the next may succeed: no answer, 503, a broken connection. ``str()`` says what happened.

    ``retry_after_secs``: how long the server asks to be left alone, 0.0 if it says nothing. ``is_busy``: it works, and
    only takes no more requests for now (429). ``trouble``: ``what`` without the object that it happened to.
    """

    def __init__(self, what: str, retry_after_secs: float = 0.0, is_busy: bool = False, trouble: str = "") -> None:
        super().__init__(what)
        self.trouble = trouble or what
        self.retry_after_secs = retry_after_secs
        self.is_busy = is_busy


class ObjectGone(Exception):
    """A source object can't be read any more as it was planned: deleted, shrunk or replaced."""
