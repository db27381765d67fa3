"""What is packed is unpacked as its first bytes say, in pieces of bounded size, and as far as it is good."""

from __future__ import annotations

import bz2
import functools
import gzip
import itertools
import lzma
import sys
import time
import tracemalloc
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.contents import cut
from tutor_transform_logs.lms_job.read.decompress import (
    PIECE,
    BrokenObject,
    UnreadableLayer,
    compression,
    decompressed,
    drop_bytes,
)

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    # With a checksum, as the program zstd writes it.
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
}


def until_broken(chunks: list[bytes], name: str) -> tuple[bytes, str]:
    """What is unpacked before the break, and what is said of it; no text if there is none."""
    got = b""
    try:
        for piece in decompressed(chunks, name):
            got += piece
    except BrokenObject as error:
        return got, str(error)
    return got, ""


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5), st.integers(0, 250))
def test_dropping_bytes_is_a_slice(content: bytes, points: list[int], count: int) -> None:
    assert b"".join(drop_bytes(cut(content, points), count)) == content[count:]


@pytest.mark.parametrize("name", COMPRESSORS)
def test_compression_is_told_by_content(name: str) -> None:
    assert compression(COMPRESSORS[name](b"x")) == name
    assert compression(COMPRESSORS[name](b"")) == name


@pytest.mark.parametrize("head", [b"", b"\x1f", b"{", b"BZ", b"\xfd7zXZ", b"2026-01-01 gzip"])
def test_what_is_not_compressed_is_taken_as_it_is(head: bytes) -> None:
    assert compression(head) == ""
    assert list(decompressed([head], "")) == [head]


@pytest.mark.parametrize("name", COMPRESSORS)
@given(
    members=st.lists(st.binary(max_size=300), min_size=1, max_size=4),
    padding=st.sampled_from([0, 4, 512]),
    points=st.lists(st.integers(0, 600), max_size=8),
)
def test_members_over_any_chunks_are_read_one_after_the_other(
    name: str, members: list[bytes], padding: int, points: list[int]
) -> None:
    packed = b"".join(map(COMPRESSORS[name], members)) + bytes(padding)
    assert b"".join(decompressed(cut(packed, points), name)) == b"".join(members)


# bzip2 unpacks in blocks of at most 900 kB, so its content has to be longer than some of them.
LONG = b"".join(b'{"name": "x", "number": %d}\n' % number for number in range(60_000))


@functools.cache
def packed_long(name: str) -> bytes:
    return COMPRESSORS[name](LONG)


@pytest.mark.parametrize("name", COMPRESSORS)
@pytest.mark.parametrize("share", [0.999, 0.7, 0.3])
def test_of_a_truncated_object_the_good_part_is_read(name: str, share: float) -> None:
    packed = packed_long(name)
    got, detail = until_broken(cut(packed[: int(len(packed) * share)], [1000, 70_000]), name)
    assert detail == f"truncated {name} data"
    assert LONG.startswith(got)
    assert len(got) > len(LONG) * (share - 0.35)


@pytest.mark.parametrize("name", COMPRESSORS)
def test_of_a_damaged_object_the_good_part_is_read(name: str) -> None:
    good = COMPRESSORS[name](b"good\n")
    bad = bytearray(COMPRESSORS[name](bytes(range(256)) * 400))
    bad[len(bad) // 2 : len(bad) // 2 + 20] = b"\xa5" * 20
    got, detail = until_broken([good + bytes(bad)], name)
    assert got.startswith(b"good\n")
    assert detail.startswith((f"damaged {name} data", f"truncated {name} data"))


@pytest.mark.parametrize("name", COMPRESSORS)
def test_rubbish_after_the_last_member_is_a_break(name: str) -> None:
    got, detail = until_broken([COMPRESSORS[name](b"good\n"), b"rubbish"], name)
    assert got == b"good\n"
    assert detail


@pytest.mark.parametrize("name", COMPRESSORS)
@given(content=st.binary(max_size=200), points=st.lists(st.integers(0, 200), max_size=4))
def test_any_bytes_are_unpacked_or_broken(name: str, content: bytes, points: list[int]) -> None:
    head = {"gzip": b"\x1f\x8b\x08", "bzip2": b"BZh9", "xz": b"\xfd7zXZ\0", "zstd": b"\x28\xb5\x2f\xfd"}[name]
    try:
        for piece in decompressed(cut(head + content, points), name):
            assert len(piece) <= PIECE
    except BrokenObject:
        pass


@pytest.mark.parametrize("name", COMPRESSORS)
def test_a_bomb_is_unpacked_in_pieces(name: str) -> None:
    size = 32 * 1024**2
    bomb = {
        "gzip": lambda: gzip.compress(bytes(size)),
        "bzip2": lambda: bz2.compress(bytes(size)),
        "xz": lambda: lzma.compress(bytes(size), preset=0),
        "zstd": lambda: zstandard.compress(bytes(size)),
    }[name]()
    assert len(bomb) < size / 500
    longest = total = 0
    for piece in decompressed([bomb], name):
        longest = max(longest, len(piece))
        total += len(piece)
    assert total == size
    assert longest <= PIECE


def test_an_xz_that_asks_for_gigabytes_is_broken() -> None:
    """The header of an xz file says how much memory its reader needs; nothing bounds what it may say."""
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 30, "preset": 0, "mode": lzma.MODE_FAST, "mf": lzma.MF_HC3}]
    encoder = lzma.LZMACompressor(format=lzma.FORMAT_XZ, filters=filters)
    packed = encoder.compress(b"x\n") + encoder.flush()
    with pytest.raises(UnreadableLayer, match=r"^xz data that take more than 96 MiB of memory .*: pack it again"):
        list(decompressed([packed], "xz"))


