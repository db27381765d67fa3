"""What each answer of an LRS means: exactly one thing, whatever the status and the body."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tutor_transform_logs.lms_job.deliver.lrs_answers import (
    BatchRejected,
    NotThisForm,
    check_get,
    check_post,
    check_probe,
    describe_probe,
    new_ids,
)
from tutor_transform_logs.lms_job.util.errors import PermanentError, TransientError

NAME = "http://lrs.example.org/xAPI/statements"
STATUSES = st.one_of(st.integers(200, 599), st.sampled_from([403, 404, 405, 408, 409, 413, 422, 425, 429, 500, 501]))
BODIES = st.one_of(st.binary(max_size=50), st.sampled_from([b"[]", b"{}", b'["a"]', b"<html>\x1b[2J", b"[" * 10**5]))
REJECTING, BUSY = {400, 409, 413, 422}, {408, 425, 429}
Check = Callable[[str, requests.Response], object]
IDS = ["6f4f8c7e-3a52-5a44-9d0a-000000000001", "6f4f8c7e-3a52-5a44-9d0a-000000000002"]


def answer(status: int, body: bytes = b"", **headers: str) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    response._content = body  # what requests itself sets of a body that it has read
    response.headers.update(headers)
    return response


def outcome_of(check: Check, response: requests.Response) -> type[Exception] | None:
    """The error that is raised, if there is one; its text has the endpoint's name and is for a terminal."""
    caught: Exception | None = None
    try:
        check(NAME, response)
    except (BatchRejected, PermanentError, TransientError) as error:
        caught = error
    if caught is None:
        return None
    text = caught.detail if isinstance(caught, BatchRejected) else str(caught)
    assert text.isprintable()
    assert isinstance(caught, BatchRejected) or text.startswith(NAME)
    return type(caught)


@pytest.mark.parametrize("status", range(200, 600))
@example(b"")
@settings(max_examples=3)
@given(BODIES)
def test_a_post_is_taken_rejected_tried_again_or_ends_the_run(status: int, body: bytes) -> None:
    expected: type[Exception] | None
    if status < 300:
        expected = None
    elif status in REJECTING:
        expected = BatchRejected
    else:
        expected = TransientError if status in BUSY or status >= 500 else PermanentError
        # A Caliper endpoint may take another form of the same body.
        expected = NotThisForm if status == 415 else expected
    assert outcome_of(check_post, answer(status, body)) is expected


@given(STATUSES, BODIES)
def test_a_get_is_answered_tried_again_or_of_no_use(status: int, body: bytes) -> None:
    found = outcome_of(check_get, answer(status, body))
    if status < 300 or status == 404:
        assert found is None
    else:
        busy = status in BUSY or (status >= 500 and status != 501)
        assert found is (TransientError if busy else PermanentError)


@given(STATUSES, BODIES)
def test_a_check_that_passes_is_described(status: int, body: bytes) -> None:
    response = answer(status, body)
    found = outcome_of(check_probe, response)
    assert found is not BatchRejected
    if found is None:
        accepts = "accepts the credentials" in describe_probe(response).partition(":")[0]
        assert accepts == (status < 300)
        assert status in (403, 405, 501) or b'"statements"' in body


@given(st.lists(st.sampled_from(IDS), unique=True))
def test_ids_are_those_of_new_statements_in_any_case(new: list[str]) -> None:
    body = json.dumps([statement_id.upper() for statement_id in new]).encode()
    assert new_ids(NAME, answer(200, body), IDS) == set(new)


@pytest.mark.parametrize(
    "body", [None, {}, "x", ["another"], [*IDS, "another"], [None], 1, [IDS[0]] * 2, [IDS[0], IDS[0].upper()], [[]]]
)
def test_what_has_other_ids_is_not_an_lrs(body: Any) -> None:
    with pytest.raises(PermanentError, match="this is not an LRS"):
        new_ids(NAME, answer(200, json.dumps(body).encode()), IDS)


def test_no_content_is_nothing_new_and_so_is_an_empty_list() -> None:
    assert new_ids(NAME, answer(204), IDS) == set()
    assert new_ids(NAME, answer(200, b"[]"), IDS) == set()


@pytest.mark.parametrize("status", [status for status in range(201, 300) if status != 204])
@pytest.mark.parametrize("ids", [[], IDS])
def test_no_other_status_says_that_statements_are_stored(status: int, ids: list[str]) -> None:
    with pytest.raises(PermanentError, match=f"answers {status}.*this is not an LRS"):
        new_ids(NAME, answer(status, json.dumps(ids).encode()), IDS)


def test_a_busy_lrs_says_how_long() -> None:
    with pytest.raises(TransientError) as raised:
        check_post(NAME, answer(429, b"later", **{"Retry-After": "7"}))
    assert raised.value.retry_after_secs == 7
    assert str(raised.value) == f"{NAME} answers 429: later"
