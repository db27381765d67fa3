"""What the first stored bytes of an object say: how it is packed, how its log begins, or why it can't be read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..model.plan import HEAD_BYTES
from .decompress import BrokenObject, UnreadableLayer, compression, decompressed
from .tar import is_tar
from .zip import is_zip

# Enough stored bytes to decompress HEAD_BYTES from, in any format (bzip2 works in blocks of up to 900 kB).
HEAD_STORED_BYTES = 1024**2
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
    """The first decompressed bytes, at most :data:`~.plan.HEAD_BYTES`; ``b""`` if they can't be read. Of an archive,
    the archive's own."""
    problem: str = ""
    """Why nothing of it can be read, whatever else is in it."""
    archive: str = ""
    """Of an archive, its layers with that of the archive: ``tar``, ``gzip+tar``, ``zip``."""


def head_of(stored: bytes, outside: str | None = None) -> Head:
    """Of an object that begins with these ``stored`` bytes.

    ``outside``: of an object in an archive, the layers that reading it has removed, which :attr:`Head.kind` has too.
    """
    layers: list[str] = [outside] if outside else []
    first = _first_bytes((stored,))
    for _ in range(MAX_LAYERS + 1):
        kind = "+".join(layers)
        problem = _refusal(first)
        archive = "tar" if is_tar(first) else "zip" if is_zip(first) else ""
        if archive and (outside is not None or (archive == "zip" and kind)):
            problem = PACKED_OTHERWISE.format("an archive in an archive" if outside is not None else f"ZIP in {kind}")
        layer = compression(first)
        if problem or archive:
            kinds = "+".join([*layers, archive])
            return Head(kind, b"", problem) if problem else Head(kind, first[:HEAD_BYTES], "", kinds)
        if not layer:
            return Head(kind, first[:HEAD_BYTES])
        layers.append(layer)
        try:
            first = _first_bytes(decompressed((stored,), "+".join(layers)))
        except UnreadableLayer as error:
            return Head("+".join(layers), b"", str(error))
    return Head(kind, b"", f"it is compressed more than {MAX_LAYERS} times, and may have no end")


def archive_kind(stored: bytes) -> str:
    """The kind of archive that begins with these bytes; ``""`` if it is not one."""
    return head_of(stored).archive


def begins_with_zeros(first: bytes) -> bool:
    """Must more be looked at than these first bytes? Behind zeros, which are an archive with no files, may be one."""
    return bool(first) and not first.strip(b"\0")


def _first_bytes(pieces: Iterable[bytes]) -> bytes:
    """Enough of them to know what they are."""
    head = b""
    most = HEAD_BYTES
    try:
        for piece in pieces:
            head += piece[: HEAD_STORED_BYTES - len(head)]
            most = HEAD_STORED_BYTES if begins_with_zeros(head[:HEAD_BYTES]) else HEAD_BYTES
            if len(head) >= most:
                break
    except UnreadableLayer:
        raise
    except BrokenObject:
        pass  # cut off on purpose, or broken, which WORK reports
    return head[:most]


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
