"""What one line of a log becomes on its way: a line, an event, a statement. Pure values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple


class Line(NamedTuple):
    """One line, without its line end. ``offset`` counts bytes of the decompressed object, ``number`` from 1.

    (A named tuple, as all values of which there is one a line: it is made in a quarter of a frozen dataclass's time.)
    """

    offset: int
    end: int
    number: int
    raw: bytes
    overlong: bool = False
    """Longer than the limit; ``raw`` holds the bytes up to the limit."""
    open: bool = False
    """The object ends here without a newline: more of this line may be written later."""


class Event(NamedTuple):
    """A parsed event: its name (``""`` if it has none) and its fields in the form of the live pipeline."""

    name: str
    fields: Mapping[str, Any]


class Statement(NamedTuple):
    """An xAPI statement or a Caliper envelope, as data and serialised."""

    id: str
    body: bytes

    @property
    def fields(self) -> Mapping[str, Any]:
        """As data; hardly anybody asks."""
        fields: dict[str, Any] = json.loads(self.body)
        return fields


def statement_id(fields: Mapping[str, Any]) -> str:
    """xAPI: the statement's id. Caliper: the id of the event in the envelope. ``""`` if there is none."""
    if "id" in fields:
        return str(fields["id"])
    data = fields.get("data")
    if isinstance(data, list) and data and isinstance(data[0], Mapping):
        return str(data[0].get("id", ""))
    return ""
