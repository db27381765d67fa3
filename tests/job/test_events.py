"""From a line to an event: as ERB reads it wherever ERB can, and a counted reason everywhere else."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from event_routing_backends.management.commands.helpers.event_log_parser import parse_json_event
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.parity import without_collectors
from tutor_transform_logs.demo import samples
from tutor_transform_logs.lms_job.model.records import Event
from tutor_transform_logs.lms_job.read.events import PARSE_REASONS, Unparsable, parse

logging.getLogger("event_routing_backends").setLevel(logging.CRITICAL)

PREFIX = b"2026-01-01 00:00:00,000 INFO 16 [tracking] [user 7] [ip 10.0.0.1] logger.py:41 - "
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=12)
JSON: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.dictionaries(st.sampled_from(["name", "event", "data", "time", "timestamp", "context", "é"]), JSON)
NESTED = st.dictionaries(st.sampled_from(["name", "event", "time"]), JSON.map(json.dumps))


def erbs_event(raw: bytes) -> dict[str, Any] | None:
    """What ERB reads in the line; ``None`` also where it raises."""
    try:
        event: dict[str, Any] | None = parse_json_event(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return event


def outcome(raw: bytes) -> Event | str:
    try:
        return parse(raw)
    except Unparsable as error:
        reason, detail = error.reason, error.detail
    assert reason in PARSE_REASONS
    assert detail
    return reason


def same(first: Any, other: Any) -> bool:
    """Equal, with NaN equal to itself and 1 not equal to True."""
    return json.dumps(first) == json.dumps(other)


def check(raw: bytes) -> Event | str:
    """Parse, and compare with ERB where it gives an event, except for what is different on purpose."""
    mine = outcome(raw)
    erbs = erbs_event(raw)
    if erbs is not None:
        assert isinstance(mine, Event), f"ERB reads this line, the job says {mine}: {raw!r}"
        assert same(mine.fields, without_collectors(erbs))
    return mine


@given(fields=FIELDS | NESTED, ascii_only=st.booleans(), prefix=st.sampled_from([b"", PREFIX, b"x", "é ".encode()]))
def test_an_event_is_read_as_erb_reads_it(fields: dict[str, Any], ascii_only: bool, prefix: bytes) -> None:
    text = json.dumps(fields, ensure_ascii=ascii_only)
    mine = check(prefix + text.encode("utf-8", "surrogatepass"))
    if "event" in fields and (ascii_only or text.isascii()):
        assert isinstance(mine, Event)


@given(
    st.lists(
        st.sampled_from([b"{", b"}", b'"event"', b":", b'"', b"1", b" ", b"\r", b"\xc2\xa0", b"\x1c", b"\xff", b"\0",
                         b'{"event": {}}', b"\\", b"[", b"null", b"\xe2\x80\xa8", b",", b'"name": "x"']),
        max_size=14,
    ).map(b"".join)
)  # fmt: skip
@example(b'{"event": {}}\xc2\xa0')
@example(b'{"event": {}}\x1c')
@example(b'{"event": {}}\r\r')
def test_pieces_of_events_are_read_as_erb_reads_them(raw: bytes) -> None:
    check(raw)


@given(st.binary(max_size=80))
def test_any_bytes_are_an_event_or_a_reason(raw: bytes) -> None:
    outcome(raw)
    outcome(b"{" + raw + b"}")
    outcome(b'{"event": "' + raw + b'"}')


@pytest.mark.parametrize("name", samples.FILES)
def test_the_samples_are_read_as_erb_reads_them(name: str) -> None:
    for line in samples.FILES[name]():
        mine = check(line.data)
        if line.xapi.outcome == "unparsable":
            assert isinstance(mine, str)


EVENT = b'"name": "play_video", "event": '


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "no_json"),
        (b"Traceback (most recent call last):", "no_json"),
        (b'["event", 1]', "no_json"),
        (b'{"event": {}', "bad_json"),
        (b'{"event": {}, "na', "no_json"),
        (b'{"event": {}} and more', "no_json"),
        (b'{"event": {}} {"event": {}}', "bad_json"),
        (b'}{"event": {}', "bad_json"),
        (b'{"event": {}}\xff', "no_json"),
        (b'{"event": "\xff"}\xc2\xa0', "not_utf8"),
        (b"{'event': {}}", "bad_json"),
        (b'{"name": "x"}', "no_event_field"),
        (b'{"event": "\xff"}', "not_utf8"),
        (b'{"event": "\xed\xa0\x80"}', "not_utf8"),
        (b'{"event": "' + bytes(3) + b'"}', "bad_json"),
        (b"{" + EVENT + b"[" * 100_000 + b"]" * 100_000 + b"}", "bad_json"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "bad_json"),
        (b"{" + EVENT + b"1" * 10_000 + b"}", "bad_json"),
        (b"{" + EVENT + b"-" + b"9" * 10_000 + b"}", "bad_json"),
    ],
)
def test_what_is_not_an_event_has_its_reason(raw: bytes, reason: str) -> None:
    assert outcome(raw) == reason


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b'{"id": 1}', {"id": 1}),
        (b'"{\\"id\\": 1}"', {"id": 1}),
        (b'"input_1=choice_0"', "input_1=choice_0"),
        (b'""', ""),
        (b'"12"', 12),
        (b"null", None),
        (b"[1]", [1]),
        (b'"\\ud800"', "\ud800"),
        # Nested too deep, or too long a number, inside the string: ERB raises here, the string is kept.
        (b'"' + b"[" * 100_000 + b'"', "[" * 100_000),
        (b'"' + b"1" * 10_000 + b'"', "1" * 10_000),
        (b'{"a": 1e999}', {"a": float("inf")}),
    ],
)
def test_what_the_log_calls_event_is_data(event: bytes, data: Any) -> None:
    read = parse(b"{" + EVENT + event + b"}")
    assert read.name == "play_video"
    assert read.fields["data"] == data


def test_of_two_equal_keys_the_last_counts_as_for_erb() -> None:
    read = check(b'{"name": "a", "event": 1, "name": "b", "event": {"x": 1, "x": 2}}')
    assert isinstance(read, Event)
    assert (read.name, read.fields["data"]) == ("b", {"x": 2})


def test_an_event_of_the_live_pipeline_is_read_too() -> None:
    """Its field is called data already; ERB's parser knows only logs."""
    assert parse(b'{"name": "a", "data": {"x": 1}, "timestamp": "t", "time": "u"}').fields["timestamp"] == "t"


