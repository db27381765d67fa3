"""What happens to the logs of a round: lines, rotations, compression, copies, clones, restored backups.

All of it is noted in the reference. Nothing here loses lines to every reader, as ``copytruncate`` does.
"""

from __future__ import annotations

import bz2
import gzip
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.harness.oracle.events import Line, new_line
from tests.harness.oracle.places import Place
from tests.harness.oracle.reference import Reference

FAMILIES = ("mobile.log", "tracking.log")
_PACKED: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".bz2": bz2.compress}


@dataclass
class Log:
    """A log, whatever its name is by now."""

    name: str
    family: str
    lines: list[Line] = field(default_factory=list)
    torn: bytes = b""
    """The part of the next line that has been written."""
    next: Line | None = None
    """That next line."""
    grows: bool = True
    packed: bool = False
    outgrows: int = 0
    """It must become longer than this: it is what is left of a log of this length."""

    @property
    def content(self) -> bytes:
        """All bytes of it."""
        return b"".join(line.raw for line in self.lines) + self.torn

    @property
    def is_whole(self) -> bool:
        """Is it complete, so that it may stop to grow?"""
        return not self.torn and len(self.content) > self.outgrows and bool(self.lines)


class Logs:
    """Changes the logs in ``place`` at random, as servers, logrotate and people do."""

    CHANGES = ("append", "append", "append", "append", "tear", "rotate", "rotate", "pack", "clone", "copy")

    def __init__(self, place: Place, dice: random.Random, reference: Reference, most_lines: int) -> None:
        self._place = place
        self._dice = dice
        self._reference = reference
        self._numbers = itertools.count()
        self._names = itertools.count(1)
        self._most_lines = most_lines
        self._logs: list[Log] = []
        self._copies: list[str] = []
        self._gone: dict[int, int] = {}
        """The first line of logs -> the length of the longest one that began with it and is there no more."""
        for family in FAMILIES:
            self._append_to(self._new(family))

    @property
    def lines(self) -> int:
        """How many lines have been written."""
        return len(self._reference.lines)

    def change(self) -> str:
        """One change at random; returns what was done."""
        name = self._dice.choice(self.CHANGES)
        return f"{name} {getattr(self, name)()}"

    def append(self) -> str:
        """Whole lines, to a log or to a new one."""
        growing = self._growing()
        if self._dice.random() < 0.15 or not growing:
            return self._append_to(self._new(self._dice.choice(FAMILIES)))
        return self._append_to(self._dice.choice(growing))

    def tear(self) -> str:
        """A part of a line: what comes next is its rest."""
        if self._dice.random() < 0.2:
            log = self._new(self._dice.choice(FAMILIES))
        elif growing := self._growing():
            log = self._dice.choice(growing)
        else:
            return ""
        self._finish_line(log)
        line = self._next()
        # Perhaps all of it but the newline.
        torn = line.raw[: self._dice.randint(1, max(1, len(line.raw) - 1))]
        if torn != line.raw:
            log.next, log.torn = line, torn
        else:
            log.lines.append(line)
        self._note(log, [line])
        self._place.append(log.name, log.content, torn)
        return f"{log.name}: {len(torn)} bytes of line {line.number}"

    def rotate(self) -> str:
        """By renaming. Another log has the name from then on."""
        logs = [log for log in self._growing() if len(log.content) > log.outgrows and log.lines]
        if not logs:
            return ""
        log = self._dice.choice(logs)
        old, log.grows = log.name, False
        log.name = f"{old}.{next(self._names)}"
        self._place.rename(old, log.name, log.content)
        if self._dice.random() < 0.8:
            # It begins as every log does. With many lines at once, between two reads of a job, no reader could tell.
            self._add(self._new(log.family, old), [self._next("good")])
        return f"{old} to {log.name}"

    def pack(self) -> str:
        """Compress one that does not grow any more, as logrotate does: first the new file, then the old one goes."""
        logs = [log for log in self._logs if not log.grows and not log.packed and log.is_whole]
        if not logs:
            return ""
        log = self._dice.choice(logs)
        old = log.name
        ending = self._dice.choice([*_PACKED])
        log.name, log.packed = f"{old}{ending}", True
        self._place.put(log.name, _PACKED[ending](log.content))
        self._place.remove(old)
        return f"{old} to {log.name}"

    def clone(self) -> str:
        """A server that was cloned from another one: its log goes on alone from some line on."""
        logs = [log for log in self._logs if len(log.lines) > 1]
        if not logs:
            return ""
        log = self._dice.choice(logs)
        # The other one has at least one line more.
        some = log.lines[: self._dice.randrange(1, len(log.lines))]
        clone = self._new(log.family)
        # While it is shorter than one that was read and is gone, it may be a copy of that one.
        clone.outgrows = self._gone.get(some[0].number, 0)
        lines = [*some, *(self._next("good") for _ in range(self._dice.choice([1, 3, 10])))]
        clone.lines = lines
        self._note(clone, lines)
        self._place.put(clone.name, clone.content)
        return f"{clone.name}: {len(some)} lines of {log.name}, {len(lines) - len(some)} of its own"

    def copy(self) -> str:
        """Somebody's copy of a log that does not grow any more."""
        logs = [log for log in self._logs if not log.grows and log.is_whole]
        if not logs:
            return ""
        log = self._dice.choice(logs)
        name = f"{log.family}-copy{next(self._names)}"
        self._copies.append(name)
        packed = _PACKED[".gz"] if self._dice.random() < 0.5 else bytes
        self._place.put(name, packed(log.content))
        return f"{log.name} to {name}"

    # What is done only when every job has delivered all that there is.

    def restore(self) -> str:
        """A log is set back to what it was, and goes on from there. All of it was delivered before."""
        logs = [log for log in self._growing() if len(log.lines) > 1]
        if not logs:
            return ""
        log = self._dice.choice(logs)
        log.outgrows = max(log.outgrows, len(log.content))
        self._is_gone(log)
        log.lines = log.lines[: self._dice.randrange(len(log.lines))]
        log.torn, log.next = b"", None
        # They are delivered again: as far as anybody can tell, it is another log.
        self._note(log, log.lines)
        if not log.lines:
            log.lines.append(line := self._next("good"))
            self._note(log, [line])
        self._place.put(log.name, log.content)
        return f"{log.name} to {len(log.lines)} lines, {len(log.content)} of {log.outgrows} bytes"

    def retire(self) -> str:
        """A log is deleted, with all copies."""
        logs = [log for log in self._logs if not log.grows]
        if not logs:
            return ""
        log = self._dice.choice(logs)
        self._logs.remove(log)
        self._is_gone(log)
        self._place.remove(log.name)
        for name in self._copies:
            self._place.remove(name)
        self._copies = []
        return log.name

    def complete(self) -> str:
        """Finish the lines that are torn, and let all logs outgrow what they were."""
        for log in self._logs:
            self._finish_line(log)
            while len(log.content) <= log.outgrows:
                self._add(log, [self._next("good")])
        return ""

    def is_settled(self) -> bool:
        """Can every log be read to its end, and are all of its lines complete?"""
        return all(not log.torn and len(log.content) > log.outgrows for log in self._logs)

    def _is_gone(self, log: Log) -> None:
        first = log.lines[0].number
        self._gone[first] = max(self._gone.get(first, 0), len(log.content))

    def _growing(self) -> list[Log]:
        return [log for log in self._logs if log.grows]

    def _new(self, family: str, name: str = "") -> Log:
        log = Log(name or f"{family}-s{next(self._names)}", family)
        self._logs.append(log)
        return log

    def _next(self, sort: str = "") -> Line:
        line = new_line(next(self._numbers), self._dice, sort)
        self._reference.lines[line.number] = line
        return line

    def _note(self, log: Log, lines: list[Line]) -> None:
        self._reference.logs.update((log.family, line.number) for line in lines)

    def _append_to(self, log: Log) -> str:
        self._finish_line(log)
        most = max(1, min(150, (self._most_lines - self.lines) // 2))
        count = self._dice.choice([1, self._dice.randint(1, most), most])
        first = not log.lines
        # A log whose lines are all blank is like any other one of them.
        self._add(log, [self._next("good" if first and n == 0 else "") for n in range(count)])
        return f"{count} lines to {log.name}"

    def _add(self, log: Log, lines: list[Line]) -> None:
        empty = not log.content
        log.lines += lines
        self._note(log, lines)
        added = b"".join(line.raw for line in lines)
        if empty:
            self._place.put(log.name, added)
        else:
            self._place.append(log.name, log.content, added)

    def _finish_line(self, log: Log) -> None:
        if log.next is None:
            return
        line, log.next = log.next, None
        rest, log.torn = line.raw[len(log.torn) :], b""
        log.lines.append(line)
        self._place.append(log.name, log.content, rest)
