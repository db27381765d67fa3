"""What YAML makes of a value: taken where the text is known, refused with the command that fixes it where it is not."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from tutor import serialize

from tutor_transform_logs.settings import BY_NAME
from tutor_transform_logs.yaml_values import AmbiguousValueError, from_tutor

ENDPOINT = '[{"url": "...", "username": "...", "password": "..."}]'


def taken(name: str, text: str) -> Any:
    """The value of ``tutor config save --set NAME=text``."""
    parsed = serialize.parse_key_value(f"TRANSFORM_LOGS_{name}={text}")
    assert parsed is not None
    return from_tutor(BY_NAME[parsed[0]], parsed[1])


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("SOURCE_SECRET", 's3cr$t"Q', 's3cr$t"Q'),
        ("SOURCE_SECRET", "1e5", "1e5"),  # YAML 1.1 wants a point in a number with an exponent
        ("SOURCE_SECRET", '"0123"', "0123"),
        ("SOURCE_SECRET", "", ""),
        ("SOURCE_SECRET", "null", None),
        ("SOURCE_PREFIX", "logs-2024", "logs-2024"),
        ("SOURCE_PREFIX", "[a, b/]", ["a", "b/"]),
        ("SINCE", "2026", "2026"),
        ("SINCE", "2026-01-31", "2026-01-31"),
        ("UNTIL", "2026-01-31T10:00:00+01:00", "2026-01-31T10:00:00+01:00"),
        ("UNTIL", "2026-01", "2026-01"),
        ("WORKERS", "4", 4),
        ("WORKERS", "auto", "auto"),
        ("SOURCE_PORT", "9000", 9000),
        ("DRY_RUN", "yes", True),
        ("COURSE", "course-v1:a+b+c", "course-v1:a+b+c"),
        ("EVENT", '["edx.*", play_video]', ["edx.*", "play_video"]),
        ("LRS_ENDPOINTS", '[{"url": "http://a", "bearer": null}]', [{"url": "http://a", "bearer": None}]),
        ("SOURCE_OPTIONS", "{a: 30, b: true, c: 2026-01-31}", {"a": 30, "b": True, "c": "2026-01-31"}),
    ],
)  # fmt: skip
def test_what_can_be_told_is_taken(name: str, text: str, value: Any) -> None:
    assert taken(name, text) == value


@pytest.mark.parametrize(
    ("name", "text", "says", "fix"),
    [
        ("SOURCE_CONTAINER", "0123", "a number (83)", '"..."'),
        ("SOURCE_KEY", "1.0e+5", "a number (100000.0)", '"..."'),
        ("SOURCE_KEY", "yes", "a boolean (true)", '"..."'),
        ("SOURCE_PREFIX", "2024-01-01", 'a date ("2024-01-01")', '"2024-01-01"'),
        ("SOURCE_PREFIX", "[a, 2024-01-01]", 'a date ("2024-01-01")', '"2024-01-01"'),
        ("SOURCE_PREFIX", "[[a]]", 'a list (["a"])', '"..."'),
        ("LEDGER_PREFIX", "[a]", 'a list (["a"])', '"..."'),
        ("SOURCE_PREFIX", "a: b", 'an object ({"a": "b"})', '"..."'),
        ("SOURCE_SECRET", "0123", "a number where", '"..."'),
        ("SOURCE_TOKEN", "2024-01-01", "a date where", '"..."'),
        ("SINCE", "2026.5", "a number (2026.5)", '"..."'),
        ("COURSE", "2024", "a number (2024)", '["..."]'),
        ("FILES", "[2024-01-01]", 'a date ("2024-01-01")', '["2024-01-01"]'),
        ("LRS_ENDPOINTS", "[{url: http://a, password: 0123}]", "a number where", ENDPOINT),
        ("LRS_ENDPOINTS", "0123", "a number where", ENDPOINT),
        ("K8S_DATA_CLAIM", "0123", "a number (83)", '"..."'),
    ],
)
def test_what_cannot_be_told_is_refused(name: str, text: str, says: str, fix: str) -> None:
    with pytest.raises(AmbiguousValueError) as caught:
        taken(name, text)
    message = str(caught.value)
    assert message.startswith(f"TRANSFORM_LOGS_{name}: YAML reads {says}")
    assert message.endswith(f" Run: tutor config save --set 'TRANSFORM_LOGS_{name}={fix}'")
    assert "\n" not in message
    # With text in the place of the dots, the fix sets a value that the setting takes.
    filled = fix.replace('"url": "..."', '"url": "http://a"').replace("...", "2024-01-01")
    BY_NAME[f"TRANSFORM_LOGS_{name}"].value(taken(name, filled))


def test_binary_is_its_text() -> None:
    secret, options = BY_NAME["TRANSFORM_LOGS_SOURCE_SECRET"], BY_NAME["TRANSFORM_LOGS_SOURCE_OPTIONS"]
    assert from_tutor(secret, "é{{x}}".encode()) == "é{{x}}"
    assert from_tutor(options, {"a": [b"{{x}}"]}) == {"a": ["{{x}}"]}
    with pytest.raises(AmbiguousValueError, match=r"The !!binary value is not UTF-8\. Run: "):
        from_tutor(secret, b"\xff")


def test_a_type_that_json_lacks_is_refused() -> None:
    options = BY_NAME["TRANSFORM_LOGS_SOURCE_OPTIONS"]
    with pytest.raises(AmbiguousValueError, match="YAML reads a set where text"):
        from_tutor(options, {"a": {"b"}})
    with pytest.raises(AmbiguousValueError, match="YAML reads a date where text"):
        from_tutor(options, {"a": datetime.datetime(2026, 1, 31)})
