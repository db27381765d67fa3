"""Formats numbers and names for people."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from urllib.parse import urlsplit, urlunsplit

# In a message: what follows "Run:", what tutor, kubectl or docker are to do, and what is in quotes.
_COMMAND = re.compile(r'Run: .+|(?<=: )(?:tutor|kubectl|docker) .+|"(?:tutor|kubectl|docker) [^"]+"')
_SPACE = "\0"
# Of a name in a table that is not for a terminal. In an archive, and in a bucket, names may be very long.
MOST_NAME_COLUMNS = 120


def count(number: int, noun: str) -> str:
    """A number of things for people: 1 object, 2 objects."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def size(amount: float) -> str:
    """Bytes for people: 1.5 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def binary_size(amount: int) -> str:
    """Bytes for people, in the unit in which they are a whole number: 8 MiB."""
    for unit in ("bytes", "KiB", "MiB"):
        if amount < 1024 or amount % 1024:
            return f"{amount} {unit}"
        amount //= 1024
    return f"{amount} GiB"


def of(part: float, whole: float) -> str:
    """A part of a number of bytes for people: 1.2 of 2.6 GB."""
    some, unit = size(part).split()
    return f"{some} of {size(whole)}" if size(whole).endswith(f" {unit}") else f"{some} {unit} of {size(whole)}"


def duration(secs: float) -> str:
    """Seconds for people, in two units at most: 45 s, 1 min 30 s, 12 min, 1 h 30 min, 2 d 3 h."""
    whole = round(secs)
    if whole < 60:
        return f"{whole} s"
    if whole < 10 * 60:
        return _in_units(whole, (60, "min"), (1, "s"))
    minutes = round(secs / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return _in_units(minutes, (60, "h"), (1, "min"))
    return _in_units(round(secs / 3600), (24, "d"), (1, "h"))


def _in_units(amount: int, *units: tuple[int, str]) -> str:
    """``amount`` in these units, the largest first; those of which there are none are left out."""
    parts = []
    for size_of_unit, unit in units:
        number, amount = divmod(amount, size_of_unit)
        if number:
            parts.append(f"{number} {unit}")
    return " ".join(parts)


def printable(text: str) -> str:
    """``text`` on one line of a terminal, whatever is in it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def printable_lines(text: str) -> str:
    """``text`` on lines of its own, without what a terminal would take for a command; for texts from outside."""
    return "\n".join(map(printable, text.split("\n")))


def wrapped(text: str, width: int | None, indent: str = "") -> str:
    """``text`` in lines of at most ``width`` columns, the second and later ones indented.

    Names are not broken, and a command stays in one piece, to be copied.
    """
    if width is None or len(text) <= width:
        return text
    # textwrap breaks at spaces only.
    kept = _COMMAND.sub(lambda found: found[0].replace(" ", _SPACE), text)
    lines = textwrap.fill(kept, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return lines.replace(_SPACE, " ")


def cut_middle(text: str, width: int) -> str:
    """``text`` in at most ``width`` columns: of a long name, the beginning and the end tell what it is."""
    if columns_of(text) <= width:
        return text
    begin, end, taken = "", "", 3
    for at in range(len(text)):
        # One from the end, one from the beginning.
        char = text[at // 2] if at % 2 else text[-1 - at // 2]
        taken += columns_of(char)
        if taken > width:
            break
        begin, end = (begin + char, end) if at % 2 else (begin, char + end)
    return f"{begin}...{end}"


def columns_of(text: str) -> int:
    """How many columns of a terminal a text takes: East Asian characters and emoji take two."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def shown_url(url: str) -> str:
    """The URL as it may be printed: without user, password and query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
