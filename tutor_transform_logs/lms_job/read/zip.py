"""The members of a ZIP archive, each as a plain or a compressed object."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable, Iterator
from typing import NamedTuple

from .decompress import BrokenObject

# The table of contents is read into memory: some 100,000 members.
MAX_DIRECTORY_BYTES = 8 * 1024**2
LOCAL_HEADER = struct.Struct("<26xHH")
GZIP_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
# Methods whose data are what a file with that compression holds.
WHOLE_STREAMS = (zipfile.ZIP_BZIP2, 93, 95)

ReadRange = Callable[[int, int], Iterator[bytes]]


class ZipMember(NamedTuple):
    """A file in an archive, as an object that begins with ``before`` and ends with ``after``.

    Deflated data are what is between the header and the trailer of a gzip file, and get both: so they are read, and
    checked, as a gzip file is.
    """

    name: str
    header: int
    """Where its header is in the archive."""
    stored: int
    """How many bytes of the archive are its data."""
    before: bytes = b""
    after: bytes = b""
    problem: str = ""
    """Why it can't be read, if so."""

    @property
    def size(self) -> int:
        return len(self.before) + self.stored + len(self.after)

    def read(self, read: ReadRange, start: int, end: int | None) -> Iterator[bytes]:
        """Its bytes from ``start`` to before ``end``. ``read`` reads a range of the archive."""
        stop = self.size if end is None else min(end, self.size)
        yield from _slice(self.before, start, stop)
        first, last = max(0, start - len(self.before)), min(self.stored, stop - len(self.before))
        if first < last:
            data = self._data_offset(read)
            yield from read(data + first, data + last)
        after = len(self.before) + self.stored
        yield from _slice(self.after, start - after, stop - after)

    def _data_offset(self, read: ReadRange) -> int:
        header = b"".join(read(self.header, self.header + LOCAL_HEADER.size))
        if len(header) < LOCAL_HEADER.size or not header.startswith(b"PK\x03\x04"):
            raise BrokenObject("damaged ZIP archive (no header where a file should be)")
        name, extra = LOCAL_HEADER.unpack(header)
        return self.header + LOCAL_HEADER.size + int(name) + int(extra)


JOINED = "several ZIP archives in one file, of which only the last is read: take them apart and run the command again"


def is_zip(head: bytes) -> bool:
    """Does a ZIP archive begin like this?"""
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06"))


def zip_members(read: ReadRange, size: int) -> Iterator[ZipMember]:
    """The files in the archive, without folders.

    Raises :class:`~.decompress.BrokenObject` if it is damaged, and at its end if another archive is before it.
    """
    try:
        archive = zipfile.ZipFile(_File(read, size))  # all that it uses of a file is there
        members = [_member(info) for info in archive.infolist() if not info.is_dir()]
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, struct.error) as error:
        raise BrokenObject(f"damaged ZIP archive ({error})") from None
    yield from members
    # It begins as an archive does (see is_zip), with a file that its table of contents, at its end, does not have.
    if min((info.header_offset for info in archive.infolist()), default=0) > 0:
        raise BrokenObject(JOINED)


def _member(info: zipfile.ZipInfo) -> ZipMember:
    member = ZipMember(info.filename, info.header_offset, info.compress_size)
    if info.flag_bits & 0x1:
        return member._replace(problem="it is encrypted (ZIP): unpack it and run the command again")
    if info.compress_type == DEFLATED:
        after = struct.pack("<II", info.CRC, info.file_size & 0xFFFFFFFF)
        return member._replace(before=GZIP_HEADER, after=after)
    if info.compress_type in (STORED, *WHOLE_STREAMS):
        return member
    method = f"it is compressed with a method of ZIP that is not read ({info.compress_type})"
    return member._replace(problem=f"{method}: unpack it and run the command again")


def _slice(content: bytes, start: int, end: int) -> Iterator[bytes]:
    piece = content[max(0, start) : max(0, end)]
    if piece:
        yield piece


class _File:
    """An archive as a file, for ``zipfile``."""

    def __init__(self, read: ReadRange, size: int) -> None:
        self._read = read
        self._size = size
        self._position = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            # As a file does.
            raise OSError("before the beginning")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def seekable(self) -> bool:
        return True

    def read(self, count: int = -1) -> bytes:
        end = self._size if count < 0 else min(self._size, self._position + count)
        if end - self._position > MAX_DIRECTORY_BYTES:
            raise BrokenObject(f"a ZIP archive whose table of contents is larger than {MAX_DIRECTORY_BYTES:,} bytes")
        content = b"".join(self._read(self._position, end)) if end > self._position else b""
        self._position += len(content)
        return content