def packed_with_window(data: bytes, log2: int) -> bytes:
    """As "zstd --long" does."""
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=log2)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return compressor.compress(data) + compressor.flush()


@pytest.mark.parametrize(
    ("windows", "most"),
    [((27,), 0), ((28,), 128), ((23, 26), 0), ((23, 27), 66), ((24, 22), 10), ((23, 23, 23, 26), 0), ((27, 27), 66)],
    ids=str,
)
def test_all_layers_together_take_bounded_memory(windows: tuple[int, ...], most: int) -> None:
    """``windows``: of the layers, the innermost first, as powers of two. ``most``: in MiB, of what is refused."""
    packed = b"x\n"
    for window in windows:
        packed = packed_with_window(packed, window)
    kind = "+".join(["zstd"] * len(windows))
    if not most:
        assert b"".join(decompressed([packed], kind)) == b"x\n"
        return
    with pytest.raises(
        UnreadableLayer, match=rf"^zstd data that take more than {most} MiB of memory .*: pack it again"
    ):
        list(decompressed([packed], kind))


def test_what_is_packed_within_an_archive_is_an_inner_layer() -> None:
    with pytest.raises(UnreadableLayer, match="10 MiB"):
        list(decompressed([packed_with_window(b"x", 24)], "zstd+tar+zstd"))
    assert b"".join(decompressed([packed_with_window(b"x", 24)], "gzip+tar+zstd")) == b"x"


def test_zstd_is_told_where_the_image_can_not_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    packed = bytes.fromhex("28b52ffd2006310000") + b"hello\n"
    assert compression(packed) == "zstd"
    with pytest.raises(BrokenObject, match=r"no Python package zstandard .*OPENEDX_EXTRA_PIP_REQUIREMENTS=zstandard"):
        list(decompressed([packed], "zstd"))
    with pytest.raises(BrokenObject, match="no Python package zstandard"):
        list(decompressed([gzip.compress(packed)], "gzip+zstd"))


def test_a_zstd_bomb_takes_bounded_memory() -> None:
    """A block of four bytes says 128 KiB of one byte: eight kilobytes of them are 256 MiB."""
    block = (128 * 1024 << 3 | 1 << 1).to_bytes(3, "little") + b"x"
    last = (128 * 1024 << 3 | 1 << 1 | 1).to_bytes(3, "little") + b"x"
    # A frame without a size, whose window is 128 KiB.
    bomb = b"\x28\xb5\x2f\xfd" + bytes([0, 7 << 3]) + block * 2047 + last
    total = 0
    tracemalloc.start()
    try:
        for piece in decompressed([bomb], "zstd"):
            assert len(piece) <= PIECE
            total += len(piece)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert total == 256 * 1024**2
    assert most < 80 * 1024**2


def test_frames_that_can_be_skipped_are_skipped() -> None:
    """pzstd begins its frames with them, and the seekable format ends with one."""
    skipped = b"\x50\x2a\x4d\x18" + (3).to_bytes(4, "little") + b"abc"
    packed = skipped + zstandard.compress(b"one\n") + skipped + zstandard.compress(b"two\n") + skipped
    assert compression(packed) == "zstd"
    assert b"".join(decompressed([packed], "zstd")) == b"one\ntwo\n"


@pytest.mark.parametrize(("outer", "inner"), list(itertools.product(COMPRESSORS, repeat=2)))
@given(content=st.binary(max_size=300), points=st.lists(st.integers(0, 600), max_size=5))
def test_layers_are_unpacked_one_after_the_other(outer: str, inner: str, content: bytes, points: list[int]) -> None:
    packed = COMPRESSORS[outer](COMPRESSORS[inner](content))
    assert b"".join(decompressed(cut(packed, points), f"{outer}+{inner}")) == content


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@given(text=st.text(max_size=100), points=st.lists(st.integers(0, 200), max_size=8), bom=st.booleans())
def test_utf_16_becomes_utf_8(encoding: str, text: str, points: list[int], bom: bool) -> None:
    text = "{" + text
    stored = ("\ufeff" * bom + text).encode(encoding)
    assert compression(stored) == encoding or text[1:2].encode(encoding) == b"\0\0"
    assert b"".join(decompressed(cut(stored, points), encoding)) == text.encode()


def test_half_a_character_in_utf_16_stays_what_is_not_utf_8() -> None:
    stored = b"\xff\xfe" + "a\n".encode("utf-16-le") + b"\x00\xd8" + "b\n".encode("utf-16-le")
    assert b"".join(decompressed([stored], "utf-16-le")) == b"a\n\xed\xa0\x80b\n"
    assert until_broken([stored[:-1]], "utf-16-le") == (b"a\n\xed\xa0\x80b", "truncated utf-16-le text")


def test_many_members_of_one_byte_are_unpacked_in_few_pieces_and_little_time() -> None:
    """Pieces of one byte take 33 bytes each, and what is left of a chunk was copied for each of its members."""
    packed = gzip.compress(b"x") * 100_000
    began = time.monotonic()
    pieces = list(decompressed(cut(packed, range(0, len(packed), PIECE)), "gzip"))
    assert b"".join(pieces) == b"x" * 100_000
    assert len(pieces) <= 3
    assert time.monotonic() - began < 10
    assert until_broken([gzip.compress(b"x") * 3 + b"y"], "gzip")[0] == b"xxx"
