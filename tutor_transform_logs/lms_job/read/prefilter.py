"""Finds the lines whose type of event is not transformed: by their bytes, and by their JSON where those do not tell.

Most lines of a log are page views and the like. A line that begins and ends as a tracker writes an event of an unknown
type (:meth:`Prefilter.is_unknown_by_its_ends`) is decided by that alone, if no second event begins in it. Any other is
examined in full: :meth:`Prefilter.skips` says yes only where the full parse (:func:`~.events.parse`) gives no other
name than an unknown one, whatever the order of the keys, whatever is nested or twice; where it can't tell, it says no,
and the line is parsed.

A line may hold the beginning of one event and a second one, or the rest of one: a process was killed, the disk was
full, or two processes wrote at the same time. Its JSON is broken, so the line must become a dead letter. A line in
which a second event begins, as trackers begin one, is never skipped, nor is one that lacks its beginning, nor one that
ends as a known event does. To check all of the JSON would take several times as long as all the rest. So a line both of
whose ends are those of an unknown event counts as one, whatever is between them: with the fast path and without it.
(Between them might be an event of another release of Open edX, whose JSON does not begin with its name, if two
releases wrote to one file at the same time.)
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from io import BytesIO

from .events import Unparsable, is_whole, parse
from .wrapped_page_views import IN_STRING, IN_TEXT, TYPE_BYTES, WrappedPageViews
from .wrappers import is_cri_part

# An escaped ASCII character could hide a key or a known name. JSON writers escape these characters in other ways.
_HIDDEN_ASCII = re.compile(rb"\\u00[0-7]")
_NAME = re.compile(rb'"name"\s*(?::\s*(?:"([^"\\]*)(["\\])|[^"\s]))?')
# What needs no escape in JSON, so that it is written in one way only (save for the escapes above).
_PLAIN = re.compile(r"[ !#-.0-\[\]-~]+")
# A tracker's marks: how its JSON begins and ends.
_FIRST_KEY = b'{"name": "'
_NAME_KEY = b'"name":'
# As another event in the line would begin, in whatever form it was written.
_BEGINNING = b'{"name":'
_OBJECT = b'{"'
# CRI's first column is a time, with this behind its date.
_COLUMN, _DATE_BYTES = b"T", len("2026-02-01")
_SECOND_KEY = b'"context": {'
_LATE_KEY = b'"event_type": "'
_LAST_KEYS = re.compile(rb'"event_type": "([^"\\]*)", "event_source": "[^"\\]*", "page": (?:null|"[^"\\]*")}')
_LONGEST_END = 500
# A page view's name is a path. No usable known name has a slash in it, which can be written in two ways.
_SLASH = ord("/")
# Of the names that are paths, which is all that is kept of them.
_PATH = b"/"
_QUOTE = ord('"')
_USUAL_END = b'", "event_source": "server", "page": null}'
_END_BYTES = TYPE_BYTES + len(_USUAL_END)
# A logger's prefix ends with " - ". What does not is examined in full.
_DASH = ord("-")
_KEPT_NAMES = _KEPT_ENDS = 10_000


class Prefilter:
    """For one set of known names. A name with characters that can be written in two ways turns it off."""

    def __init__(self, known: Collection[str]) -> None:
        self.usable = all(_PLAIN.fullmatch(name) for name in known)
        self._known = frozenset(name.encode() for name in known if self.usable)
        self._unknown: set[bytes] = set()
        """Names met that are not known, and that can be read in one way only."""
        self._known_ends = {(_LATE_KEY + name)[-TYPE_BYTES:] + _USUAL_END for name in self._known}
        self._ends: set[bytes] = set()
        """How lines met end, with their newline, if no known event ends so."""
        self._names: list[bytes] = []
        """Of the lines skipped since they were taken, but of page views: a path is not a type."""
        self._in_objects = WrappedPageViews(IN_STRING, self._is_skipped)
        self._in_columns = WrappedPageViews(IN_TEXT, self._is_skipped)

    def skip_from(self, text: bytes, start: int, limit: int, ascii_only: bool) -> tuple[int, int]:
        """How many consecutive lines of ``text`` are skipped from ``start`` on, and where the next line begins.

        ``limit``: no longer line is skipped. ``ascii_only``: ``text`` has ASCII characters only.
        """
        if self._begins_with_known_name(text, start):
            return 0, start
        # Local names and as few calls as possible: there are millions of lines. (A slice costs less than a call.)
        ends, end, key, quote, slash, dash = self._ends, -_END_BYTES - 1, _BEGINNING, _QUOTE, _SLASH, _DASH
        path = len(_FIRST_KEY)
        checked = ascii_only and len(text) <= limit
        count = 0
        if text.startswith(_OBJECT, start) and not text.startswith(_FIRST_KEY, start):
            count, start = self._in_objects.skip_from(text, start, limit)
        elif text.startswith(_COLUMN, start + _DATE_BYTES):
            count, start = self._skip_columns(text, start, limit)
            if text.startswith(_COLUMN, start + _DATE_BYTES):
                return count, start
        # Nothing gets from line to line faster, and a method called without bounds is faster than one with them.
        lines = BytesIO(text)
        lines.seek(start)
        for line in lines:
            # The last event that begins in the line begins at its first brace, so there is no second one. What is
            # before that is a logger's prefix, not the rest of another event.
            if (
                line[end:] in ends
                and line[(name := line.rfind(key)) + path] == slash
                and line[name + path - 1] == quote
                and (name == 0 or (line[name - 2] == dash and line.find(b"{") == name))
                and (checked or (line.isascii() and len(line) - 1 <= limit))
            ) or self._is_skipped(line, limit):
                count += 1
            else:
                return count, lines.tell() - len(line)
        return count, lines.tell()

    def _skip_columns(self, text: bytes, start: int, limit: int) -> tuple[int, int]:
        """As :meth:`skip_from`, up to a line that is not in columns."""
        total = 0
        while True:
            count, start = self._in_columns.skip_from(text, start, limit)
            total += count
            stop = text.find(b"\n", start) + 1
            if not text.startswith(_COLUMN, start + _DATE_BYTES) or not self._is_skipped(text[start:stop], limit):
                return total, start
            total, start = total + 1, stop

    def take_names(self) -> Sequence[bytes]:
        """The names of what was skipped since the last call, in the order of the lines; without page views."""
        if not self._names:
            return ()
        names, self._names = self._names, []
        return names

    def count_names(self, text: bytes) -> int:
        """How many names :meth:`take_names` has of ``text``, whole lines of which each is skipped."""
        self.skip_from(text, 0, len(text), text.isascii())
        return len(self.take_names())

    def _is_skipped(self, line: bytes, limit: int) -> bool:
        """Is ``line``, with its line end, skipped? A part of a line is not, whatever is in it. The name is kept."""
        if self._begins_with_known_name(line, 0):
            return False
        if not line.endswith(b"\n") or len(line) - 1 > limit or is_cri_part(line):
            return False
        raw = line[:-1]
        name = self.name_by_its_ends(raw)
        if name is None:
            if not self.skips(raw):
                return False
            name = parse(raw).name.encode("utf-8", "replace")
            if name.startswith(_PATH):
                name = _PATH
        if name is not _PATH:
            self._names.append(name)
        return True

    def _begins_with_known_name(self, text: bytes, start: int) -> bool:
        """Does the line at ``start`` begin as a tracker writes a known event? Then nothing else has to be looked at."""
        if not text.startswith(_FIRST_KEY, start):
            return False
        first = start + len(_FIRST_KEY)
        return text[first : text.find(b'"', first)] in self._known

    def is_unknown_by_its_ends(self, raw: bytes) -> bool:
        """Does the line begin and end as an event of an unknown type, and does no other begin in it?"""
        return self.name_by_its_ends(raw) is not None

    def name_by_its_ends(self, raw: bytes) -> bytes | None:
        """The name of the event of a line that :meth:`is_unknown_by_its_ends`; of a page view, a slash. Else ``None``.

        A page view by its path and its source; any other event by its name, which is also its type. What is between
        its ends may be broken.
        """
        begin = raw.find(b"{")
        if not (self.usable and raw.startswith(_FIRST_KEY, begin) and raw.isascii()):
            return None
        if raw.rfind(_BEGINNING) != begin:
            return None
        first = begin + len(_FIRST_KEY)
        if raw.startswith(b"/", first) and raw.endswith(_USUAL_END):
            is_view = (begin == 0 or raw[begin - 2] == _DASH) and self._is_unknown_end(raw[-_END_BYTES:])
            return _PATH if is_view else None
        if raw.rfind(_NAME_KEY) != begin + 1:
            return None
        end = raw.find(b'"', first)
        name = raw[first:end]
        late = raw.rfind(_LATE_KEY, max(begin, len(raw) - _LONGEST_END))
        last_keys = _LAST_KEYS.fullmatch(raw, late) if late >= 0 else None
        # An object inside of an event may begin with a name too, and an event may have none.
        if last_keys is None or last_keys[1] != name or raw.rfind(_SECOND_KEY) != end + len('", '):
            return None
        if name in self._known or not (name in self._unknown or self._is_unknown(name)):
            return None
        return _PATH if raw[first] == _SLASH else name

    def _is_unknown_end(self, end: bytes) -> bool:
        if end in self._known_ends:
            return False
        if len(self._ends) >= _KEPT_ENDS:
            self._ends.clear()
        self._ends.add(end + b"\n")
        return True

    def _is_unknown(self, name: bytes) -> bool:
        """Is ``name``, which ends at the next quotation mark and is not a known name, not the beginning of one either?

        Those have no character that has to be escaped, so what is escaped, a quotation mark too, is not in them.
        """
        if _HIDDEN_ASCII.search(name):
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
        # Without a tracker's marks, no bytes tell a whole event from the parts of two. A collector's object may have an
        # event of its own, and one of a tracker's in it.
        try:
            return is_whole(parse(raw).fields)
        except Unparsable:
            return False
