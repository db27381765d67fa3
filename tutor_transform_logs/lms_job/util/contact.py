"""The first contact with a server: an address at which nobody has ever answered is a typo, and not an outage.

Where a run, this one or an earlier one, has reached the server, the job waits for it. Otherwise it would wait for ten
minutes for a host that does not exist.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

CONNECTION_REFUSED = "connection refused"
NO_SUCH_HOST = "no such host"
# What the resolver says of a name that does not exist. EAI_AGAIN is a name server that does not answer.
UNKNOWN_NAMES = {socket.EAI_NONAME, socket.EAI_NODATA}

# The servers that have answered to this process, or to the one that it was forked from.
_answered: set[str] = set()


class Contact:
    """What is known of the server at one address."""

    def __init__(self, address: str, answered_before: Callable[[], bool] = lambda: False) -> None:
        """``answered_before``: has it answered to an earlier run? Asked only if nobody answers now."""
        self._address = address
        self._answered_before = answered_before

    def made(self) -> None:
        """The server has answered."""
        _answered.add(self._address)

    def is_typo(self, error: BaseException) -> bool:
        """Does ``error`` say that nobody is at the address, where nobody has ever been?"""
        return bool(why_unreachable(error)) and self._address not in _answered and not self._answered_before()


def why_unreachable(error: BaseException) -> str:
    """:data:`CONNECTION_REFUSED` or :data:`NO_SUCH_HOST`, if an HTTP library's error comes from that; else ``""``."""
    for cause in _causes(error, set()):
        if isinstance(cause, ConnectionRefusedError):
            return CONNECTION_REFUSED
        if isinstance(cause, socket.gaierror) and cause.errno in UNKNOWN_NAMES:
            return NO_SUCH_HOST
    return ""


def _causes(error: BaseException, seen: set[int]) -> Iterator[BaseException]:
    """An error and all that it was made of. Libraries differ in where they keep that."""
    if id(error) in seen:
        return
    seen.add(id(error))
    yield error
    for cause in (*error.args, getattr(error, "reason", None), error.__cause__, error.__context__):
        if isinstance(cause, BaseException):
            yield from _causes(cause, seen)
