"""What the first stored bytes of an object say: how it is packed, how its log begins, or why it can't be read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..model.plan import HEAD_BYTES
from .decompress import BrokenObject, UnreadableLayer, compression, decompressed

# Of an object that is compressed and compressed again; a "bomb" may go on for ever.
MAX_LAYERS = 4

ENCRYPTED = "it is encrypted ({}): decrypt it and run the command again"
PACKED_OTHERWISE = "it is {}, which is not read: unpack it and run the command again"
# How objects begin that certainly are not logs.
UNREADABLE = {
    b"-----BEGIN PGP MESSAGE": ENCRYPTED.format("OpenPGP, as gpg does"),
    b"age-encryption.org/": ENCRYPTED.format("age"),
    b"Salted__": ENCRYPTED.format("openssl enc"),
    b"7z\xbc\xaf\x27\x1c": PACKED_OTHERWISE.format("a 7-Zip archive"),
    b"Rar!\x1a\x07": PACKED_OTHERWISE.format("a RAR archive"),
    b"\x04\x22\x4d\x18": PACKED_OTHERWISE.format("LZ4 data"),
    b"\x1f\x9d": PACKED_OTHERWISE.format("data of the program compress"),
    b"PAR1": PACKED_OTHERWISE.format("a Parquet file"),
}
# The tags of OpenPGP's packets for a session key, and its versions. No UTF-8 text begins with such a byte, except 0xc3.
_PGP_KEY_VERSIONS = {0x84: (2, 3, 6), 0x85: (2, 3, 6), 0x8C: (4, 5, 6), 0xC1: (2, 3, 6), 0xC3: (4, 5, 6)}


class Head(NamedTuple):
    """The beginning of an object."""

    kind: str
    """Its layers, as :func:`~.decompress.decompressed` takes them."""
    first: bytes
    """The first decompressed bytes, at most :data:`~.plan.HEAD_BYTES`; ``b""`` if they can't be read."""
    problem: str = ""
    """Why nothing of it can be read, whatever else is in it."""


def head_of(stored: bytes) -> Head:
    """Of an object that begins with these ``stored`` bytes."""
    kind, first = "", stored[:HEAD_BYTES]
    while True:
        problem = _refusal(first)
        if problem:
            return Head(kind, b"", problem)
        layer = compression(first)
        if not layer:
            return Head(kind, first)
        if kind.count("+") + 1 >= MAX_LAYERS:
            return Head(kind, b"", f"it is compressed more than {MAX_LAYERS} times, and may have no end")
        kind = f"{kind}+{layer}" if kind else layer
        try:
            first = _first_bytes(decompressed((stored,), kind))
        except UnreadableLayer as error:
            return Head(kind, b"", str(error))


def _first_bytes(pieces: Iterable[bytes]) -> bytes:
    head = b""
    try:
        for piece in pieces:
            head += piece[: HEAD_BYTES - len(head)]
            if len(head) >= HEAD_BYTES:
                break
    except UnreadableLayer:
        raise
    except BrokenObject:
        pass  # cut off on purpose, or broken, which WORK reports
    return head


def _refusal(first: bytes) -> str:
    """Why an object that begins like this can't be read; ``""`` if nothing is known against it."""
    for magic, problem in UNREADABLE.items():
        if first.startswith(magic):
            return problem
    return ENCRYPTED.format("OpenPGP, as gpg does") if _is_pgp(first) else ""


def _is_pgp(first: bytes) -> bool:
    """RFC 9580: a message begins with a session key's packet. Its first byte after tag and length is its version."""
    versions = _PGP_KEY_VERSIONS.get(first[0], ()) if first else ()
    if not versions:
        return False
    tag = first[0]
    # Of the old format the tag has the length of the length; of the new one, the length's first byte does.
    length = (2 if tag & 1 else 1) if tag < 0xC0 else 1 if first[1:2] < b"\xc0" else 2
    return len(first) > 1 + length and first[1 + length] in versions
