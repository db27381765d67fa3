"""What is not a tracking log is told by its first lines, and what one knows of it is said."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness import collectors
from tutor_transform_logs.lms_job.model.counts import Counts
from tutor_transform_logs.lms_job.model.plan import Segment
from tutor_transform_logs.lms_job.model.progress_events import BatchDone, BytesRead
from tutor_transform_logs.lms_job.read import events, wrong_kind
from tutor_transform_logs.lms_job.read.wrong_kind import LEAST_LINES, NOTHING_BUT_BLANK_LINES, KindCheck
from tutor_transform_logs.lms_job.util.errors import Unavailable
from tutor_transform_logs.lms_job.work.dead_letter_limit import DeadLetterLimit

EVENT = b'{"name": "/a", "event": {}, "time": "2026-01-01T00:00:00"}\n'
NGINX = b'10.0.0.1 - - [01/Feb/2026:00:00:00 +0000] "GET /heartbeat HTTP/1.1" 200 61 "-" "kube-probe/1.29"\n'
XAPI = b'{"actor": {"mbox": "mailto:a@b"}, "verb": {"id": "http://v"}, "object": {"id": "http://o"}}\n'


@dataclass
class Memory:
    """An object, and how much of it was read."""

    content: bytes
    read_bytes: int = 0
    names: list[str] = field(default_factory=list)

    def read(self, name: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        self.names.append(name)
        for at in range(start, len(self.content) if end is None else end, 1024**2):
            self.read_bytes += 1024**2
            yield self.content[at : at + 1024**2]


def problem(content: bytes, ratio: float = 0.5, compression: str = "") -> str:
    segment = Segment(1, 1, "x.log", 0, len(content), len(content), compression)
    return KindCheck(Memory(content), 1024**2, ratio).problem(segment)


@given(
    st.lists(st.sampled_from([EVENT, EVENT, NGINX, XAPI, b"\n", b"INFO\n"]), min_size=1, max_size=60),
    st.sampled_from([0.0, 0.1, 0.5, 0.9]),
)
def test_it_is_the_share_of_all_lines_that_counts(lines: list[bytes], ratio: float) -> None:
    counted = [line for line in lines if line.strip()]
    invalid = sum(line != EVENT for line in counted)
    if len(counted) >= LEAST_LINES:
        assert bool(problem(b"".join(lines), ratio)) == (invalid > ratio * len(counted))


def test_no_more_is_parsed_than_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    parse = Mock(wraps=events.parse)
    monkeypatch.setattr(wrong_kind, "parse", parse)
    assert problem(EVENT * 1000) == ""
    assert parse.call_count == 500


@pytest.mark.parametrize(
    ("content", "lines", "looks"),
    [
        (NGINX * 2000, "1,000 of the first 1,000 lines", "nginx's or Apache's access log"),
        (NGINX * 3, "3 of 3 lines", "nginx's or Apache's access log"),
        (XAPI * 20, "20 of 20 lines", "xAPI statements"),
        (b"[" + b",".join([XAPI.strip()] * 20) + b"]", "20 of 20 lines", "xAPI statements"),
        (b"\n" * 5000 + NGINX * 12 + b" \t\r\n" * 30, "12 of 12 lines", "nginx's or Apache's access log"),
        (b"PK\x03\x04" + os.urandom(20_000), "lines hold no event", "a ZIP file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50_000), "lines hold no event", "a PNG image"),
        (bytes(3_000_000), "1 of 1 line", "binary data"),
        (b"<!DOCTYPE html>\n" + b"<p>x</p>\n" * 20, "21 of 21 lines", "a web page"),
        (b"INFO started\n" * 20, "20 of 20 lines", ""),
        (NGINX * 600 + EVENT * 399, "600 of 999 lines", "nginx"),
        (collectors.joined(collectors.docker([NGINX.strip()] * 50)), "50 of 50 lines", "nginx"),
        (collectors.joined(collectors.trimmed(collectors.docker([NGINX.strip()] * 50))), "50 of 50 lines", "nginx"),
        (collectors.joined(collectors.trimmed(collectors.docker([b"INFO {}"] * 50))), "50 of 50 lines", ""),
        # An event without any name is an object of another program, or of a collector's.
        (b'{"event": {"dataset": "lms"}, "host": {"name": "x"}}\n' * 20, "20 of 20 lines", "JSON of another form"),
        (b'{"time": 1, "data": {}}\n' * 20, "20 of 20 lines", "JSON of another form"),
        # Of a few lines, whole JSON objects are not bad by chance.
        (b'{"textPayload": "x"}', "1 of 1 line hold no event", "JSON of another form"),
        (json.dumps({"records": [{"properties": {"log": "x"}}] * 300}).encode() + b"\n", "1 of 1 line", "JSON of"),
        (json.dumps({"a": {"b": [1]}}, indent=2).encode(), "1 of 1 line", "JSON of another form"),
        (b'{"level": "info"}\nTraceback:\n{"name": "/a", "event"', "2 of 2 lines", "JSON of another form"),
        (XAPI.strip(), "1 of 1 line", "xAPI statements"),
        (collectors.OF_LINES["filebeat"]([NGINX.strip()] * 50), "50 of 50 lines", "nginx"),
        # Too long to be read.
        (collectors.loki_answer([EVENT.strip()] * 20_000), "1 of 1 line", "`logcli query -o raw` gives the lines"),
    ],
)
def test_another_kind_of_log_is_described(content: bytes, lines: str, looks: str) -> None:
    found = problem(content)
    assert found.startswith("no tracking log: ")
    assert lines in found
    assert looks in found
    assert ("looks like" in found) == bool(looks)
    assert len(found) < 300
    assert "\n" not in found
    assert problem(gzip.compress(content), compression="gzip") == found


@pytest.mark.parametrize(
    "content",
    [
        b"",
        EVENT * 2000,
        # As many, and more behind the first lines.
        NGINX * 500 + EVENT * 500 + NGINX * 5000,
        EVENT * 501 + NGINX * 5000,
        # Of so few, most may be bad by chance.
        b"INFO started\n" * 9,
        # Torn lines are not whole objects, and one event among a few others may be a log of the LMS.
        EVENT[:30] + b"\n",
        EVENT + EVENT[:30],
        EVENT[:30] + b"\n" + EVENT[30:],
        b'{"level": "info"}\n' * 8 + EVENT,
        EVENT[:30] + b"\n" + b'{"level": "info"}\n' * 8,
        b"{}\n",
        b'INFO {"level": "info"}\n',
        collectors.joined(collectors.docker([b"INFO started", EVENT.strip()[:30]])),
        # Blank lines are not bad ones.
        b"\n" * 900,
        b"\n" * 5000 + EVENT,
        (EVENT + b"\n" * 10) * 30,
        # The first line goes on, so it is not known what comes after it.
        bytes(5_000_000) + b"\n" + EVENT,
        # Still being written.
        EVENT[:30],
        *(wrap([EVENT.strip()] * 50) for wrap in collectors.OF_LINES.values()),
        b"[" + b",".join([EVENT.strip()] * 50) + b"]",
    ],
)
def test_what_may_be_one_is_read(content: bytes) -> None:
    assert problem(content) == ""


def test_nothing_but_blank_lines_is_another_kind() -> None:
    assert problem(b"\n" * 5_000_000) == NOTHING_BUT_BLANK_LINES
    assert problem(b"\r\n" * 5_000_000) == NOTHING_BUT_BLANK_LINES


def test_the_ratio_decides() -> None:
    content = NGINX * 20 + EVENT * 80
    assert problem(content, 0.1)
    assert not problem(content, 0.2)
    assert not problem(NGINX * 2000, 1)


def test_the_first_lines_alone_are_read_and_once() -> None:
    source = Memory(NGINX * 1_000_000)
    check = KindCheck(source, 1024**2, 0.5)
    for start in (0, 50_000_000):
        assert check.problem(Segment(1, 1, "x.log", start, start + 50_000_000, 50_000_000))
    assert source.names == ["x.log"]
    assert source.read_bytes <= 2 * 1024**2


def limited(limit: str, *batches: Counts, shares: int = 1) -> str:
    seen: list[object] = []
    emit = DeadLetterLimit(limit, shares).counting(lambda event, worker=0: seen.append(event))
    try:
        for number, counts in enumerate(batches, 1):
            emit(BytesRead(1), 0)
            emit(BatchDone(counts), 0)
            assert len(seen) == 2 * number
    except Unavailable as error:
        return str(error)
    return ""


def batch(good: int, bad: int) -> Counts:
    return Counts(lines=good + bad, transformed=good, unparsable=bad, reasons={"no_json": bad})


def test_a_run_ends_at_its_limit_of_dead_letters() -> None:
    assert limited("", batch(0, 10**6)) == ""
    assert limited("10", batch(5, 5), batch(5, 5)) == ""
    assert "11 dead letters of 16 events" in limited("10", batch(5, 5), batch(0, 6))
    assert limited("10", batch(5, 6), shares=2)
    assert limited("5%", batch(950, 49), batch(950, 49)) == ""
    assert "(5%)" in limited("5%", batch(900, 51), batch(900, 51))
    # Of the first few events, a percentage says little.
    assert limited("5%", batch(0, 900)) == ""
    assert json.dumps(limited("0", batch(5, 1)))
