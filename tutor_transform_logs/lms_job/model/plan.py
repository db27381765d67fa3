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
class Content:
    """What is known about one log, whatever its objects are called now. Offsets are in decompressed bytes."""

    id: int
    fingerprint: Fingerprint
    length: int
    """How many bytes of it have been read."""
    lines: int
    """How many lines these are."""
    done: Mapping[str, int]
    """Destination id -> everything before this offset has been delivered there."""
    names: Mapping[str, int]
    """Object name -> its stored size when it was read to its end."""
    resume_at: int | None = None
    """Where the last line starts, if it had no newline and was incomplete: it is read again when the log grows."""
    unterminated: bool = False
    """The last line had no newline, but was a complete event: a newline that follows belongs to it."""

    def is_same(self, name: str, head: bytes) -> bool:
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

    @property
    def name(self) -> str:
        return plan_name(self.number)

    @property
    def redelivers(self) -> bool:
        return self.kind == REDELIVERY

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Plan:
        """Raises ``KeyError``, ``TypeError`` or ``ValueError`` for what :meth:`to_json` has not written."""
        contents = (
            Content(**(content | {"fingerprint": checked(Fingerprint(**content["fingerprint"]))}))
            for content in values["contents"]
        )
        rest = {name: values[name] for name in ("number", "created", "finished", "kind", "uuid")}
        plan = cls(
            contents=tuple(map(checked, contents)),
            objects=tuple(checked(SourceObject(**obj)) for obj in values["objects"]),
            segments=tuple(checked(Segment(**segment)) for segment in values["segments"]),
            output=checked(OutputFormat(**values["output"])),
            **rest,
        )
        return checked(plan)


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
    """Finds the content to which an object's first bytes belong, in a time that does not depend on their number."""

    def __init__(self, contents: Iterable[Content]) -> None:
        self._by_length: dict[int, dict[str, list[int]]] = {}
        self.contents: dict[int, Content] = {}
        for content in contents:
            self._add(content)

    def _add(self, content: Content) -> None:
        self.contents[content.id] = content
        digests = self._by_length.setdefault(content.fingerprint.length, {})
        digests.setdefault(content.fingerprint.digest, []).append(content.id)

    def find_or_add(self, name: str, head: bytes) -> Content:
        # The longest fingerprint first: a shorter one may match the start of another log.
        for length in sorted(self._by_length, reverse=True):
            if length > len(head):
                continue
            for number in self._by_length[length].get(Fingerprint.of(head, length).digest, ()):
                if self.contents[number].is_same(name, head):
                    return self.contents[number]
        content = Content(max(self.contents, default=0) + 1, Fingerprint.of(head), 0, 0, {}, {name: 0})
        self._add(content)
        return content