@pytest.mark.parametrize("timestamp", ['"2026-02-01T00:00:00Z"', "1767225600", "null"])
def test_a_collectors_timestamp_beside_the_time_is_not_the_events(timestamp: str) -> None:
    for text in ('"timestamp": %s, "time": "t"', '"time": "t", "timestamp": %s'):
        assert parse(b'{"event": {}, ' + (text % timestamp).encode() + b"}").fields["timestamp"] == "t"


def test_a_timestamp_without_a_time_is_the_events() -> None:
    for fields in (b'"timestamp": "t"', b'"timestamp": "t", "time": null', b'"time": "", "timestamp": "t"'):
        assert parse(b'{"event": {}, ' + fields + b"}").fields["timestamp"] == "t"
    assert parse(b'{"event": {}, "timestamp": "", "time": null}').fields["timestamp"] is None


def test_a_context_in_a_string_is_read() -> None:
    assert parse(b'{"event": {}, "context": "{\\"user_id\\": 7}"}').fields["context"] == {"user_id": 7}
    for other in ("7", "user", "{", "[1]"):
        assert parse(b'{"event": {}, "context": "' + other.encode() + b'"}').fields["context"] == other


@pytest.mark.parametrize("name", [b"1", b"null", b"[]", b'{"a": 1}', b'"\\ud800"', b'""'])
def test_a_strange_name_is_not_an_error(name: bytes) -> None:
    read = parse(b'{"event": {}, "name": ' + name + b"}")
    assert isinstance(read.name, str)
