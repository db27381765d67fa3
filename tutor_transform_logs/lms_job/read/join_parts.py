"""From the lines of an object to the lines of the log: without what collectors put around them, and with parts joined.

Lines that can't be read without each other (of one object of a collector; one in parts, and those between its parts)
stay together: reading can be resumed before and after them, not between them. A line in parts whose end does not come
is given up after :data:`WAIT_BYTES`, so what stays together is bounded.

A log may end within lines that stay together, and grow later. Then all of them are read again, and
:attr:`~.records.Line.whole_at` tells which of them were whole before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ..model.records import Line, SkippedLines
from ..util.errors import ObjectGone
from .decompress import BrokenObject
from .wrappers import (
    PART_BYTES,
    LinePart,
    ends_by_itself,
    is_cut_off,
    is_event,
    is_event_of_its_own,
    may_be_first_part,
    unwrap,
)

# How many bytes, and how many lines, may come between two parts of a line. The other stream of a container may write.
WAIT_BYTES = 1024**2
WAIT_LINES = 10_000
# Of parts that are smaller than Docker's, and of which it is not known that they are parts.
MOST_SMALL_PARTS = 100


@dataclass
class _Begun:
    """A line of which some parts were read."""

    sure: bool
    """Its first part is known to be one. If it is not, and is not one by its size, the parts may be lines."""
    end: int = 0
    """Where the object's line with its last part ends."""
    parts: list[bytes] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    """Where each part begins."""
    kept: int = 0
    whole_at: int = 0
    """Where its parts became a whole event, if they have: what follows is white space at most."""

    def add(self, text: bytes, place: int, line: Line, limit: int) -> None:
        self.end = line.end
        if self.kept <= limit:
            self.parts.append(text)
            self.offsets.append(place)
            self.kept += len(text)
        if not self.whole_at and text.rstrip().endswith(b"}") and is_event(b"".join(self.parts)):
            self.whole_at = _content_end(line)

    def undo(self) -> None:
        """Its last part is another line."""
        self.kept -= len(self.parts.pop())
        self.offsets.pop()

    def is_in_full_parts(self) -> bool:
        """Is each part but the last as large as Docker makes them?"""
        return all(len(part) in PART_BYTES for part in self.parts[:-1])

    def may_go_on(self) -> bool:
        """May its last part, as far as that can be told, be one?"""
        if self.sure or self.is_in_full_parts():
            return True
        return len(self.parts) <= MOST_SMALL_PARTS and is_cut_off(b"".join(self.parts))


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
        if pieces and line.unterminated and not ends_by_itself(line.raw):
            # Of the last one, more may be written. If it is an event, it is whole.
            pieces[-1] = pieces[-1]._replace(ends=pieces[-1].ends and None)
        if pieces is None and not self._begun:
            return [line._replace(whole_at=0) if line.whole_at else line]
        if pieces is not None and len(pieces) == 1 and not self._begun and pieces[0].ends:
            return [line._replace(raw=pieces[0].text, unwrapped=True, whole_at=0)]
        if not self._begun:
            self._start = line.offset
        self._lines += 1
        self._end = line.end
        if pieces is None:
            self._hold(line, None)
        for piece in pieces or ():
            # Read as values, the line is whole up to there.
            self._take(line._replace(whole_at=line.offset + piece.end) if piece.end else line, piece)
        self._give_up(line)
        return [] if self._begun else self._release(line.unterminated)

    def end(self) -> list[Line]:
        """What is left where the object ends, or can't be read any further: the lines that are begun may go on."""
        for begun in self._begun.values():
            joined = self._joined(begun, begun.whole_at)
            self._held.append(joined if begun.whole_at else joined._replace(unterminated=True, unwrapped=False))
        return self._release(unterminated=False)

    def _take(self, line: Line, piece: LinePart) -> None:
        begun = self._begun.get(piece.stream) if piece.stream else None
        if begun is None:
            if piece.ends or (piece.ends is None and not self._may_begin(line, piece)):
                self._hold(line, piece)
                return
            begun = self._begun[piece.stream] = _Begun(sure=piece.ends is False)
            begun.add(piece.text, self._place(line, piece), line, self._limit)
            return
        was_kept = begun.kept <= self._limit
        begun.add(piece.text, self._place(line, piece), line, self._limit)
        if piece.ends is False:
            return
        if begun.whole_at:
            self._end_line(piece.stream, line)
        elif was_kept and is_event_of_its_own(piece.text):
            # The writer of the first parts was interrupted; this is another line.
            self._end_before(line, piece)
        elif piece.ends:
            self._end_line(piece.stream, line, ended=True)
        elif not line.unterminated and was_kept and not begun.may_go_on():
            # They were no parts.
            self._end_before(line, piece)
        elif not line.unterminated and begun.is_in_full_parts() and len(piece.text) not in PART_BYTES:
            self._end_line(piece.stream, line)

    def _may_begin(self, line: Line, piece: LinePart) -> bool:
        """May this be the first part of a line? Of what the object ends with, more may be written."""
        return not is_event(piece.text) if line.unterminated else may_be_first_part(piece.text)

    def _end_before(self, line: Line, piece: LinePart) -> None:
        """The ``piece`` that was added to its line is another line, or begins one."""
        self._begun[piece.stream].undo()
        self._end_line(piece.stream, line)
        self._take(line, piece)

    def _hold(self, line: Line, piece: LinePart | None) -> None:
        """A whole line, while there are others that it has to wait for."""
        at = _content_end(line)
        if piece is None:
            self._held.append(line._replace(whole_at=at))
        else:
            self._held.append(Line(self._place(line, piece), line.end, 0, piece.text, unwrapped=True, whole_at=at))

    def _end_line(self, stream: str, line: Line, ended: bool = False) -> None:
        """A line that was begun has no more parts, as ``line`` tells. ``ended``: it has its last one.

        If it has not, what seemed to be parts may be lines.
        """
        begun = self._begun.pop(stream)
        whole_at = begun.whole_at or _content_end(line)
        if begun.whole_at or begun.sure or begun.is_in_full_parts() or begun.kept > self._limit or ended:
            self._held.append(self._joined(begun, whole_at))
            return
        for place, text in zip(begun.offsets, begun.parts, strict=True):
            self._held.append(Line(place, begun.end, 0, text, unwrapped=True, whole_at=whole_at))

    def _place(self, line: Line, piece: LinePart) -> int:
        """Where the piece begins; no two lines begin at one place."""
        self._placed = max(line.offset + piece.at, self._placed + 1)
        return self._placed

    def _joined(self, begun: _Begun, whole_at: int) -> Line:
        raw = b"".join(begun.parts)
        overlong = len(raw) > self._limit
        return Line(begun.offsets[0], begun.end, 0, raw[: self._limit], overlong, unwrapped=True, whole_at=whole_at)

    def _give_up(self, line: Line) -> None:
        """Wait no longer for what does not come."""
        for stream in [*self._begun]:
            if line.end - self._begun[stream].end > WAIT_BYTES or self._lines > WAIT_LINES:
                self._end_line(stream, line)

    def _release(self, unterminated: bool) -> list[Line]:
        """The lines that were held, each up to where the next one begins.

        ``unterminated``: the object ends behind them without a newline.
        """
        held, self._held = sorted(self._held), []
        self._begun, self._lines = {}, 0
        released = []
        for index, line in enumerate(held):
            end = held[index + 1].offset if index < len(held) - 1 else self._end
            place = line._replace(offset=line.offset if index else self._start, end=end)
            released.append(place._replace(follows=index > 0))
        if unterminated and released and not any(line.unterminated for line in released):
            # The newline may come. It is of no line that may go on.
            released[-1] = released[-1]._replace(unterminated=True, unwrapped=True)
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
        yield from _numbered(joiner.end(), number)
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


def _content_end(line: Line) -> int:
    """Where what is known to belong to ``line`` ends: not a line end, and not what may follow a whole event."""
    stripped = line.raw.rstrip()
    return line.whole_at or line.offset + len(stripped if stripped.endswith(b"}") else line.raw)
