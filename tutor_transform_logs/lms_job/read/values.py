"""Objects that are JSON values, not lines: one after the other without newlines, in an array, or pretty-printed.

Where such an object is read from, it is told by the bytes there alone, so reading can be resumed at any value: what
comes between two values (commas, brackets, white space) is left out. Each value is a line of the log.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator
from json import JSONDecodeError

from ..model.records import Line, Position
from ..util.errors import ObjectGone
from .decompress import BrokenObject
from .events import memory_of
from .wrappers import MAX_WRAPPER_BYTES

_DECODER = json.JSONDecoder()
# With the bytes of a byte order mark.
_BLANK = " \t\r\n\xef\xbb\xbf"
_SPACE = re.compile(rf"[{_BLANK}]*")
_OPENING = re.compile(r"[ \t\r\n,\[]*")
_SEPARATORS = re.compile(r"[ \t\r\n,\[\]\xef\xbb\xbf]*")
_IN_LINE = re.compile(r"[ \t\r,\]]*")
# An error this close to the end of what was read may be none with more of it.
_NEAR_END = 16
# What begins with more white space is lines, as far as anybody knows.
_MOST_SPACE = 64 * 1024
# Of a value of which no more was read, the values in it need not be counted.
_UNCOUNTED_BYTES = 5 * 1024**2 // 2
# After this many values with a line each, lines are read as lines again, which is faster.
_LINES_AGAIN = 50


def holds_values(head: bytes, ended: bool) -> bool | None:
    """Does an object that goes on with ``head`` hold values that are not one a line?

    ``ended``: nothing comes after ``head``. ``None``: more of it is needed to tell.
    """
    # Of Latin-1, each byte is a character; JSON's own are the same in UTF-8.
    text = head.decode("latin-1")
    at = _end(_SPACE, text, 0)
    if at == len(text):
        return None if at < _MOST_SPACE and not ended else False
    if text[at : at + 1] in ("[", ","):
        at = _end(_OPENING, text, at)
        return text[at] == "{" if at < len(text) else True if ended else None
    if text[at] == "]":
        # The end of an array that was read up to here; perhaps there is another one behind it.
        after = _end(_SEPARATORS, text, at)
        return text[after] == "{" and "[" in text[at:after] if after < len(text) else True if ended else None
    if text[at] != "{":
        return False
    newline = text.find("\n", at)
    if memory_of(head) > MAX_WRAPPER_BYTES:
        return False
    try:
        _, end = _DECODER.raw_decode(text, at)
    except JSONDecodeError as error:
        first = text[at : newline if newline >= 0 else None].rstrip()
        may_go_on = newline < 0 or first.endswith(("{", "[", ","))
        if not may_go_on or not _is_incomplete(error, text):
            return False
        # On several lines, it is pretty-printed, and perhaps still being written.
        return newline >= 0 if ended else None
    except (ValueError, RecursionError):
        return False
    if 0 <= newline < end:
        return True
    after = _end(_IN_LINE, text, end)
    if "]" in text[end:after] or "," in text[end:after] or text[after : after + 1] == "{":
        return True
    # The last one of an array, perhaps.
    after = _end(_SPACE, text, after)
    return text[after] == "]" if after < len(text) else False if ended else None


def _is_incomplete(error: JSONDecodeError, text: str) -> bool:
    return error.msg.startswith("Unterminated string") or error.pos >= len(text) - _NEAR_END


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at


class ValueSplitter:
    """Splits what ``chunks`` hold into values; of what is not one, into lines. ``start``: of the first value."""

    def __init__(self, chunks: Iterator[bytes], start: Position, limit: int) -> None:
        self._chunks = chunks
        self._limit = limit
        self._text = ""
        self._at = 0
        self._offset = start.offset
        """Of the first character of the text."""
        self._number = start.number
        self._start = start
        self._mark = ""
        """The first bracket or comma between values."""

    def lines(self) -> Generator[Line, None, tuple[bytes, Position] | None]:
        """A line for each value.

        Returns what was read and not split, and where it begins, once the object seems to hold a value a line.
        """
        last: Line | None = None
        in_lines = 0
        try:
            while self._skip_separators():
                begin = self._offset + self._at
                if last is not None:
                    yield last._replace(end=begin)
                    last = None
                if in_lines >= _LINES_AGAIN:
                    rest = self._text[self._at :].encode("latin-1")
                    if holds_values(rest, ended=False) is False:
                        return rest, Position(begin, self._number)
                    in_lines = 0
                last = self._next()
                self._number += 1
                in_lines = in_lines + 1 if self._text[self._at : self._at + 1] == "\n" else 0
        except (BrokenObject, ObjectGone):
            if last is not None:
                yield last
            raise
        if last is not None:
            end = self._offset + len(self._text)
            # With anything behind it, the value was ended.
            yield last._replace(end=end, unterminated=last.unterminated or last.end == end)
        elif self._mark and self._number == self._start.number:
            yield self._without_values()
        return None

    def _skip_separators(self) -> bool:
        """Go to where the next value begins; ``False`` if there is none."""
        while True:
            begin, self._at = self._at, _end(_SEPARATORS, self._text, self._at)
            self._mark = self._mark or self._text[begin : self._at].lstrip(_BLANK)[:1]
            if self._at < len(self._text):
                return True
            if not self._more():
                return False

    def _without_values(self) -> Line:
        """All that was read: the end of an array, which is blank, or the beginning of more values."""
        is_end = self._mark == "]"
        raw = b"" if is_end else self._mark.encode("ascii")
        begin, number = self._start
        return Line(begin, self._offset + len(self._text), number, raw, unterminated=not is_end)

    def _more(self) -> bool:
        chunk = next(self._chunks, None)
        if chunk is None:
            return False
        # The last character stays: at the end of the object, it says if a value was ended.
        done = min(self._at, max(0, len(self._text) - 1))
        self._text = self._text[done:] + chunk.decode("latin-1")
        self._offset += done
        self._at -= done
        return True

    def _next(self) -> Line:
        """The value at the current place, or the line there if that is not one."""
        while self._text[self._at] == "{":
            if self._takes_too_much():
                break
            try:
                _, end = _DECODER.raw_decode(self._text, self._at)
            except JSONDecodeError as error:
                if not _is_incomplete(error, self._text):
                    break
                if len(self._text) - self._at > self._limit:
                    break
                if not self._more():
                    # Perhaps still being written.
                    return self._line(len(self._text), unterminated=True)
                continue
            except (ValueError, RecursionError):
                break
            return self._line(end)
        return self._to_line_end()

    def _takes_too_much(self) -> bool:
        """Is the value, of which much was read already, too large to be parsed? Counting costs time."""
        if len(self._text) - self._at <= _UNCOUNTED_BYTES:
            return False
        return memory_of(self._text[self._at :].encode("latin-1")) > MAX_WRAPPER_BYTES

    def _line(self, end: int, unterminated: bool = False) -> Line:
        begin, self._at = self._at, end
        raw = self._text[begin:end].encode("latin-1")
        overlong = len(raw) > self._limit
        place = Line(self._offset + begin, self._offset + end, self._number, b"", overlong, unterminated)
        whole_at = 0 if unterminated else place.end
        return place._replace(raw=raw[: self._limit] if overlong else _on_one_line(raw), whole_at=whole_at)

    def _to_line_end(self) -> Line:
        """What is not a value, up to the end of its line."""
        kept = b""
        begin = self._offset + self._at
        while True:
            newline = self._text.find("\n", self._at)
            end = newline if newline >= 0 else len(self._text)
            kept += self._text[self._at : min(end, self._at + self._limit + 1 - len(kept))].encode("latin-1")
            self._at = end
            if newline >= 0 or not self._more():
                break
        overlong = len(kept) > self._limit
        raw = kept[: self._limit] if overlong else kept.removesuffix(b"\r")
        return Line(begin, self._offset + end, self._number, raw, overlong, unterminated=newline < 0)


def _on_one_line(raw: bytes) -> bytes:
    """A value as a tracker writes it, if it was pretty-printed."""
    raw = raw.rstrip()
    if b"\n" not in raw:
        return raw
    try:
        return json.dumps(json.loads(raw)).encode("ascii")
    except (ValueError, RecursionError):
        return raw
