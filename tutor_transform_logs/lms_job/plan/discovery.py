"""Identifies the objects of the source by their bytes: the first step of PLAN.

A log keeps its first bytes when it is renamed, compressed or appended to. So its content is found again under any name,
and another log that has taken its name is not mistaken for it. Two logs may have the same first bytes, where servers
were cloned from one image or a log was restored from a backup: what is known of a content is therefore compared at its
end, too.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

from ..model.plan import DONE_BEFORE, Archive, Content, ContentIndex, Fingerprint, Segment
from ..read.archives import Archives
from ..read.decompress import BrokenObject
from ..read.head import Head
from ..read.identify import StoredLog, has_tail, known_length, read_head
from ..storage.base import Readable, Source, StoredObject
from ..util.errors import ObjectGone
from ..util.formatting import printable, size

log = logging.getLogger(__name__)

# In an object store, many objects take a while.
LOG_EVERY_SECS = 10.0
# Objects whose beginnings are remembered between two searches: 20 MB.
MOST_SEEN = 5000


class ObjectMoved(Exception):
    """What was listed, or its beginning, is no longer what has its name."""


@dataclass(frozen=True)
class IdentifiedObject:
    """An object of the source: its name, stored size and compression, and the number of its content."""

    name: str
    size: int
    compression: str
    content: int
    """0: none, since it is empty or :attr:`note` says why."""
    length: int | None
    """How many decompressed bytes it has; ``None`` if it is compressed and that is not known."""
    note: str = ""
    """Why it can't be read, or why it can't be told which log it is."""
    place: int = 0
    """Its place in the archive that it is in."""


def identify_objects(
    source: Readable,
    found: Iterable[StoredObject],
    index: ContentIndex,
    archives: ArchiveIndex | None = None,
    last_look: bool = True,
) -> list[IdentifiedObject]:
    """Find the content of every object, in order of their names. Contents that ``index`` does not know are added to it.

    In place of an archive there are the objects in it, except where ``archives`` says that nothing of it is left to do.

    Of each object the first bytes are read, and of a plain one those at its end. What begins like a known content or
    like another object is compared with it; a compressed object is read to its end for that, unless it is known under
    its name and size. Raises :class:`ObjectMoved` if one was rotated meanwhile, and this is not the ``last_look``.
    """
    found = list(found)
    identifier = _Identifier(source, index, archives or ArchiveIndex(), _new_sizes(found, index))
    identifier.last_look = last_look
    logged_at = time.monotonic()
    known = {name for content in index.contents.values() for name in content.names}
    # The objects that had their names before come first, so that no other takes their place.
    ordered = sorted(found, key=lambda entry: (entry.name not in known, entry.size, entry.name))
    with _reading_ahead(source, ordered):
        for number, entry in enumerate(ordered):
            if time.monotonic() - logged_at >= LOG_EVERY_SECS:
                logged_at = time.monotonic()
                log.info("Reading the first bytes of each object: %s so far.", f"{number:,}")
            identifier.add(entry)
    return sorted(identifier.identified(), key=lambda obj: obj.name)


def _reading_ahead(source: Readable, entries: Iterable[StoredObject]) -> AbstractContextManager[None]:
    """Within it, the first bytes of these objects are read in this order. An empty one has none."""
    names = [entry.name for entry in entries if entry.size]
    return source.reading_ahead(names) if isinstance(source, Archives) else nullcontext()


def _new_sizes(entries: Iterable[StoredObject], index: ContentIndex) -> frozenset[int]:
    """The stored sizes of the objects that no content is known to have had under their name and with their size.

    When compressed logs are rotated, each gets the name of the one before it. So the last of them is such an object.
    """
    known = {each for content in index.contents.values() for each in content.names.items()}
    return frozenset(entry.size for entry in entries if (entry.name, entry.size) not in known)


class ArchiveIndex:
    """The compressed archives of the source: those that earlier plans have read, and those that are there now."""

    def __init__(self, known: Iterable[Archive] = (), destinations: Iterable[str] = ()) -> None:
        self._known = {archive.name: archive for archive in known}
        self._destinations = frozenset(destinations)
        self.found: list[Archive] = []

    def is_done(self, entry: StoredObject, head: Head) -> bool:
        """Do all destinations have all that is in this archive? One that is not compressed is always opened."""
        if not head.kind:
            return False
        known = self._known.get(entry.name)
        done = known is not None and known.is_done(entry.name, entry.size, head.first, self._destinations)
        if known is not None and done:
            self.found.append(known)
        else:
            self.found.append(Archive(entry.name, entry.size, Fingerprint.of(head.first)))
        return done


@dataclass
class _Candidate:
    """An object that is being identified."""

    entry: StoredObject
    head: bytes
    stored: StoredLog
    content: int = 0
    note: str = ""
    place: int = 0


class _Identifier:
    """Gives each object its content."""

    def __init__(
        self, source: Readable, index: ContentIndex, archives: ArchiveIndex, new_sizes: Collection[int]
    ) -> None:
        """``new_sizes``: an object of such a stored size may be another one than had its name before."""
        self._source = source
        self._new_sizes = new_sizes
        self._index = index
        self._archives = archives
        self._holders: dict[int, StoredLog] = {}
        """Content id -> the longest of the objects that hold it."""
        self._placed: list[_Candidate] = []
        self._shorter: list[_Candidate] = []
        self.last_look = True

    def add(self, entry: StoredObject, place: int = 0) -> None:
        """Identify ``entry``, now or, where that depends on the other objects, at the end."""
        head = read_head(self._source, entry.name, entry.size) if entry.size else Head("", b"")
        if head.archive:
            if self._archives.is_done(entry, head):
                self._note(entry, DONE_BEFORE)
            else:
                self._add_members(entry, head.archive)
            return
        stored = StoredLog(self._source, entry.name, entry.size, head.kind)
        candidate = _Candidate(entry, head.first, stored, note=head.problem, place=place)
        if entry.size and not head.problem and not self._place(candidate, compare_shorter=False):
            self._shorter.append(candidate)
            return
        candidate.head = b""  # there may be many objects
        self._placed.append(candidate)

    def _add_members(self, archive: StoredObject, kind: str) -> None:
        assert isinstance(self._source, Archives)
        place, problem = 0, ""
        try:
            for place, member in enumerate(self._source.members(archive, kind), 1):
                entry = StoredObject(member.name, member.size)
                if member.problem:
                    self._note(entry, member.problem)
                else:
                    self.add(entry, place)
        except (BrokenObject, ObjectGone) as error:
            problem = f"{error}; what is before that is read"
        if problem or not place:
            self._note(archive, problem)

    def _note(self, entry: StoredObject, note: str) -> None:
        """Nothing of ``entry`` is read."""
        self._placed.append(_Candidate(entry, b"", StoredLog(self._source, entry.name, entry.size, ""), note=note))

    def identified(self) -> list[IdentifiedObject]:
        """All objects that were added."""
        for candidate in self._shorter:
            if not self._place(candidate, compare_shorter=True):
                candidate.note = self._undecided(candidate)
        return [
            IdentifiedObject(
                each.entry.name,
                each.entry.size,
                each.stored.compression,
                each.content,
                each.stored.length,
                each.note,
                each.place,
            )
            for each in [*self._placed, *self._shorter]
        ]

    def _place(self, candidate: _Candidate, compare_shorter: bool) -> bool:
        """Find the content of an object; ``False`` if it is shorter than one that it may be a copy of."""
        entry, stored = candidate.entry, candidate.stored
        contents = self._index.matching(entry.name, candidate.head)
        for content in contents:
            if stored.compression and content.length and self._is_unchanged(entry, content):
                stored.assume_length(content.length)
                self._claim(candidate, content)
                return True
        compared = [content for content in contents if content.end or content.id in self._holders]
        if compared and stored.compression:
            log.info("Comparing %s (%s) with another log.", printable(entry.name), size(entry.size))
        if compared:
            # Of a plain one, the others are read if it is not the first of them.
            stored.load({content.end for content in (compared if stored.compression else compared[:1])})
        matched, undecided = None, False
        # A content of which nothing is known but its beginning is the last choice.
        for content in [*compared, *(each for each in contents if each not in compared)]:
            same = content not in compared or self._is_same(candidate, content, compare_shorter)
            if same:
                matched = self._index.contents[content.id]
                break
            undecided = undecided or same is None
        if matched is None and undecided:
            return False
        self._claim(candidate, matched or self._index.add(entry.name, candidate.head))
        return True

    def _is_unchanged(self, entry: StoredObject, content: Content) -> bool:
        """Did ``content`` have this name and stored size, and has no other object taken the name since?"""
        return content.names.get(entry.name) == entry.size and entry.size not in self._new_sizes

    def _is_same(self, candidate: _Candidate, content: Content, compare_shorter: bool) -> bool | None:
        """Does the object hold ``content``? ``None`` if it ends before the place where they can be compared."""
        entry, stored = candidate.entry, candidate.stored
        holder = self._holders.get(content.id)
        if content.tail is None and holder is not None:
            # A compressed object, of which only the beginning was read so far.
            content = replace(content, tail=holder.tail(holder.readable))
            self._index.put(content)
        if content.tail is not None and stored.readable >= content.end:
            tail = stored.tail(content.end)
            if tail is None and not stored.compression and not self.last_look:
                # It begins like this content and had more than its bytes when it was listed: it has another name now.
                raise ObjectMoved
            return tail == content.tail
        if self._is_unchanged(entry, content):
            # A shorter copy, as it was when it was compared with the log.
            return True
        if holder is None:
            # An earlier version saved no tails: as it did, the first bytes are trusted.
            return True if content.tail is None and stored.readable >= content.end else None
        if not compare_shorter:
            return None
        end = min(stored.readable, holder.readable)
        if stored.tail(end) is None or stored.tail(end) != holder.tail(end):
            return False
        return True if end == stored.readable else None

    def _claim(self, candidate: _Candidate, content: Content) -> None:
        """``candidate`` holds ``content``, which is known from now on by all that is known of ``candidate``."""
        stored, head = candidate.stored, candidate.head
        candidate.content = content.id
        if len(head) > content.fingerprint.length:
            content = replace(content, fingerprint=Fingerprint.of(head))
        measured = not stored.compression or stored.has_tails
        if head and measured and stored.length is not None and stored.length >= content.end:
            content = replace(content, tail=stored.tail(stored.length) or content.tail)
        self._index.put(content)
        holder = self._holders.get(content.id)
        if holder is None or (measured and stored.readable > (holder.length or 0)):
            self._holders[content.id] = stored

    def _undecided(self, candidate: _Candidate) -> str:
        """What is to be said of an object that is shorter than what it may be."""
        entry, stored = candidate.entry, candidate.stored
        contents = self._index.matching(entry.name, candidate.head)
        content = next((each for each in contents if each.end > stored.readable), contents[0])
        sizes = f"{stored.readable:,} bytes" + (f": {stored.problem}" if stored.problem else "")
        # Seen by PLAN: what of it was read may be less.
        sizes += f"; {content.end:,}"
        if entry.name in content.names:
            what = f"shorter than it was ({sizes} were seen before)"
        else:
            what = (
                f"has the first bytes of {printable(min(content.names))} and is shorter ({sizes} were seen before), "
                "so it may be a copy or another log"
            )
        return f"{what}: nothing of it is read; --restart reads all logs again"


def find_object_of(segment: Segment, identified: Sequence[IdentifiedObject]) -> Segment | None:
    """``segment`` with the object that holds its content now; ``None`` if none does, or none that is long enough."""
    candidates = [
        obj
        for obj in identified
        if obj.content == segment.content and (obj.length is None or segment.end is None or obj.length >= segment.end)
    ]
    if any((obj.name, obj.compression) == (segment.object, segment.compression) for obj in candidates):
        return segment
    if not candidates:
        return None
    best = min(candidates, key=lambda obj: (bool(obj.compression), obj.name))
    return replace(segment, object=best.name, compression=best.compression)


def find_again(
    source: Source, prefixes: Iterable[str], segment: Segment, content: Content, seen: dict[StoredObject, bytes]
) -> Segment | None:
    """Search the whole source for the content of ``segment``, for example after a log was rotated during the run.

    ``seen``: how objects began that earlier searches have met. It only says which to look at before all the others,
    and these are read again: meanwhile, another log of the same size may have the name.
    """
    entries = [entry for prefix in prefixes for entry in source.listing(prefix)]
    likely = [entry for entry in entries if entry not in seen or content.begins_like(entry.name, seen[entry])]
    found = find_object_of(segment, _holders(source, likely, content, seen))
    if found is None and len(likely) < len(entries):
        found = find_object_of(segment, _holders(source, entries, content, seen))
    return found


def _holders(
    source: Source, entries: Sequence[StoredObject], content: Content, seen: dict[StoredObject, bytes]
) -> list[IdentifiedObject]:
    """The objects among ``entries`` that hold ``content``. How they begin is added to ``seen``, but not without end."""
    holders = []
    with _reading_ahead(source, entries):
        for entry, head in _heads(source, entries):
            if len(seen) < MOST_SEEN or entry in seen:
                seen[entry] = head.first
            if content.begins_like(entry.name, head.first) and has_tail(source, entry.name, content, head.kind):
                length = known_length(entry.size, head.kind)
                holders.append(IdentifiedObject(entry.name, entry.size, head.kind, content.id, length))
    return holders


def _heads(source: Source, entries: Iterable[StoredObject]) -> Iterator[tuple[StoredObject, Head]]:
    """How each object begins; in place of an archive, each object in it."""
    for entry in entries:
        head = read_head(source, entry.name, entry.size)
        if head.archive and isinstance(source, Archives):
            try:
                members = (StoredObject(each.name, each.size) for each in source.members(entry, head.archive))
                yield from ((member, read_head(source, member.name, member.size)) for member in members)
            except (BrokenObject, ObjectGone):
                pass  # PLAN has said so
        else:
            yield entry, head
