"""Lines are the same however their bytes come in, and memory is bounded whatever they are."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from tests.harness.contents import CONTENT, cut
from tutor_transform_logs.lms_job.model.records import Line, Position
from tutor_transform_logs.lms_job.read.lines import split_lines


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
