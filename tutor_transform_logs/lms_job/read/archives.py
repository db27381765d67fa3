"""Archives of logs: each file in a tar or ZIP archive is an object of its own, called ``ARCHIVE!/FILE``.

A file in a tar archive that is not compressed is a range of bytes, and is read as any plain object is. One in a ZIP
archive is read as a gzip file (see :mod:`.zip`). A compressed tar archive can only be read from its beginning: it is
read once for all of its files as long as they are asked for in their order, which PLAN and WORK do.

Names in archives are labels, never paths: nothing is unpacked to a disk.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from ..storage.base import AT_ONCE, Source, StoredObject
from ..util.errors import ObjectGone
from .decompress import BrokenObject, decompressed
from .head import HEAD_STORED_BYTES, archive_kind
from .tar import TarMember, tar_members
from .zip import ZipMember, zip_members

SEPARATOR = "!/"
MAX_MEMBERS = 100_000
MAX_LABEL_LENGTH = 1024
# How many archives are kept open, and how much is read for headers that may be close to each other.
MAX_OPEN = 4
HEADERS_BYTES = 16 * 1024
MOST_AHEAD_BYTES = 4 * 1024**2
# WORK reads the beginning of each log several times: is it what was planned, is it a tracking log, and then all of it.
KEPT_BYTES = 6 * 1024**2


class Member(NamedTuple):
    """A file in an archive, as an object."""

    name: str
    size: int
    """Of what reading it gives."""
    problem: str = ""
    """Why it can't be read, if so."""


def archive_of(name: str) -> str:
    """The archive that an object of this name is in; ``""`` if it may not be in one."""
    return name.rpartition(SEPARATOR)[0]


class Archives:
    """A source whose archives are opened: what is in them is read by the names of its members."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._open: OrderedDict[str, _Archive | None] = OrderedDict()

    def check(self, create: bool = False) -> None:
        self._source.check(create)

    def listing(self, prefix: str) -> Iterator[StoredObject]:
        """The objects; of archives, not what is in them."""
        return self._source.listing(prefix)

    def where(self, name: str) -> str:
        return self._source.where(name)

    def reading_ahead(self, names: Sequence[str], at_once: int = AT_ONCE) -> AbstractContextManager[None]:
        """The archives themselves; what is in them is read in its order anyway."""
        return self._source.reading_ahead(names, at_once)

    def read(self, name: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """As of any source. Raises :class:`~.decompress.BrokenObject` too, of what is in a damaged archive."""
        archive = self._archive_of(name)
        if archive is None:
            yield from self._source.read(name, start, end)
        else:
            yield from archive.read(name, start, end)

    def members(self, entry: StoredObject, kind: str) -> Iterator[Member]:
        """What is in an archive of this ``kind`` (see :class:`~.head.Head`), in its order.

        Raises :class:`~.decompress.BrokenObject` after the last member that can be found.
        """
        archive = self._open[entry.name] = _opened(self._source, entry, kind)
        self._close_old()
        for number, member in enumerate(archive.members(), 1):
            if number > MAX_MEMBERS:
                raise BrokenObject(f"it has more than {MAX_MEMBERS:,} files: only these are read")
            yield member

    def layers_outside(self, name: str) -> str | None:
        """The layers that reading a member has removed, the archive's own included; ``None`` if it is not in one."""
        archive = self._archive_of(name)
        return None if archive is None else archive.layers

    def _archive_of(self, name: str) -> _Archive | None:
        outer = archive_of(name)
        if not outer:
            return None
        if outer not in self._open:
            self._open[outer] = self._found(outer)
            self._close_old()
        self._open.move_to_end(outer)
        return self._open[outer]

    def _found(self, name: str) -> _Archive | None:
        """``None`` if there is no such archive: then the name is that of an object like any other."""
        entry = next((entry for entry in self._source.listing(name) if entry.name == name), None)
        if entry is None:
            return None
        try:
            kind = archive_kind(b"".join(self._source.read(name, 0, min(entry.size, HEAD_STORED_BYTES))))
        except ObjectGone:
            return None
        return _opened(self._source, entry, kind) if kind else None

    def _close_old(self) -> None:
        while len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)


