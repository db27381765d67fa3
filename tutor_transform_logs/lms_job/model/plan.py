"""The plan as data: which bytes of which objects to read, and what is known about those read before.

Pure values and functions; ``plan`` makes them, ``ledger`` stores them.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..config.schema import JobConfig
from .typed import checked

# Kinds of plans.
REPLAY = "replay"
REDELIVERY = "redelivery"

EMPTY = "empty"
DONE_BEFORE = "done before"
ANOTHER_COPY = "another copy of one that is read"
OUT_OF_RANGE = "outside since and until by the date in its name: not opened"
HARMLESS_NOTES = ("", EMPTY, DONE_BEFORE, ANOTHER_COPY, OUT_OF_RANGE)
LOOK_AGAIN = "starts like another compressed object in this plan: checked again in the next run"


# A fingerprint is made of an object's first bytes. With fewer than this many of them, two logs might be equal by
# chance, and the object's name has to match as well.
SURE_BYTES = 256
HEAD_BYTES = 4096
# Logs of servers that were cloned from one image have the same first bytes, but not the same last ones.
TAIL_BYTES = 4096


@dataclass(frozen=True)
class OutputFormat:
    """The format of a plan's output files. Stored in the plan, so that a resumed run continues in the same format."""

    layout: str
    compression: str
    max_bytes: int

    @classmethod
    def of(cls, config: JobConfig) -> OutputFormat:
        return cls(config.output_layout, config.output_compression, config.output_max_bytes)

    @property
    def suffix(self) -> str:
        return ".log.gz" if self.compression == "gzip" else ".log"


@dataclass(frozen=True)
class Fingerprint:
    """SHA-256 of the first ``length`` decompressed bytes of an object: the same after rotation or compression."""

    length: int
    digest: str

    @classmethod
    def of(cls, head: bytes, length: int = HEAD_BYTES) -> Fingerprint:
        head = head[:length]
        return cls(len(head), hashlib.sha256(head).hexdigest())

    def matches(self, head: bytes) -> bool:
        return len(head) >= self.length and Fingerprint.of(head, self.length) == self


@dataclass(frozen=True)
class Tail:
    """SHA-256 of the decompressed bytes (up to :data:`TAIL_BYTES`) before the offset ``end`` of a log."""

    end: int
    digest: str

    @classmethod
    def of(cls, end: int, before: bytes) -> Tail | None:
        """``before``: what comes before ``end``, at least as much of it as counts; ``None`` if it is less."""
        counting = min(end, TAIL_BYTES)
        if len(before) < counting:
            return None
        return cls(end, hashlib.sha256(before[len(before) - counting :]).hexdigest())


@dataclass(frozen=True)
class Content:
    """What is known about one log, whatever its objects are called now. Offsets are in decompressed bytes."""

    id: int
    fingerprint: Fingerprint
    length: int
    """How many bytes of it have been read."""
    lines: int
    """How many lines these are; with :attr:`resume_at`, those up to there and one more."""
    done: Mapping[str, int]
    """Destination id -> everything before this offset has been delivered there."""
    names: Mapping[str, int]
    """Object name -> its stored size when it was read to its end."""
    resume_at: int | None = None
    """Where the last line starts, if it had no newline and was incomplete, or the lines that stay together of which
    one was: they are read again when the log grows."""
    unterminated: bool = False
    """The last line had no newline, but was a complete event: a newline that follows belongs to it."""
    tail: Tail | None = None
    """How it ends as far as it has been read, or is planned to be; ``None`` if that is not known."""

    @property
    def end(self) -> int:
        """Up to where the log is known: an object that is shorter can't be compared with it."""
        return self.tail.end if self.tail else self.length

    def begins_like(self, name: str, head: bytes) -> bool:
        """May the object ``name`` with these first bytes be this log? :attr:`tail` has to match as well."""
        if not self.fingerprint.length or not self.fingerprint.matches(head):
            return False
        return self.fingerprint.length >= SURE_BYTES or name in self.names


