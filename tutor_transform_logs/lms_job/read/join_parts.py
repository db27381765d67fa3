"""From the lines of an object to the lines of the log: without what collectors put around them, and with parts joined.

Lines that can't be read without each other (of one object of a collector; one in parts, and those between its parts)
stay together: reading can be resumed before and after them, not between them. A line in parts whose end does not come
is given up after :data:`WAIT_BYTES`, so what stays together is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ..model.records import Line, SkippedLines
from ..util.errors import ObjectGone
from .decompress import BrokenObject
from .wrappers import LinePart, is_event, is_event_of_its_own, unwrap

# How many bytes, and how many lines, may come between two parts of a line. The other stream of a container may write.
WAIT_BYTES = 1024**2
WAIT_LINES = 10_000


@dataclass
class _Begun:
    """A line of which some parts were read."""

    offset: int
    line: int
    """The offset of the object's line that holds its first part."""
    end: int
    """Where the object's line with its last part ends."""
    parts: list[bytes] = field(default_factory=list)
    kept: int = 0
    alone: bool = True
    """Nothing but parts of it was read since it began."""

    def add(self, text: bytes, end: int, limit: int) -> None:
        self.end = end
        if self.kept <= limit:
            self.parts.append(text)
            self.kept += len(text)


class PartsJoiner:
    """Takes the lines of an object in order, and gives those of the log."""

    def __init__(self, limit: int) -> None:
        """``limit``: as in :func:`~.lines.split_lines`."""
        self._limit = limit
        self._begun: dict[str, _Begun] = {}
        self._held: list[Line] = []
        self._start = self._end = 0
        self._lines = 0
        self._placed = -1

    @property
    def waiting(self) -> bool:
        """Is there a line whose last part was not read yet?"""
        return bool(self._begun)

    def add(self, line: Line) -> list[Line]:
        """The lines that can be read once ``line`` is known, in order; their numbers are still the object's."""
        pieces = None if line.overlong else unwrap(line.raw)
        if pieces is None and not self._begun:
            return [line]
        if pieces is not None and len(pieces) == 1 and not self._begun and pieces[0].ends:
            return [line._replace(raw=pieces[0].text, unwrapped=True)]
        if not self._begun:
            self._start = line.offset
        self._lines += 1
        self._end = line.end
        if pieces is None:
            self._hold(line, None)
        for piece in pieces or ():
            self._take(line, piece)
        self._give_up(line.end)
        return [] if self._begun else self._release(line.unterminated)

    def end(self) -> list[Line]:
        """What is left at the end of the object: the last line may still be written."""
        if not self._begun:
            return []
        [*others, last] = sorted(self._begun.values(), key=lambda begun: begun.offset)
        if not others and last.alone and last.offset == last.line:
            self._held.append(self._joined(last)._replace(unwrapped=False))
            return self._release(unterminated=True)
        for begun in (*others, last):
            self._held.append(self._joined(begun))
        return self._release(unterminated=False)

    def broken(self) -> list[Line]:
        """The whole lines that are left where the object can't be read any further."""
        return self._release(unterminated=False)

    def _take(self, line: Line, piece: LinePart) -> None:
        begun = self._begun.get(piece.stream) if piece.stream else None
        if begun is None:
            if piece.ends or (piece.ends is None and is_event(piece.text)):
                self._hold(line, piece)
                return
            self._interrupt(piece.stream)
            begun = self._begun[piece.stream] = _Begun(self._place(line, piece), line.offset, line.end)
            begun.alone = len(self._begun) == 1
            begun.add(piece.text, line.end, self._limit)
            return
        self._interrupt(piece.stream)
        before = begun.parts[:]
        begun.add(piece.text, line.end, self._limit)
        if piece.ends is False:
            return
        whole = piece.text.rstrip().endswith(b"}") and is_event(b"".join(begun.parts))
        if not whole and is_event_of_its_own(piece.text):
            # The writer of the first parts was interrupted; this is another line.
            begun.parts = before
            self._held.append(self._joined(self._begun.pop(piece.stream)))
            self._hold(line, piece)
        elif whole or piece.ends:
            self._held.append(self._joined(self._begun.pop(piece.stream)))

    def _interrupt(self, stream: str) -> None:
        for other, begun in self._begun.items():
            begun.alone = begun.alone and other == stream

    def _hold(self, line: Line, piece: LinePart | None) -> None:
        """A whole line, while there are others that it has to wait for."""
        self._interrupt("")
        if piece is None:
            self._held.append(line)
        else:
            self._held.append(Line(self._place(line, piece), line.end, 0, piece.text, unwrapped=True))

    def _place(self, line: Line, piece: LinePart) -> int:
        """Where the piece begins; no two lines begin at one place."""
        self._placed = max(line.offset + piece.at, self._placed + 1)
        return self._placed

    def _joined(self, begun: _Begun) -> Line:
        raw = b"".join(begun.parts)
        overlong = len(raw) > self._limit
        return Line(begun.offset, begun.end, 0, raw[: self._limit], overlong, unwrapped=True)

    def _give_up(self, end: int) -> None:
        """Wait no longer for what does not come."""
        late = [
            stream for stream, begun in self._begun.items() if end - begun.end > WAIT_BYTES or self._lines > WAIT_LINES
        ]
        for stream in late:
            self._held.append(self._joined(self._begun.pop(stream)))

    def _release(self, unterminated: bool) -> list[Line]:
        """The lines that were held, each up to where the next one begins."""
        held, self._held = sorted(self._held), []
        self._begun, self._lines = {}, 0
        released = []
        for index, line in enumerate(held):
            last = index == len(held) - 1
            end = self._end if last else held[index + 1].offset
            place = line._replace(offset=line.offset if index else self._start, end=end)
            released.append(place._replace(follows=index > 0, unterminated=unterminated and last))
        return released


def join_parts(lines: Iterable[Line | SkippedLines], limit: int) -> Iterator[Line | SkippedLines]:
    """The lines of the log that are in ``lines``, those of an object. They are numbered from the first one's number.

    Lines that were skipped were lines of the log already, or one each in what a collector wrote.
    """
    joiner = PartsJoiner(limit)
    number = 0
    try:
        for line in lines:
            number = number or line.number
            if isinstance(line, SkippedLines) and not joiner.waiting:
                yield line if line.number == number else line._replace(number=number)
                number += line.lines
                continue
            for joined in _added(joiner, line):
                yield joined if joined.number == number else joined._replace(number=number)
                number += joined.lines if isinstance(joined, SkippedLines) else 1
    except (BrokenObject, ObjectGone):
        yield from _numbered(joiner.broken(), number)
        raise
    yield from _numbered(joiner.end(), number)


def _added(joiner: PartsJoiner, line: Line | SkippedLines) -> Iterator[Line | SkippedLines]:
    """Of lines that were skipped, those are examined that come while others wait for their last parts."""
    if not isinstance(line, SkippedLines):
        yield from joiner.add(line)
        return
    rest: SkippedLines | None = line
    while rest is not None and joiner.waiting:
        first, rest = rest.cut(1)
        raw = first.text[first.at : first.stop - 1].removesuffix(b"\r")
        yield from joiner.add(Line(first.start, first.end, first.number, raw))
    if rest is not None:
        yield rest


def _numbered(lines: Iterable[Line], number: int) -> Iterator[Line]:
    for count, line in enumerate(lines):
        yield line._replace(number=number + count)
