"""Finds the lines whose type of event is not transformed. It compares bytes, and parses no JSON.

Most lines of a log are page views and the like. A line that bears a tracker's marks (``name`` is its first key, and
``event_source`` one of its last) is decided by its name alone: ``json.dumps``, by which trackers write, gives no key
twice. Any other is examined in full: :meth:`Prefilter.skips` says yes only where the full parse
(:func:`~.events.parse`) could give no other name than an unknown one, whatever the order of the keys, whatever is
nested or twice; where it can't tell, it says no, and the line is parsed. On a line that a tracker wrote (a JSON object
with an ``event``) the two agree. On others that are skipped the full parse might have said ``unparsable``: the JSON of
a skipped line is not checked beyond its ends.
"""

from __future__ import annotations

import re
from collections.abc import Collection

# An escaped ASCII character could hide a key or a known name. JSON writers escape these characters in other ways.
_HIDDEN_ASCII = re.compile(rb"\\u00[0-7]")
_NAME = re.compile(rb'"name"\s*(?::\s*(?:"([^"\\]*)(["\\])|[^"\s]))?')
# What needs no escape in JSON, so that it is written in one way only (save for the escapes above).
_PLAIN = re.compile(r"[ !#-.0-\[\]-~]+")
# A tracker's marks: how its JSON begins, and what stands near its end, before ``page`` (a URL, or null).
_FIRST_KEY = b'{"name": "'
# A page view's name is a path. No usable known name has a slash in it, which can be written in two ways.
_PAGE = b'{"name": "/'
_LATE_KEY = b'"event_source": "'
_USUAL_END = b'"event_source": "server", "page": null}'
_LONGEST_END = 500
_BRACE = ord("}")
_KEPT_NAMES = 10_000


class Prefilter:
    """For one set of known names. A name with characters that can be written in two ways turns it off."""

    def __init__(self, known: Collection[str]) -> None:
        self.usable = all(_PLAIN.fullmatch(name) for name in known)
        self._known = frozenset(name.encode() for name in known if self.usable)
        self._unknown: set[bytes] = set()
        """Names met that are not known, and that can be read in one way only."""

    def skip_from(self, text: bytes, start: int, limit: int, ascii_only: bool) -> tuple[int, int]:
        """How many consecutive lines of ``text`` are skipped from ``start`` on, and where the next line begins.

        ``limit``: no longer line is skipped. ``ascii_only``: ``text`` has ASCII characters only.
        """
        # Local names and as few calls as possible: there are millions of lines.
        find, starts, page, usual_end, end_width = text.find, text.startswith, _PAGE, _USUAL_END, len(_USUAL_END)
        limited = len(text) > limit
        count = 0
        while (newline := find(b"\n", start)) >= 0:
            if limited and newline - start > limit:
                break
            begin = find(b"{", start, newline)
            # The usual end has no brace before its last character, so what begins with a page's name ends before it.
            usual_page = ascii_only and starts(page, begin) and starts(usual_end, newline - end_width)
            if not (usual_page or self._is_skipped(text, start, begin, newline, ascii_only)):
                break
            start = newline + 1
            count += 1
        return count, start

    def _is_skipped(self, text: bytes, start: int, begin: int, newline: int, ascii_only: bool) -> bool:
        """Is the line from ``start`` to ``newline``, whose first brace is at ``begin`` (-1: it has none), skipped?"""
        if (
            ascii_only
            and text.startswith(_FIRST_KEY, begin)
            and text[newline - 1] == _BRACE
            and text.rfind(_LATE_KEY, max(begin, newline - _LONGEST_END), newline) >= 0
        ):
            name = text[begin + len(_FIRST_KEY) : text.find(b'"', begin + len(_FIRST_KEY))]
            if name in self._known:
                return False
            if name in self._unknown or self._is_unknown(name):
                return True
        return self.skips(text[start:newline])

    def _is_unknown(self, name: bytes) -> bool:
        """Is ``name``, which ends at the next quotation mark and is not a known name, not the beginning of one either?

        Those have no character that has to be escaped, so what is escaped, a quotation mark too, is not in them.
        """
        if b"\n" in name or _HIDDEN_ASCII.search(name):
            return False
        if len(self._unknown) >= _KEPT_NAMES:
            self._unknown.clear()
        self._unknown.add(name)
        return True

    def skips(self, raw: bytes) -> bool:
        """Is the event of this line certainly none of the known, whoever wrote it?"""
        # A line that was cut off must stay unparsable, and so must one that has no event.
        if not raw.endswith(b"}") or b"{" not in raw or not raw.isascii():
            return False
        if not (b'"event":' in raw or b'"data":' in raw) or (b"\\u00" in raw and _HIDDEN_ASCII.search(raw)):
            return False
        at = raw.find(b'"name"')
        while at >= 0:
            # Every name in the line, at whatever level it is: one of them is the event's. A name with an escape in
            # it is none of the known ones.
            found = _NAME.match(raw, at)
            if found is None or (found[2] == b'"' and found[1] in self._known):
                return False
            at = raw.find(b'"name"', found.end() - 1)
        return True
