"""The members of a tar archive, one after the other. Only headers are held in memory.

An archive ends with zeros. Another one may follow, as where two were joined with ``cat``: it is read too, as
``tar --ignore-zeros`` does.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

from .decompress import BrokenObject

BLOCK = 512
# GNU tar and pax write long names, and what else does not fit into a header, in front of it.
MAX_EXTENSION_BYTES = 1024**2
MAX_DIGITS = 19
_ZEROS = bytes(BLOCK)
_LONG_NAME, _LONG_LINK = tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK
_PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_WITHOUT_DATA = (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE)
BEHIND_THE_END = "damaged tar archive (what follows its end is not an archive)"
SPARSE = "it is stored as a sparse file, which is not read: pack it without --sparse and run the command again"


class Tape(Protocol):
    """The bytes of an archive, read forwards."""

    position: int

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes; fewer at the end."""

    def skip_to(self, position: int) -> None:
        """Go on at ``position``, which is not before the present one."""


class TarMember(NamedTuple):
    """A file in an archive; its ``size`` bytes begin at ``offset`` of the (decompressed) archive."""

    name: str
    size: int
    offset: int
    problem: str = ""
    """Why it can't be read, if so."""


def tar_members(tape: Tape) -> Iterator[TarMember]:
    """The files in the archive: no folders, links and devices. While one is yielded, the tape is at its first byte.

    Raises :class:`~.decompress.BrokenObject` where the archive is damaged or ends early.
    """
    while True:
        header = _next_header(tape)
        if header is None:
            return
        info, named = header
        size = _number(named["size"]) if "size" in named else info.size
        if size < 0:
            raise BrokenObject("damaged tar archive (a negative size)")
        sparse = info.type == tarfile.GNUTYPE_SPARSE or any(key.startswith("GNU.sparse.") for key in named)
        begin = tape.position
        if info.isreg():
            name = named.get("GNU.sparse.name") or named.get("path") or info.name
            yield TarMember(name, size, begin, SPARSE if sparse else "")
        if info.type not in _WITHOUT_DATA:
            tape.skip_to(begin + _padded(size))


def is_tar(head: bytes) -> bool:
    """Does a tar archive begin like this? Before it may be one with no files, which is zeros."""
    begin = 0
    if head.startswith(_ZEROS):
        begin = (len(head) - len(head.lstrip(b"\0"))) // BLOCK * BLOCK
    block = head[begin : begin + BLOCK]
    if len(block) < BLOCK:
        return False
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _next_header(tape: Tape) -> tuple[tarfile.TarInfo, dict[str, str]] | None:
    """The header of the next member, and what was written in front of it; ``None`` where nothing follows."""
    named: dict[str, str] = {}
    block, ended = _after_zeros(tape)
    while block:
        if len(block) < BLOCK:
            raise BrokenObject(BEHIND_THE_END if ended else "truncated tar archive")
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise BrokenObject(BEHIND_THE_END if ended else f"damaged tar archive ({error})") from None
        if info.type in (_LONG_NAME, _LONG_LINK):
            text = _extension(tape, info.size).partition(b"\0")[0]
            named |= {"path": text.decode("utf-8", "surrogateescape")} if info.type == _LONG_NAME else {}
        elif info.type in _PAX:
            named |= dict(_pax_records(_extension(tape, info.size)))
        elif info.type == tarfile.XGLTYPE:
            _extension(tape, info.size)
        else:
            if info.type == tarfile.GNUTYPE_SPARSE:
                _skip_sparse_map(tape, block)
            return info, named
        block, ended = _after_zeros(tape)
    return None


def _after_zeros(tape: Tape) -> tuple[bytes, bool]:
    """The next block that is not zeros, ``b""`` at the end of the tape; and did the archive before it end?"""
    ended = False
    while (block := tape.take(BLOCK)) == _ZEROS:
        ended = True
    # The last block may be cut off, too.
    return (b"", True) if ended and not block.strip(b"\0") else (block, ended)


def _extension(tape: Tape, size: int) -> bytes:
    if not 0 <= size <= MAX_EXTENSION_BYTES:
        raise BrokenObject(f"damaged tar archive (an extended header of {size:,} bytes)")
    content = tape.take(_padded(size))
    if len(content) < size:
        raise BrokenObject("truncated tar archive")
    return content[:size]


def _pax_records(content: bytes) -> Iterable[tuple[str, str]]:
    """``LENGTH KEY=VALUE\\n`` each; the length is that of the whole record."""
    at = 0
    while at < len(content):
        space = content.find(b" ", at, at + MAX_DIGITS + 1)
        length = _number(content[at : max(at, space)].decode("ascii", "replace"))
        key, equals, value = content[space + 1 : at + length].partition(b"=")
        if not equals or at + length <= space + 1 or not value.endswith(b"\n"):
            raise BrokenObject("damaged tar archive (an extended header)")
        yield key.decode("utf-8", "surrogateescape"), value[:-1].decode("utf-8", "surrogateescape")
        at += length


def _number(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > MAX_DIGITS:
        raise BrokenObject("damaged tar archive (a number in an extended header)")
    return int(text)


def _skip_sparse_map(tape: Tape, block: bytes) -> None:
    """The rest of the map of a sparse file in GNU's format, which is between its header and its data."""
    extended = block[482]
    while extended:
        block = tape.take(BLOCK)
        if len(block) < BLOCK:
            raise BrokenObject("truncated tar archive")
        extended = block[504]


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
