"""Skips page views that a collector has wrapped: by their bytes, as those of a plain log.

Wrapped lines differ in their times and in the event. What a collector writes around the event, with its digits made
equal, is its frame. A line is skipped by its bytes if its frame is that of a line which was examined in full.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

from .wrappers import LIST_KEY, unwrap

# A tracker's marks in a JSON string: how its JSON begins and ends.
_NAME_KEY = rb"\"name\":"
_PATH = len(rb"\"name\": \"")
_END = rb"\", \"event_source\": \"server\", \"page\": null}"
# The number of bytes before the end that tell the type of a known event from a path that ends with its name, as those
# of handlers do: the quotation mark before the name is one of them, unless the name is as long itself.
TYPE_BYTES = 16
# A page view's name is a path.
_SLASH = ord("/")
_DIGITS = bytes.maketrans(b"123456789", b"000000000")
_KEPT_FRAMES = 10_000


class WrappedPageViews:
    """``is_skipped``: is this line of the log, with its line end, one that no transformer wants?"""

    def __init__(self, is_skipped: Callable[[bytes, int], bool]) -> None:
        self._is_skipped = is_skipped
        self._frames: set[bytes] = set()

    def skip_from(self, text: bytes, start: int, limit: int) -> tuple[int, int]:
        """How many consecutive wrapped page views there are from ``start`` on, and where the next line begins.

        ``limit``: no longer line is skipped.
        """
        # Local names and as few calls as possible: there are millions of lines.
        key, width, end, slash, digits, frames = _NAME_KEY, _PATH, _END, _SLASH, _DIGITS, self._frames
        count = 0
        lines = BytesIO(text)
        lines.seek(start)
        for line in lines:
            name, stop = line.rfind(key), line.rfind(end) - TYPE_BYTES
            if not (
                stop > name > 0
                and line[name + width] == slash
                and line.isascii()
                and len(line) - 1 <= limit
                and (
                    (frame := (line[:name] + line[stop:]).translate(digits)) in frames
                    or self._is_frame(frame, line, limit)
                )
            ):
                return count, lines.tell() - len(line)
            count += 1
        return count, lines.tell()

    def _is_frame(self, frame: bytes, line: bytes, limit: int) -> bool:
        """Has ``line`` a line of the log in it, and is that skipped? Then ``frame`` is remembered."""
        pieces = unwrap(line[:-1]) if line.endswith(b"\n") else None
        if pieces is None or len(pieces) != 1 or pieces[0].ends is False or LIST_KEY.encode() in frame:
            # Of a list, another line with this frame may have more than one message.
            return False
        if not self._is_skipped(pieces[0].text + b"\n", limit):
            return False
        if len(self._frames) >= _KEPT_FRAMES:
            self._frames.clear()
        self._frames.add(frame)
        return True
