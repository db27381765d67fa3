"""From an object's stored bytes to those of its log: unpack what is compressed, one layer after the other."""

from __future__ import annotations

import bz2
import codecs
import importlib
import lzma
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

PIECE = 1024 * 1024
MIN_PIECE = 64 * 1024
MEMBERS_INPUT = 64 * 1024

# What is packed with xz or zstd says how much memory it takes to unpack it: "xz -9" 65 MiB, "zstd --long" 128 MiB.
# All layers are unpacked at the same time, so only one may take that much, and none of them more than this.
MEMORY = {"xz": 96 * 1024**2, "zstd": 128 * 1024**2}
OUTERMOST_MEMORY = 66 * 1024**2
INNER_MEMORY = 10 * 1024**2
NEEDS_MEMORY = re.compile("requires too much memory|Memory usage limit")

# A block of zstd may be 4 bytes and unpack to 128 KiB: this much at a time is at most 16 MiB.
ZSTD_INPUT = 512

# The first bytes say how an object is packed; its name may be wrong.
MAGIC = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    # As pzstd begins its files.
    b"\x50\x2a\x4d\x18": "zstd",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
    b"{\0": "utf-16-le",
    b"\0{": "utf-16-be",
}
TEXT_ENCODINGS = ("utf-16-le", "utf-16-be")
BOM = "\ufeff"
TAR = "tar"

NO_ZSTANDARD = (
    "zstd data, and this image has no Python package zstandard to read it: decompress the log, or add the package "
    "(tutor config save --append OPENEDX_EXTRA_PIP_REQUIREMENTS=zstandard, then tutor images build openedx)"
)


class BrokenObject(Exception):
    """The compressed stream ends early or is damaged; everything before the damage was yielded."""


class UnreadableLayer(BrokenObject):
    """An object of this kind can't be read here at all."""


def compression(head: bytes) -> str:
    """The name of the outermost layer by an object's first bytes, or ``""`` if they are those of the log."""
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


class _Unzstd:
    """zstandard's decompressor with the interface of bz2's and lzma's. It has no limit of its own for its output."""

    def __init__(self, memory: int) -> None:
        try:
            self._zstandard: Any = importlib.import_module("zstandard")
        except ImportError:
            raise UnreadableLayer(NO_ZSTANDARD) from None
        self._unpacker = self._zstandard.ZstdDecompressor(max_window_size=memory).decompressobj()
        self._input = b""
        self._output = b""
        self._taken = 0

    @property
    def eof(self) -> bool:
        return bool(self._unpacker.eof) and not self._has_output

    @property
    def _has_output(self) -> bool:
        return self._taken < len(self._output)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._unpacker.unused_data) + self._input

    @property
    def needs_input(self) -> bool:
        return not self._input and not self._has_output

    def decompress(self, data: bytes, max_length: int = PIECE) -> bytes:
        self._input += data
        if not self._has_output:
            self._output, self._taken = self._unpacked(max_length), 0
        piece = self._output[self._taken : self._taken + max_length]
        self._taken += len(piece)
        return piece

    def _unpacked(self, enough: int) -> bytes:
        """At least this many bytes, if the input has them."""
        found: list[bytes] = []
        length = at = 0
        try:
            while length < enough and at < len(self._input) and not self._unpacker.eof:
                found.append(self._unpacker.decompress(self._input[at : at + ZSTD_INPUT]))
                length += len(found[-1])
                at += ZSTD_INPUT
        except self._zstandard.ZstdError as error:
            raise OSError(str(error)) from None
        self._input = self._input[at:]
        return b"".join(found)


def _unpacker(name: str, memory: int) -> _Unpacker:
    """``memory``: how many bytes of it the data may ask for, where they can ask."""
    if name == "gzip":
        return _Gunzip()
    if name == "bzip2":
        return bz2.BZ2Decompressor()
    if name == "zstd":
        return _Unzstd(memory)
    return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=memory)


