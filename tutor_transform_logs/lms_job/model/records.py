"""What one line of a log becomes: a line, an event, a statement. Pure values.

They are named tuples, as all values of which there is one a line: made in a quarter of a frozen dataclass's time.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple


class Position(NamedTuple):
    """Where a line begins: its offset in the bytes of the decompressed object, and its number, counted from 1."""

    offset: int
    number: int


START = Position(0, 1)


class Line(NamedTuple):
    """One line, without its line end. ``offset`` counts bytes of the decompressed object, ``number`` from 1.

    Of what a collector wrote, it is the line in it: ``offset`` is where the collector's line begins, ``raw`` is the
    line of the log, and ``number`` counts the lines of the log.
    """

    offset: int
    end: int
    number: int
    raw: bytes
    overlong: bool = False
    """Longer than the limit; ``raw`` holds the bytes up to the limit."""
    unterminated: bool = False
    """The object ends here without a newline: more of this line may be written later."""
    unwrapped: bool = False
    """Taken out of what a collector wrote, which is whole: nothing more of this line will be written."""
    follows: bool = False
    """Can't be read without the line before it: a collector wrote both into one object, or they are in parts."""
    whole_at: int = 0
    """Of lines that stay together: who has read the object up to here knows the whole line. 0 where that is not known,
    and of a line of which more may be written later."""


class SkippedLines(NamedTuple):
    """Consecutive lines that no transformer wants. Never empty."""

    start: int
    number: int
    """Of the first line."""
    lines: int
    text: bytes
    """What holds the lines, and more."""
    at: int
    """Where in ``text`` they begin."""
    stop: int
    """Where in ``text`` the line after them begins."""
    names: Sequence[bytes] = ()
    """The names of their events, in the order of the lines. Those that are missing are page views, which most are."""
    count_names: Callable[[bytes], int] = len
    """How many names there are in some of the lines."""

    @property
    def end(self) -> int:
        return self.start + self.stop - self.at

    def ends(self) -> Iterator[int]:
        """The offset at which each line's successor begins. Rarely needed."""
        at = self.at
        for _ in range(self.lines):
            at = self.text.index(b"\n", at) + 1
            yield self.start + at - self.at

    def cut(self, count: int) -> tuple[SkippedLines, SkippedLines | None]:
        """The first ``count`` lines, and the rest of them."""
        if count >= self.lines:
            return self, None
        middle = next(itertools.islice(self.ends(), count - 1, None))
        stop = self.at + middle - self.start
        # Only where a batch ends among them.
        named = self.count_names(self.text[self.at : stop]) if self.names else 0
        first = self._replace(lines=count, stop=stop, names=self.names[:named])
        rest = self._replace(
            start=middle,
            number=self.number + count,
            lines=self.lines - count,
            at=stop,
            names=self.names[named:],
        )
        return first, rest


class Event(NamedTuple):
    """A parsed event: its name (``""`` if it has none) and its fields in the form of the live pipeline."""

    name: str
    fields: Mapping[str, Any]


class Statement(NamedTuple):
    """An xAPI statement or a Caliper envelope, as data and serialised."""

    id: str
    body: bytes
    timestamp: datetime | None = None
    """That of the body, where it is known without parsing it."""
    wire_body: bytes | None = None
    """What ERB's LRS client posts for it, where that is already known: mostly the body (see ``deliver/wire_form``)."""

    @property
    def fields(self) -> Mapping[str, Any]:
        """As data. Rarely needed."""
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
