"""What can end a run before its end. Each carries the one line that its reader needs, and the exit status it means."""

from __future__ import annotations

DONE = 0
FAILED = 1
REJECTED = 3
STOPPED = 4


class JobError(Exception):
    """The run can't go on; ``str()`` says what, where and what to do."""

    status = FAILED


class PermanentError(JobError):
    """Something answers, and says no (credentials, a missing container): trying again won't help."""


class NoContainer(PermanentError):
    """The container does not exist."""


class Unavailable(JobError):
    """Something does not answer, after all the tries that the settings allow: run again to resume."""

    status = STOPPED


class ObjectGone(Exception):
    """A source object can't be read any more as it was planned: deleted, shrunk or replaced."""
