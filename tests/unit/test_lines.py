"""Lines are the same however their bytes come in, and memory is bounded whatever they are."""

from __future__ import annotations

import bz2
import functools
import gzip
import lzma
import sys
import tracemalloc
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.contents import CONTENT, cut
from tutor_transform_logs.lms_job.model.records import Line, Position
from tutor_transform_logs.lms_job.read import lines
from tutor_transform_logs.lms_job.read.lines import BrokenObject, compression, decompressed, drop_bytes, split_lines

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
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


def expected_lines(content: bytes, offset: int, number: int, limit: int) -> list[Line]:
    """The definition of a line, as simply as it can be written."""
    lines = []
    parts = content.split(b"\n")
    for index, part in enumerate(parts):
        unterminated = index == len(parts) - 1
        if unterminated and not part:
            break
        end = offset + len(part) + (0 if unterminated else 1)
        if len(part) > limit:
            lines.append(Line(offset, end, number + index, part[:limit], overlong=True, unterminated=unterminated))
        else:
            raw = part[:-1] if part.endswith(b"\r") else part
            lines.append(Line(offset, end, number + index, raw, unterminated=unterminated))
        offset = end
    return lines


@given(
    content=CONTENT,
    points=st.lists(st.integers(0, 60), max_size=12),
    offset=st.integers(0, 10**12),
    number=st.integers(1, 10**9),
    limit=st.sampled_from([1, 2, 3, 4, 7, 1000]),
)
def test_lines_are_the_same_over_any_chunks(
    content: bytes, points: list[int], offset: int, number: int, limit: int
) -> None:
    lines = list(split_lines(cut(content, points), Position(offset, number), limit))
    assert lines == expected_lines(content, offset, number, limit)
    # Nothing between two lines, and nothing after the last one.
    ends = [offset, *(line.end for line in lines)]
    assert [line.offset for line in lines] == ends[:-1]
    assert ends[-1] == offset + len(content)


def test_a_line_of_a_gigabyte_is_never_held() -> None:
    held = 0

    def chunks() -> Iterator[bytes]:
        chunk = b"x" * 1_000_000
        for _ in range(1000):
            yield chunk
        yield b"\nnext\n"

    tracemalloc.start()
    try:
        for line in split_lines(chunks(), limit=5000):
            held = max(held, len(line.raw))
            last = line
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held == 5000
    # The chunk in hand twice, and not a part of each of a thousand chunks.
    assert most < 3_000_000
    assert last == Line(1_000_000_001, 1_000_000_006, 2, b"next")


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
    head = {"gzip": b"\x1f\x8b\x08", "bzip2": b"BZh9", "xz": b"\xfd7zXZ\0"}[name]
    try:
        for piece in decompressed(cut(head + content, points), name):
            assert len(piece) <= lines.PIECE
    except BrokenObject:
        pass


@pytest.mark.parametrize("name", COMPRESSORS)
def test_a_bomb_is_unpacked_in_pieces(name: str) -> None:
    size = 32 * 1024**2
    bomb = {
        "gzip": lambda: gzip.compress(bytes(size)),
        "bzip2": lambda: bz2.compress(bytes(size)),
        "xz": lambda: lzma.compress(bytes(size), preset=0),
    }[name]()
    assert len(bomb) < size / 500
    longest = total = 0
    for piece in decompressed([bomb], name):
        longest = max(longest, len(piece))
        total += len(piece)
    assert total == size
    assert longest <= lines.PIECE


def test_an_xz_that_asks_for_gigabytes_is_broken() -> None:
    """The header of an xz file says how much memory its reader needs; nothing bounds what it may say."""
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 30, "preset": 0, "mode": lzma.MODE_FAST, "mf": lzma.MF_HC3}]
    encoder = lzma.LZMACompressor(format=lzma.FORMAT_XZ, filters=filters)
    packed = encoder.compress(b"x\n") + encoder.flush()
    with pytest.raises(BrokenObject, match="xz"):
        list(decompressed([packed], "xz"))


def test_zstd_is_told_where_the_image_can_not_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    packed = bytes.fromhex("28b52ffd2006310000") + b"hello\n"
    assert compression(packed) == "zstd"
    with pytest.raises(BrokenObject, match="no Python package zstandard"):
        list(decompressed([packed], "zstd"))
