"""Kept-alive HTTP sessions of one process to one server: one for each request in flight."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import requests


class Sessions:
    """Sends each request over a session that no other thread uses meanwhile."""

    def __init__(self, make: Callable[[], requests.Session]) -> None:
        self._make = make
        self._idle: list[requests.Session] = []

    def request(self, *arguments: Any, **more: Any) -> requests.Response:
        """As :meth:`requests.Session.request`."""
        try:
            # The one that was used last: its connection is the most likely to be open still.
            session = self._idle.pop()
        except IndexError:
            session = self._make()
        try:
            return session.request(*arguments, **more)
        finally:
            self._idle.append(session)
