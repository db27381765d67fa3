"""What a user gives is what the job gets: through YAML, through Jinja at every save, and back."""

from __future__ import annotations

import datetime
import io
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tutor import env as tutor_env
from tutor import serialize

from tutor_transform_logs import literals
from tutor_transform_logs.settings import BY_NAME

SECRET = BY_NAME["TRANSFORM_LOGS_SOURCE_SECRET"]
PORT = BY_NAME["TRANSFORM_LOGS_SOURCE_PORT"]
OPTIONS = BY_NAME["TRANSFORM_LOGS_SOURCE_OPTIONS"]
URLS = BY_NAME["TRANSFORM_LOGS_LRS_URLS"]

# A command line can hold no NUL and no lone surrogate.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
NASTY = st.text(st.sampled_from("{}%#$'\"\\ \n\r\t:,-[]&*!|>@`a0=é\u2028\x85\ufeff😀"))


def through_tutor(value: Any) -> Any:
    """Save and render ``value`` as Tutor does: at ``config save``, and at each start after it."""
    for _ in range(3):
        file = io.StringIO()
        serialize.dump({"x": value}, file)  # type: ignore[arg-type]
        value = tutor_env.render_unknown({}, serialize.load(file.getvalue())["x"])
    return value


@settings(max_examples=150, deadline=None)
@given(TEXTS | NASTY)
@example('s3cr$t"{{x}}')
@example("{% if")
@example("a\n")
@example("a\r\nb")
def test_text_comes_back_unharmed(text: str) -> None:
    assert literals.reveal(through_tutor(literals.protect(text))) == text


@settings(max_examples=75, deadline=None)
@given(
    st.recursive(
        TEXTS | NASTY | st.integers() | st.booleans() | st.none(),
        lambda x: st.lists(x) | st.dictionaries(TEXTS, x),
        max_leaves=6,
    )
)
def test_structures_come_back_unharmed(value: Any) -> None:
    assert literals.reveal(through_tutor(literals.protect(value))) == value


@settings(max_examples=200, deadline=None)
@given(TEXTS | NASTY)
def test_text_is_taken_as_it_stands(text: str) -> None:
    if not (len(text) > 1 and text[0] == text[-1] and text[0] in "'\""):
        assert literals.parse(SECRET, text) == text


@pytest.mark.parametrize(
    "text",
    [
        "12345",
        "0123",
        "1e5",
        "1_000",
        "yes",
        "null",
        "~",
        "2023-06-01",
        "a #b",
        "#b",
        "a: b",
        "[a",
        "*a",
        "!a",
        "%a",
        "@a",
        "|",
        "",
    ],
)
def test_text_is_not_read_as_yaml(text: str) -> None:
    assert literals.parse(SECRET, text) == text


def test_one_pair_of_quotes_around_all_of_it_is_yamls() -> None:
    assert literals.parse(SECRET, "'12345'") == "12345"
    assert literals.parse(SECRET, '"a\\nb"') == "a\nb"
    assert literals.parse(SECRET, "'a'b'") == "'a'b'"


def test_other_kinds_are_yaml_and_json() -> None:
    assert literals.parse(PORT, "9000") == 9000
    assert literals.parse(PORT, '"9000"') == "9000"
    assert literals.parse(PORT, "[") == "["
    assert literals.parse(OPTIONS, '{"a": "\\u007b{x}}"}') == {"a": "{{x}}"}
    assert literals.parse(OPTIONS, "{a: 1}") == {"a": 1}
    assert literals.parse(URLS, "http://a http://b") == "http://a http://b"
    assert literals.parse(URLS, "[http://a, http://b]") == ["http://a", "http://b"]


def test_plain_text_stays_readable_in_config_yml() -> None:
    assert literals.protect("tracking.log-2023 é 'x' $y") == "tracking.log-2023 é 'x' $y"


def test_yamls_dates_are_text_again_and_what_is_not_for_json_is_refused() -> None:
    assert literals.reveal({1: [datetime.date(2023, 6, 1)]}) == {"1": ["2023-06-01"]}
    with pytest.raises(ValueError, match="a set can't be used"):
        literals.reveal({"a"})


def test_a_template_written_by_hand_is_rendered_as_tutor_would() -> None:
    name = SECRET.name
    assert literals.read_saved(SECRET, {name: "{{ A }}"}, {name: "b"}) == "b"
    assert literals.read_saved(SECRET, {name: "a\n"}, {name: "a"}) == "a\n"
    assert literals.read_saved(SECRET, {name: b"{{ A }}"}, {name: b"{{ A }}"}) == "{{ A }}"  # type: ignore[dict-item]