@dataclass(frozen=True)
class Segment:
    """A piece of work: the bytes of one object from ``start`` to before ``end``, both at line starts."""

    id: int
    content: int
    object: str
    start: int
    end: int | None
    """``None``: to the end of the object (a compressed one, whose length is not known before)."""
    stored_bytes: int
    """How many stored bytes have to be read, for progress and shares."""
    compression: str = ""
    after_unterminated_line: bool = False
    """The line before ``start`` had no newline when it was done; one at ``start`` belongs to it."""
    lines_before: int | None = None
    """How many lines of the content come before ``start``, where that is known."""
    skip: Mapping[str, int] = field(default_factory=dict)
    """Destination id -> offset up to which it has these lines already."""

    def first_offset(self, destination: str) -> int:
        return max(self.start, self.skip.get(destination, self.start))


@dataclass(frozen=True)
class SourceObject:
    """An object of the source when the plan was made, and why none of it is read, if so."""

    name: str
    size: int
    content: int | None
    note: str = ""


@dataclass(frozen=True)
class Archive:
    """A compressed archive, which has to be read to its end to find what is in it."""

    name: str
    size: int
    fingerprint: Fingerprint
    """Of the first decompressed bytes of the archive itself."""
    done: tuple[str, ...] = ()
    """The ids of the destinations that have all that is in it."""

    def is_done(self, name: str, size: int, head: bytes, destinations: Iterable[str]) -> bool:
        """Is the object ``name`` of this size, with these first bytes, this archive, with nothing left to deliver?"""
        same = (name, size) == (self.name, self.size) and self.fingerprint.matches(head)
        return same and set(destinations) <= set(self.done)


def segment_of_batch(batch: str) -> str:
    """The plan and the segment in the name of a batch, without its number."""
    return batch.rpartition("-")[0]


def plan_name(number: int) -> str:
    """What a plan is called in names of files."""
    return f"{number:04d}"


def new_uuid() -> str:
    """For a plan: 32 hexadecimal digits."""
    return uuid.uuid4().hex


@dataclass(frozen=True)
class Plan:
    """All work until the next plan. Numbered; resumed unchanged until it is finished."""

    number: int
    created: float
    contents: tuple[Content, ...]
    objects: tuple[SourceObject, ...]
    segments: tuple[Segment, ...]
    output: OutputFormat
    finished: bool = False
    kind: str = REPLAY
    """:data:`REPLAY`, or :data:`REDELIVERY`: the objects are dead letters in the ledger, not logs in the source."""
    uuid: str = ""
    """Tells the plan apart from any other with its number; ``""`` in a plan that an earlier version made."""
    archives: tuple[Archive, ...] = ()
    """The compressed archives of the source."""

    @property
    def name(self) -> str:
        return plan_name(self.number)

    @property
    def redelivers(self) -> bool:
        return self.kind == REDELIVERY

    @property
    def starts_from_nothing(self) -> bool:
        """Was nothing known to be delivered when it was made? So it is for a job's first plan, and after a restart."""
        return not self.redelivers and not any(content.done for content in self.contents)

    @property
    def left_out(self) -> tuple[str, ...]:
        """The objects that should have been read, and are not; each with the reason, for people."""
        return tuple(f"{obj.name}: {obj.note}" for obj in self.objects if obj.note not in HARMLESS_NOTES)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Plan:
        """Raises ``KeyError``, ``TypeError`` or ``ValueError`` for what :meth:`to_json` has not written."""
        rest = {name: values[name] for name in ("number", "created", "finished", "kind", "uuid")}
        plan = cls(
            contents=tuple(map(_content, values["contents"])),
            objects=tuple(checked(SourceObject(**obj)) for obj in values["objects"]),
            segments=tuple(checked(Segment(**segment)) for segment in values["segments"]),
            archives=tuple(map(_archive, values["archives"])),
            output=checked(OutputFormat(**values["output"])),
            **rest,
        )
        known = {content.id for content in plan.contents}
        # A finished one keeps no content of which not even the first bytes could be read, and has no more use for it.
        if plan.kind == REPLAY and not plan.finished and any(segment.content not in known for segment in plan.segments):
            raise ValueError("a segment of a content that is not in the plan")
        return checked(plan)