class _Archive(Protocol):
    layers: str
    """What :meth:`read` has removed: ``""``, or what a compressed tar archive is packed in."""

    def members(self) -> Iterator[Member]: ...

    def read(self, name: str, start: int, end: int | None) -> Iterator[bytes]: ...


def _opened(source: Source, entry: StoredObject, kind: str) -> _Archive:
    if kind == "zip":
        return _Zip(source, entry)
    return _PlainTar(source, entry) if kind == "tar" else _PackedTar(source, entry.name, kind)


class _Labels:
    """Gives the files of an archive their names as objects: each another one, by their order alone."""

    def __init__(self, archive: str) -> None:
        self._archive = archive
        self._numbers: dict[str, int] = {}
        self.given: set[str] = set()

    def of(self, name: str) -> str:
        # Behind the last separator is the file's name.
        text = name.removeprefix("./").lstrip("/").replace(SEPARATOR, "!")[:MAX_LABEL_LENGTH] or "(no name)"
        label = first = f"{self._archive}{SEPARATOR}{text}"
        while label in self.given:
            # There may be 100,000 files of the same name.
            number = self._numbers[first] = self._numbers.get(first, 1) + 1
            label = f"{first}#{number}"
        self.given.add(label)
        return label


def _is_wanted(name: str) -> bool:
    """Not what macOS puts beside each file: its attributes, under the file's name."""
    return not name.rpartition("/")[2].startswith("._")


class _Zip:
    layers = ""

    def __init__(self, source: Source, entry: StoredObject) -> None:
        self._read: Callable[[int, int], Iterator[bytes]] = lambda begin, end: source.read(entry.name, begin, end)
        self._entry = entry
        self._members: dict[str, ZipMember] | None = None
        self._damage: BrokenObject | None = None

    def members(self) -> Iterator[Member]:
        for label, member in self._found().items():
            yield Member(label, member.size, member.problem)
        if self._damage:
            raise self._damage

    def read(self, name: str, start: int, end: int | None) -> Iterator[bytes]:
        member = self._found().get(name)
        if member is None:
            raise self._damage or ObjectGone(f"it is no longer in the archive {self._entry.name}")
        yield from member.read(self._read, start, end)

    def _found(self) -> dict[str, ZipMember]:
        if self._members is None:
            labels = _Labels(self._entry.name)
            self._members = {}
            try:
                for member in zip_members(self._read, self._entry.size):
                    if _is_wanted(member.name):
                        self._members[labels.of(member.name)] = member
            except BrokenObject as error:
                self._damage = error
        return self._members


class _PlainTar:
    layers = ""

    def __init__(self, source: Source, entry: StoredObject) -> None:
        self._source = source
        self._entry = entry
        self._members: dict[str, TarMember] | None = None

    def members(self) -> Iterator[Member]:
        self._members = {}
        for label, member in self._scan():
            self._members[label] = member
            yield Member(label, member.size, member.problem)

    def read(self, name: str, start: int, end: int | None) -> Iterator[bytes]:
        member = self._search(name)
        stop = member.size if end is None else min(end, member.size)
        if start < stop:
            yield from self._source.read(self._entry.name, member.offset + start, member.offset + stop)

    def _search(self, name: str) -> TarMember:
        if self._members is None:
            self._members = {}
            try:
                self._members.update(self._scan())
            except BrokenObject:
                pass  # PLAN has said so
        if name not in self._members:
            raise ObjectGone(f"it is no longer in the archive {self._entry.name}")
        return self._members[name]

    def _scan(self) -> Iterator[tuple[str, TarMember]]:
        labels = _Labels(self._entry.name)
        for member in tar_members(_RangeTape(self._source, self._entry)):
            if not _is_wanted(member.name):
                continue
            there = max(0, min(member.size, self._entry.size - member.offset))
            label = labels.of(member.name)
            yield label, member._replace(size=there)
            if there < member.size:
                raise BrokenObject("truncated tar archive")


