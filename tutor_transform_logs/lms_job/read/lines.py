"""From an object's bytes to lines: unpack what is compressed, split at newlines, keep count of where each line is."""

from __future__ import annotations

import bz2
import importlib
import lzma
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Protocol, overload

from ..model.records import START, Line, Position, SkippedLines
from .prefilter import Prefilter

PIECE = 1024 * 1024
# Of a line, where nothing else is said.
LIMIT = 16 * 1024**2

# An xz file says itself how much memory it takes to read it. "xz -9" makes files that need 65 MiB.
XZ_MEMORY = 256 * 1024**2

# The first bytes say how an object is compressed; its name may be wrong.
MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


class BrokenObject(Exception):
    """The compressed stream ends early or is damaged; everything before the damage was yielded."""


def compression(head: bytes) -> str:
    """The name of the compression by an object's first bytes, or ``""``."""
    for magic, name in MAGIC.items():
        if head.startswith(magic):
            return name
    return ""


class _Unpacker(Protocol):
    """What bz2's and lzma's decompressors have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    @property
    def needs_input(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Gunzip:
    """zlib's decompressor with the interface of bz2's and lzma's."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=31)
        self._full = False

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    @property
    def needs_input(self) -> bool:
        # zlib may hold output back although it has eaten all its input: only a short answer means it has no more.
        return not self._zlib.unconsumed_tail and not self._full

    def decompress(self, data: bytes, max_length: int = PIECE) -> bytes:
        out = self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)
        self._full = len(out) == max_length
        return out


def _unpacker(name: str) -> _Unpacker:
    if name == "gzip":
        return _Gunzip()
    if name == "bzip2":
        return bz2.BZ2Decompressor()
    return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=XZ_MEMORY)


def decompressed(chunks: Iterable[bytes], name: str) -> Iterator[bytes]:
    """Unpack a stream of ``chunks`` compressed as ``name`` says (``""``: as it is), in pieces of bounded size.

    Members that follow each other in one stream are read on; zero padding after the last one is ignored, as gzip
    itself does. Raises :class:`BrokenObject` after the last good piece.
    """
    if not name:
        yield from chunks
    elif name == "zstd":
        yield from _unzstd(chunks)
    else:
        yield from _unpack(iter(chunks), name)


def _unpack(chunks: Iterator[bytes], name: str) -> Iterator[bytes]:
    unpacker: _Unpacker | None = None
    data: bytes | None = b""
    while True:
        if unpacker is None:  # before the first member, or between two
            data = (data or b"").lstrip(b"\0")
            if not data:
                data = next(chunks, None)
                if data is None:
                    return
                continue
            unpacker = _unpacker(name)
        elif not data and unpacker.needs_input:
            data = next(chunks, None)
            if data is None:
                raise BrokenObject(f"truncated {name} data")
        try:
            piece = unpacker.decompress(data or b"", PIECE)
        except (zlib.error, OSError, lzma.LZMAError, EOFError) as error:
            raise BrokenObject(f"damaged {name} data ({error})") from None
        data = b""
        if piece:
            yield piece
        if unpacker.eof:
            data, unpacker = unpacker.unused_data, None


def _unzstd(chunks: Iterable[bytes]) -> Iterator[bytes]:
    try:
        zstandard: Any = importlib.import_module("zstandard")
    except ImportError:
        raise BrokenObject("zstd data, and this image has no Python package zstandard to read it") from None
    unpacker = zstandard.ZstdDecompressor().decompressobj()
    try:
        for chunk in chunks:
            data = chunk
            while data:
                if unpacker.eof:
                    unpacker = zstandard.ZstdDecompressor().decompressobj()
                piece = unpacker.decompress(data)
                data = unpacker.unused_data if unpacker.eof else b""
                yield piece
    except zstandard.ZstdError as error:
        raise BrokenObject(f"damaged zstd data ({error})") from None
    if not unpacker.eof:
        raise BrokenObject("truncated zstd data")


def drop_bytes(chunks: Iterable[bytes], count: int) -> Iterator[bytes]:
    """``chunks`` without their first ``count`` bytes."""
    for chunk in chunks:
        if count >= len(chunk):
            count -= len(chunk)
            continue
        yield chunk[count:] if count else chunk
        count = 0


@overload
def split_lines(chunks: Iterable[bytes], start: Position = START, limit: int = LIMIT) -> Iterator[Line]: ...


@overload
def split_lines(
    chunks: Iterable[bytes], start: Position = START, limit: int = LIMIT, prefilter: Prefilter | None = None
) -> Iterator[Line | SkippedLines]: ...


def split_lines(
    chunks: Iterable[bytes], start: Position = START, limit: int = LIMIT, prefilter: Prefilter | None = None
) -> Iterator[Line | SkippedLines]:
    """Split ``chunks`` into lines at ``\\n``; a ``\\r`` before it goes too.

    ``start``: of the first line. Of a line longer than ``limit`` bytes only the first ``limit`` are kept, so memory
    stays bounded whatever the input is. The lines that ``prefilter`` rules out come as :class:`SkippedLines`.
    """
    offset, number = start
    begun: list[bytes] = []  # the parts of a line that has not ended yet, as far as they are kept
    kept = length = 0  # their bytes, and how many bytes of the line were read
    for chunk in chunks:
        at = 0
        if begun:
            # The line that spans chunks is completed by itself: the rest need not be copied for its sake.
            newline = chunk.find(b"\n")
            at = newline + 1 or len(chunk)
            if kept <= limit:
                begun.append(chunk[: min(at, limit + 1 - kept)])
                kept += len(begun[-1])
            length += at
            if newline < 0:
                continue
            text, begun = b"".join(begun), []
            if length - 1 > limit:
                yield Line(offset, offset + length, number, text[:limit], overlong=True)
            else:
                yield from _ended(text, 0, Position(offset, number), limit, prefilter)
            offset, number = offset + length, number + 1
        last: Line | SkippedLines | None = None
        for last in _ended(chunk, at, Position(offset, number), limit, prefilter):
            yield last
        if last is not None:
            offset, number = last.end, last.number + (last.lines if isinstance(last, SkippedLines) else 1)
        at = chunk.rfind(b"\n", at) + 1 or at
        if at < len(chunk):
            begun = [chunk[at : at + limit + 1]]
            kept, length = len(begun[0]), len(chunk) - at
    if begun:
        overlong = length > limit
        raw = b"".join(begun)[:limit] if overlong else b"".join(begun).removesuffix(b"\r")
        yield Line(offset, offset + length, number, raw, overlong, unterminated=True)


def _ended(
    text: bytes, at: int, start: Position, limit: int, prefilter: Prefilter | None
) -> Iterator[Line | SkippedLines]:
    """The lines that end in ``text``. The first of them begins at ``at``, which is ``start`` in the object."""
    offset, number = start
    ascii_only = prefilter is not None and text.isascii()
    while (newline := text.find(b"\n", at)) >= 0:
        if prefilter is not None:
            count, stop = prefilter.skip_from(text, at, limit, ascii_only)
            if count:
                skipped = SkippedLines(offset, number, count, text, at, stop)
                yield skipped
                # The line after them is known not to be skipped.
                offset, number, at, newline = skipped.end, number + count, stop, text.find(b"\n", stop)
                if newline < 0:
                    return
        raw = text[at:newline]
        end = offset + len(raw) + 1
        if len(raw) > limit:
            yield Line(offset, end, number, raw[:limit], overlong=True)
        else:
            yield Line(offset, end, number, raw[:-1] if raw.endswith(b"\r") else raw)
        offset, number, at = end, number + 1, newline + 1
