"""The real services that tests have started, for the last line of a test run."""

from __future__ import annotations

_used: list[str] = []


def register(name_and_version: str) -> None:
    """Note that this service has started."""
    if name_and_version not in _used:
        _used.append(name_and_version)


def used_services() -> list[str]:
    """The services that have started, in that order."""
    return list(_used)
