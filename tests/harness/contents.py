"""Contents of files, whole and in pieces."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import strategies as st

# Few different bytes, so that line ends, and halves of them at the cuts, are common.
CONTENT = st.lists(st.sampled_from([b"\n", b"\r", b"\r\n", b"a", b"\0", b"{}", "é".encode()]), max_size=40).map(
    b"".join
)


def cut(content: bytes, points: Iterable[int]) -> list[bytes]:
    """``content`` in pieces, some of them empty."""
    bounds = [0, *sorted(min(point, len(content)) for point in points), len(content)]
    return [content[begin:end] for begin, end in zip(bounds, bounds[1:], strict=False)]