class _PackedTar:
    """A compressed tar archive. Its files are read in their order; any other order starts over."""

    def __init__(self, source: Source, name: str, kind: str) -> None:
        self.layers = kind
        self._source = source
        self._name = name
        self._scan: _Cursor | None = None
        self._reader: _Cursor | None = None

    def members(self) -> Iterator[Member]:
        cursor = self._scan = self._cursor()
        while cursor.advance():
            yield Member(cursor.label, cursor.member.size, cursor.member.problem)
        self._scan = None

    def read(self, name: str, start: int, end: int | None) -> Iterator[bytes]:
        yield from self._cursor_at(name).read(start, end)

    def _cursor(self) -> _Cursor:
        chunks = decompressed(self._source.read(self._name), self.layers.rpartition("+")[0])
        return _Cursor(self._name, chunks)

    def _cursor_at(self, name: str) -> _Cursor:
        """One that is at the first byte of a member."""
        for cursor in filter(None, (self._scan, self._reader)):
            if cursor.can_reread(name):
                return cursor
        if self._reader is None or name in self._reader.labels.given:
            self._reader = self._cursor()
        while self._reader.advance():
            if self._reader.label == name:
                return self._reader
        self._reader = None
        raise ObjectGone(f"it is no longer in the archive {self._name}")


class _Cursor:
    """A place in a compressed tar archive: at a member, of which the first bytes can be read again."""

    def __init__(self, name: str, chunks: Iterable[bytes]) -> None:
        self.labels = _Labels(name)
        self.label = ""
        self.member = TarMember("", 0, 0)
        self._tape = _StreamTape(chunks)
        self._members = tar_members(self._tape)
        self._head = b""

    def advance(self) -> bool:
        """Go to the next member; ``False`` if there is none."""
        for member in self._members:
            if _is_wanted(member.name):
                self.member, self.label, self._head = member, self.labels.of(member.name), b""
                return True
        return False

    @property
    def _taken(self) -> int:
        return self._tape.position - self.member.offset

    def can_reread(self, label: str) -> bool:
        """Is it at this member, and has it passed no more of it than it remembers?"""
        return self.label == label and self._taken == len(self._head)

    def read(self, start: int, end: int | None) -> Iterator[bytes]:
        """Of the member; from its first bytes on, which are remembered."""
        stop = self.member.size if end is None else min(end, self.member.size)
        position, head = 0, self._head
        while position < stop:
            piece = head or self._tape.next_piece(self.member.size - self._taken)
            if not piece:
                raise BrokenObject("truncated tar archive")
            if not head and len(self._head) == position and position < KEPT_BYTES:
                self._head += piece
            head = b""
            yield piece[max(0, start - position) : stop - position]
            position += len(piece)


class _RangeTape:
    """A tar archive that is not compressed, of which only the headers are read."""

    def __init__(self, source: Source, entry: StoredObject) -> None:
        self._source = source
        self._entry = entry
        self._block, self._begin = b"", 0
        self.position = 0

    def take(self, count: int) -> bytes:
        first = self.position - self._begin
        if first < 0 or first + count > len(self._block):
            # What is read without a gap is zeros, perhaps many.
            ahead = min(2 * len(self._block), MOST_AHEAD_BYTES) if first == len(self._block) else HEADERS_BYTES
            end = min(self._entry.size, self.position + max(count, ahead, HEADERS_BYTES))
            chunks = self._source.read(self._entry.name, self.position, end) if self.position < end else iter(())
            self._block, self._begin, first = b"".join(chunks), self.position, 0
        taken = self._block[first : first + count]
        self.position += len(taken)
        return taken

    def skip_to(self, position: int) -> None:
        self.position = position


class _StreamTape:
    """A tar archive that is decompressed as it is read."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._chunk, self._at = b"", 0
        self.position = 0

    def next_piece(self, most: int) -> bytes:
        """The next bytes, at most this many; ``b""`` at the end."""
        while self._at >= len(self._chunk):
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._chunk, self._at = chunk, 0
        piece = self._chunk[self._at : self._at + most]
        self._at += len(piece)
        self.position += len(piece)
        return piece

    def take(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            piece = self.next_piece(count - len(found))
            if not piece:
                break
            found += piece
        return found

    def skip_to(self, position: int) -> None:
        while self.position < position:
            if not self.next_piece(position - self.position):
                raise BrokenObject("truncated tar archive")
