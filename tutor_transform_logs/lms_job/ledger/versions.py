"""Ledgers of earlier versions, read as if this version had written them.

CONTRIBUTING.rst says what a change of the format takes: a higher :data:`VERSION`, an entry in :data:`UPGRADES`, and a
ledger of the version before as a fixture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

VERSION = 5

Values = dict[str, Any]


def upgraded(values: Values) -> Values:
    """The values of a ledger object in the present form. ``values`` are as read, with their ``version``.

    Raises :class:`UnknownVersion` for one of a later release, ``ValueError``, ``KeyError``, ``TypeError`` or
    ``AttributeError`` for what no release has written.
    """
    version = values.pop("version", None)
    while version != VERSION:
        if not isinstance(version, int) or (version < VERSION and version not in UPGRADES):
            raise ValueError("it names no version")
        if version > VERSION:
            raise UnknownVersion(version)
        values = UPGRADES[version](values)
        version += 1
    return values


class UnknownVersion(Exception):
    """A later release wrote the ledger, and this one can't read it."""

    def __init__(self, version: int) -> None:
        super().__init__(version)
        self.version = version


def _renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> Values:
    return {names.get(name, name): value for name, value in values.items()}


# Notes that decide what happens to an object, and so have to read as this version writes them.
_NOTES_OF_VERSION_1 = {
    "by its name's date outside since and until: not opened": (
        "outside since and until by the date in its name: not opened"
    ),
    "begins like another compressed object in this plan: looked at again in the next run": (
        "starts like another compressed object in this plan: checked again in the next run"
    ),
}


def _from_version_1(values: Values) -> Values:
    """Version 1 had other names for some fields, and a flag where a plan has its kind."""
    if "contents" in values:
        values["contents"] = [_renamed(content, {"ends_open": "unterminated"}) for content in values["contents"]]
        names = {"after_open_line": "after_unterminated_line"}
        values["segments"] = [_renamed(segment, names) for segment in values["segments"]]
        values["objects"] = [
            {**obj, "note": _NOTES_OF_VERSION_1.get(obj["note"], obj["note"])} for obj in values["objects"]
        ]
        values["kind"] = "redelivery" if values.pop("retries") else "replay"
    elif "counts" in values:
        values = _renamed(values, {"ends_open": "unterminated", "history": "activity"})
        values["counts"] = _renamed(values["counts"], {"already_there": "duplicates"})
        values["activity"] = _renamed(values["activity"], {"tempo": "throughput"})
    return values


def _from_version_2(values: Values) -> Values:
    """Version 2 did not say of which plan an object is or how a log ends, and its plans had no uuid."""
    if "contents" in values:
        values["uuid"] = ""
        values["contents"] = [{**content, "tail": None} for content in values["contents"]]
    elif "counts" in values or "files" in values:
        values["plan"] = ""
    if "counts" in values:
        values["tail"] = ""
    return values


def _from_version_3(values: Values) -> Values:
    """Version 3 knew no archives."""
    if "contents" in values:
        values["archives"] = []
    return values


def _from_version_4(values: Values) -> Values:
    """Version 4 counted by type and by day alone."""
    if "counts" in values:
        values["activity"] |= {name: {} for name in ("hours", "skipped", "courses", "verbs", "workers")}
    return values


UPGRADES: dict[Any, Callable[[Values], Values]] = {
    1: _from_version_1,
    2: _from_version_2,
    3: _from_version_3,
    4: _from_version_4,
}