def decompressed(chunks: Iterable[bytes], kind: str) -> Iterator[bytes]:
    """Unpack a stream of ``chunks``, in pieces of bounded size.

    ``kind``: the names of its layers, the outermost first, joined by ``+``; ``""``: it is the log as it is. The layers
    of an archive that it is in are removed already. Members that follow each other in one stream are read on; zero
    padding after the last one is ignored, as gzip itself does. Raises :class:`BrokenObject` after the last good piece.
    """
    layers = kind.split("+")
    for at in range(layers.index(TAR) + 1 if TAR in layers else 0, len(layers)):
        layer = layers[at]
        if layer in TEXT_ENCODINGS:
            chunks = _transcoded(chunks, layer)
        elif layer:
            chunks = _joined(_unpack(_sliced(chunks), layer, _memory(layers, at)))
    yield from chunks


def _memory(layers: Sequence[str], at: int) -> int:
    """How many bytes of memory the data of this one of the ``layers`` may ask for."""
    if any(layer in MEMORY for layer in layers[:at]):
        return INNER_MEMORY
    most = MEMORY.get(layers[at], 0)
    return min(most, OUTERMOST_MEMORY) if any(layer in MEMORY for layer in layers[at + 1 :]) else most


def _sliced(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """What is left of a chunk is copied after each member in it, and there may be a member every 20 bytes."""
    for chunk in chunks:
        yield from (chunk[at : at + MEMBERS_INPUT] for at in range(0, len(chunk), MEMBERS_INPUT))


def _joined(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces that are not small: a piece takes 33 bytes of memory even if it has only one."""
    waiting = bytearray()
    try:
        for piece in pieces:
            if not waiting and len(piece) >= MIN_PIECE:
                yield piece
                continue
            waiting += piece
            if len(waiting) >= MIN_PIECE:
                yield bytes(waiting)
                waiting.clear()
    except Exception:
        # What was read before it counts.
        if waiting:
            yield bytes(waiting)
        raise
    if waiting:
        yield bytes(waiting)


def _unpack(chunks: Iterator[bytes], name: str, memory: int) -> Iterator[bytes]:
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
            unpacker = _unpacker(name, memory)
        elif not data and unpacker.needs_input:
            data = next(chunks, None)
            if data is None:
                raise BrokenObject(f"truncated {name} data")
        try:
            piece = unpacker.decompress(data or b"", PIECE)
        except (zlib.error, OSError, lzma.LZMAError, EOFError) as error:
            if NEEDS_MEMORY.search(str(error)):
                raise UnreadableLayer(_too_much_memory(name, memory)) from None
            raise BrokenObject(f"damaged {name} data ({error})") from None
        data = b""
        if piece:
            yield piece
        if unpacker.eof:
            data, unpacker = unpacker.unused_data, None


def _too_much_memory(name: str, memory: int) -> str:
    """What is to be done about data that are whole."""
    if memory == INNER_MEMORY:
        window, where = "xz -6 or zstd -19", " in a log that is packed more than once"
    else:
        window, where = "xz -6 or zstd --long=26", ""
    return (
        f"{name} data that take more than {memory // 1024**2} MiB of memory to unpack{where}: "
        f"pack it again with less ({window}), and run the command again"
    )


def _transcoded(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """A text as UTF-8. What is not a character stays what is not UTF-8."""
    decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
    begun = False
    for chunk in chunks:
        text = decoder.decode(chunk)
        if text and not begun:
            begun, text = True, text.removeprefix(BOM)
        if text:
            yield text.encode("utf-8", "surrogatepass")
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise BrokenObject(f"truncated {encoding} text") from None


def drop_bytes(chunks: Iterable[bytes], count: int) -> Iterator[bytes]:
    """``chunks`` without their first ``count`` bytes."""
    for chunk in chunks:
        if count >= len(chunk):
            count -= len(chunk)
            continue
        yield chunk[count:] if count else chunk
        count = 0