def _archive(values: Mapping[str, Any]) -> Archive:
    done = values["done"]
    # A text, too, would make a tuple of texts.
    parts = {
        "fingerprint": checked(Fingerprint(**values["fingerprint"])),
        "done": tuple(done) if isinstance(done, list) else done,
    }
    return checked(Archive(**(dict(values) | parts)))


def _content(values: Mapping[str, Any]) -> Content:
    tail = values["tail"]
    parts = {
        "fingerprint": checked(Fingerprint(**values["fingerprint"])),
        "tail": None if tail is None else checked(Tail(**tail)),
    }
    return checked(Content(**(dict(values) | parts)))


Range = tuple[int, int | None]


def subtract(wanted: Range, covered: Iterable[tuple[int, int]]) -> list[Range]:
    """The parts of ``wanted`` that none of ``covered`` covers, in order. An end of ``None`` is open."""
    start, end = wanted
    left: list[Range] = []
    for begin, stop in sorted(covered):
        if stop <= start:
            continue
        if end is not None and begin >= end:
            break
        if begin > start:
            left.append((start, begin))
        start = stop
    if end is None or start < end:
        left.append((start, end))
    return left


def cut_points(start: int, end: int, size: int) -> list[int]:
    """Where to look for a newline to cut at, so that no piece of ``start`` to ``end`` is much over ``size``."""
    pieces = max(1, -(-(end - start) // size))
    return [start + (end - start) * piece // pieces for piece in range(1, pieces)]


def segments_of_share(segments: Sequence[Segment], index: int, of: int) -> list[Segment]:
    """The segments that worker ``index`` (from 0) of ``of`` takes: largest first, each to the least loaded worker.

    The same for everyone who asks, so workers need no coordinator.
    """
    loads = [0] * of
    mine: list[Segment] = []
    for segment in sorted(segments, key=lambda s: (-s.stored_bytes, s.id)):
        least = loads.index(min(loads))
        loads[least] += segment.stored_bytes
        if least == index:
            mine.append(segment)
    return mine


class ContentIndex:
    """Finds the contents that begin like an object, in a time that does not depend on their number."""

    def __init__(self, contents: Iterable[Content]) -> None:
        self._by_length: dict[int, dict[str, list[int]]] = {}
        self.contents: dict[int, Content] = {}
        self._last = 0
        for content in contents:
            self.put(content)

    def put(self, content: Content) -> None:
        """Add ``content``, or replace the one with its number."""
        old = self.contents.get(content.id)
        self.contents[content.id] = content
        self._last = max(self._last, content.id)
        if old is not None and old.fingerprint == content.fingerprint:
            return
        if old is not None:
            self._by_length[old.fingerprint.length][old.fingerprint.digest].remove(old.id)
        digests = self._by_length.setdefault(content.fingerprint.length, {})
        digests.setdefault(content.fingerprint.digest, []).append(content.id)

    def matching(self, name: str, head: bytes) -> list[Content]:
        """The contents that begin like the object ``name``: first those that had this name, then the longest."""
        found = [
            self.contents[number]
            for length, digests in self._by_length.items()
            if length <= len(head)
            for number in digests.get(Fingerprint.of(head, length).digest, ())
        ]
        found = [content for content in found if content.begins_like(name, head)]
        return sorted(found, key=lambda content: (name not in content.names, -content.end, content.id))

    def add(self, name: str, head: bytes) -> Content:
        """A content of which nothing has been read yet."""
        content = Content(self._last + 1, Fingerprint.of(head), 0, 0, {}, {name: 0})
        self.put(content)
        return content
