"""Skips page views that a collector has wrapped: by their bytes, as those of a plain log.

Wrapped lines differ in their times and in the event. What a collector and a logger write around the event, with its
digits made equal, is its frame. A line is skipped by its bytes if its frame is that of a line which was examined in
full, and if its event ends as that of such a line.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import NamedTuple

from .wrapped_lists import may_have_list
from .wrappers import unwrap

# The number of bytes before a page view's end that tell the type of a known event from a path that ends with its name,
# as those of handlers do: the quotation mark before the name is one of them, unless the name is as long itself.
TYPE_BYTES = 16
# A page view's name is a path.
_SLASH = ord("/")
_DIGITS = bytes.maketrans(b"123456789", b"000000000")
_KEPT = 10_000


class Marks(NamedTuple):
    """How a tracker's JSON begins and ends."""

    name_key: bytes
    path: int
    """How far behind the beginning of the key the name is."""
    end: bytes


IN_TEXT = Marks(b'"name":', len(b'"name": "'), b'", "event_source": "server", "page": null}')
# In a JSON string.
IN_STRING = Marks(rb"\"name\":", len(rb"\"name\": \""), rb"\", \"event_source\": \"server\", \"page\": null}")


class WrappedPageViews:
    """``is_skipped``: is this line of the log, with its line end, one that no transformer wants?"""

    def __init__(self, marks: Marks, is_skipped: Callable[[bytes, int], bool]) -> None:
        self._marks = marks
        self._is_skipped = is_skipped
        self._frames: set[bytes] = set()
        self._ends: set[bytes] = set()
        self._once = True
        """Each line has its event once. Some collectors keep what they were given beside what they make of it."""

    def skip_from(self, text: bytes, start: int, limit: int) -> tuple[int, int]:
        """How many consecutive wrapped page views there are from ``start`` on, and where the next line begins.

        ``limit``: no longer line is skipped.
        """
        # Local names and as few calls as possible: there are millions of lines.
        key, path, end = self._marks
        frames, ends, slash, digits = self._frames, self._ends, _SLASH, _DIGITS
        length, once = len(end), self._once
        count = 0
        lines = BytesIO(text)
        lines.seek(start)
        for line in lines:
            name, stop = line.rfind(key), line.rfind(end)
            if not (
                stop > name > 0
                and line[name + path] == slash
                and line.isascii()
                and len(line) - 1 <= limit
                and (
                    (
                        once
                        and (line[:name] + line[stop + length :]).translate(digits) in frames
                        and line[stop - TYPE_BYTES : stop] in ends
                    )
                    or self._is_examined(name, stop, line, limit)
                )
            ):
                return count, lines.tell() - len(line)
            count += 1
        return count, lines.tell()

    def _is_examined(self, name: int, stop: int, line: bytes, limit: int) -> bool:
        """Has ``line`` one line of the log in it, and is that skipped? Then its frame and its end are remembered.

        ``name`` and ``stop``: where its last event begins and ends.
        """
        after, end = stop + len(self._marks.end), line[stop - TYPE_BYTES : stop]
        first = line.find(self._marks.name_key)
        between = first + after - name
        self._once = not (between <= name and line[first:between] == line[name:after])
        around = [line[:name]] if self._once else [line[:first], line[between:name]]
        frame = (b"\n".join(around) + line[after:]).translate(_DIGITS)
        if frame in self._frames and end in self._ends:
            return True
        pieces = unwrap(line[:-1]) if line.endswith(b"\n") else None
        if pieces is None or len(pieces) != 1 or pieces[0].ends is False or may_have_list(frame):
            # Of a list, another line with this frame may have more than one message.
            return False
        if not self._is_skipped(pieces[0].text + b"\n", limit):
            return False
        for kept, seen in ((self._frames, frame), (self._ends, end)):
            if len(kept) >= _KEPT:
                kept.clear()
            kept.add(seen)
        return True
