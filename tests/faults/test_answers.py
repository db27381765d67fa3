"""Every answer that an LRS may give, and some that it may not."""

from __future__ import annotations

import base64
import email.utils
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.harness import tally
from tests.harness.forked_site import ForkedSite
from tests.harness.http_sinks import Answer, ScriptedLrs, basic, start_scripted_lrs
from tests.harness.job import JobRun
from tests.harness.process import free_port
from tests.harness.runs import check_sums
from tutor_transform_logs.demo.log_writer import Mix, write_log
from tutor_transform_logs.lms_job.deliver.clickhouse import ClickHouse, Table
from tutor_transform_logs.lms_job.util.errors import PermanentError, Unavailable

GOOD = 40
PASSWORD = "the-pa55word"


@pytest.fixture
def sending(world: ForkedSite, scripted_lrs: ScriptedLrs) -> ForkedSite:
    """A world whose job sends 40 statements in batches of 10 to the scripted LRS."""
    write_log(world.logs / "tracking.log", Mix(good=GOOD), names=["play_video"], seed=7)
    # One request at a time, so that each batch gets the answer that a test has for it.
    world.settings |= {"batch_size": 10, "max_requests_in_flight": 1}
    world.to_lrs({"url": scripted_lrs.url, "username": "u", "password": PASSWORD})
    return world


def tried(world: ForkedSite, **more: Any) -> JobRun:
    ran = world.run(**more)
    tally.add("faults")
    assert PASSWORD not in ran.detail
    assert "Traceback" not in ran.detail, ran.detail
    return ran


def in_seconds() -> dict[str, str]:
    return {"Retry-After": "1"}


def as_date() -> dict[str, str]:
    return {"Retry-After": email.utils.formatdate(time.time() + 2, usegmt=True)}


TRANSIENT: dict[str, Callable[[], list[Answer | None]]] = {
    "500 after storing": lambda: [Answer(500, store=True)],
    "503 twice": lambda: [None, Answer(503), Answer(503)],
    "502 without text": lambda: [Answer(502)],
    "429 with seconds": lambda: [Answer(429, headers=in_seconds())],
    "429 with a date": lambda: [None, Answer(429, headers=as_date())],
    "408": lambda: [Answer(408)],
    "no answer": lambda: [Answer(no_answer=True), None, Answer(no_answer=True)],
    "no answer after storing": lambda: [Answer(no_answer=True, store=True)],
    "cut off in the middle": lambda: [Answer(200, ["x"], cut_off=True)],
    "cut off after storing": lambda: [None, Answer(200, ["x"], cut_off=True, store=True)],
    "hanging past the time-out": lambda: [Answer(hang_secs=4, store=True)],
    "a byte now and then": lambda: [None, Answer(200, b"[" * 100, store=True, drip_secs=0.5)],
    "a byte now and then of a header": lambda: [Answer(200, store=True, drip_secs=0.5, drip_headers=True)],
    "slow": lambda: [Answer(200, hang_secs=1, store=True, body=[])],
}


@pytest.mark.parametrize("name", TRANSIENT)
@pytest.mark.parametrize("in_flight", [1, 16])
def test_what_passes_is_waited_for(sending: ForkedSite, scripted_lrs: ScriptedLrs, name: str, in_flight: int) -> None:
    scripted_lrs.script = TRANSIENT[name]()
    began = time.monotonic()
    ran = tried(sending, lrs_timeout_secs=2, max_requests_in_flight=in_flight)
    tally.same(0, ran.status, f"{name}: {ran.detail}")
    tally.same(GOOD, len(scripted_lrs.statements), name)
    check_sums(sending.result())
    if "429" in name:
        assert time.monotonic() - began >= 1


REFUSALS = {
    "401": (Answer(401), "refuses the credentials"),
    "403": (Answer(403, {"detail": "no"}), "refuses the credentials"),
    "404": (Answer(404), "check its URL"),
    "405": (Answer(405), "check its URL"),
    "redirect": (Answer(302, headers={"Location": "https://elsewhere.example.org/xAPI/"}), "elsewhere.example.org"),
    "HTML": (Answer(200, "<html>log in</html>", headers={"Content-Type": "text/html"}), "this is not an LRS"),
    "an object": (Answer(200, {"ok": True}), "this is not an LRS"),
    "JSON that is nested too deeply": (Answer(200, b"[" * 100_000), "this is not an LRS"),
    "nothing": (Answer(200), "this is not an LRS"),
    "nothing, and accepted": (Answer(202), "this is not an LRS"),
    "an empty list, and accepted": (Answer(202, []), "this is not an LRS"),
    **{f"nothing, and {status}": (Answer(status, []), "this is not an LRS") for status in (201, 207, 208, 226)},
    "an error as a list": (Answer(200, [{"error": "no"}]), "this is not an LRS"),
    "ids of other statements": (Answer(200, ["6d1a4b06-2f4c-4f9e-8f4b-0d6f0f3f2a11"]), "this is not an LRS"),
    "a redirect to what is not a URL": (Answer(301, headers={"Location": "http://[::1"}), "301, a redirect to no URL"),
    "an unknown text encoding": (Answer(404, b"gone", headers={"Content-Type": "text/html; charset=idna"}), "gone"),
    "an encoding of a NUL": (Answer(404, b"gone", headers={"Content-Type": "text/html; charset=\0"}), "gone"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_will_not_pass_ends_the_run_with_1(sending: ForkedSite, scripted_lrs: ScriptedLrs, name: str) -> None:
    answer, detail = REFUSALS[name]
    scripted_lrs.script = [None, answer]
    ran = tried(sending)
    tally.same(1, ran.status, f"{name}: {ran.detail}")
    assert detail in ran.detail
    tally.same(10, len(scripted_lrs.statements), name)
    tally.same(2, len(scripted_lrs.requests), f"{name}: asked again")
    again = sending.run()
    tally.same(0, again.status, again.detail)
    tally.same((GOOD, 0), (len(scripted_lrs.statements), scripted_lrs.repeated), f"{name}, run again")


@pytest.mark.parametrize("status", [400, 409, 422])
def test_one_rejected_statement_is_dead_lettered(sending: ForkedSite, scripted_lrs: ScriptedLrs, status: int) -> None:
    assert sending.run().status == 0
    bad = list(scripted_lrs.statements)[23]
    scripted_lrs.statements.clear()
    scripted_lrs.refused = {bad: status}
    ran = tried(sending, restart=True)
    tally.same(3, ran.status, ran.detail)
    tally.same(GOOD - 1, len(scripted_lrs.statements), f"{status} for one")
    [letter] = [json.loads(line) for path in sending.folder.rglob("dead-letters.jsonl") for line in path.open()]
    assert (letter["statement"], letter["stage"]) == (bad, "deliver")
    assert letter["reason"] == ("conflict" if status == 409 else "invalid_statement")
    assert "is not welcome" in letter["detail"]
    check_sums(sending.result())
    scripted_lrs.refused = {}
    retried = tried(sending, retry_failed=True)
    tally.same(0, retried.status, retried.detail)
    tally.same((GOOD, 0), (len(scripted_lrs.statements), scripted_lrs.repeated), "after the retry")
    assert not list(sending.folder.rglob("dead-letters.jsonl"))


def test_a_body_too_large_is_sent_in_smaller_ones(sending: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    scripted_lrs.max_bytes = 5000
    ran = tried(sending)
    tally.same(0, ran.status, ran.detail)
    tally.same(GOOD, len(scripted_lrs.statements), "413")
    scripted_lrs.max_bytes = 100
    ran = tried(sending, restart=True)
    tally.same(3, ran.status, ran.detail)
    reasons = sending.result()["reasons"]
    tally.same({"too_large": GOOD}, reasons, "a limit that no statement keeps")


def test_an_lrs_that_stays_away_stops_the_run_with_4(sending: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    scripted_lrs.script = [None, None, *[Answer(503)] * 50]
    ran = tried(sending, lrs_max_wait_secs=1)
    tally.same(4, ran.status, ran.detail)
    assert "run the same command again to resume" in ran.detail
    tally.same(20, len(scripted_lrs.statements), "before it went away")
    scripted_lrs.script = []
    tally.same(0, sending.run().status, "run again")
    tally.same((GOOD, 0), (len(scripted_lrs.statements), scripted_lrs.repeated), "run again")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(301, headers={"Location": "http://[::1"}), r"it answers 301, a redirect to no URL\. Check "),
        (Answer(300, headers={"Location": "http://[::1"}), r"it answers 300, a redirect to no URL\. Check "),
        (Answer(302), r"it answers 302, a redirect to no URL\. Check "),
        (Answer(300, headers={"Location": "http://u:p@x/\x1b7"}), r"it redirects to http://x/\\x1b7\. If that is "),
        (Answer(404, b"no", headers={"Content-Type": "text/html; charset=idna"}), r"404: no\. Check "),
        (Answer(404, b"no", headers={"Content-Type": "text/html; charset=\0"}), r"404: no\. Check "),
        (Answer(404, b"\x1b[2Jno\x00"), r"404: \\x1b\[2Jno\\x00\. Check "),
    ],
)
def test_what_clickhouse_never_answers_is_quoted_on_one_line(
    scripted_lrs: ScriptedLrs, answer: Answer, said: str
) -> None:
    scripted_lrs.script = [answer]
    with pytest.raises(PermanentError, match=said):
        ClickHouse(Table(scripted_lrs.url, "openedx", "xapi_events_all"), 5.0, 0.0, 2**20).probe()
    tally.add("faults")


def test_an_answer_of_clickhouse_has_a_deadline(scripted_lrs: ScriptedLrs) -> None:
    scripted_lrs.script = [Answer(200, b"1" * 100, drip_secs=0.5)]
    with pytest.raises(Unavailable, match="it does not answer"):
        ClickHouse(Table(scripted_lrs.url, "openedx", "xapi_events_all"), 1.0, 0.0, 2**20).probe()
    tally.add("faults")


@pytest.mark.parametrize("status", [404, 503, 400])
@pytest.mark.parametrize("password", ["pa5", PASSWORD, 'a"b\\c/d'])
def test_what_an_lrs_repeats_of_the_credentials_is_masked(
    sending: ForkedSite, scripted_lrs: ScriptedLrs, status: int, password: str
) -> None:
    header = basic("u", password)
    echo = {"Authorization": header, "password": password, "encoded": base64.b64encode(password.encode()).decode()}
    scripted_lrs.script = [Answer(status, echo)] * 99
    sending.to_lrs({"url": scripted_lrs.url, "username": "u", "password": password})
    ran = tried(sending, lrs_max_wait_secs=0.1, batch_size=40)
    assert "***" in ran.detail or status == 400
    kept = b"".join(path.read_bytes() for path in sending.ledger.rglob("*") if path.is_file())
    for secret in (header.split()[1], json.dumps(password)[1:-1], echo["encoded"]):
        assert secret not in ran.detail
        assert secret.encode() not in kept
    tally.add("faults")


def test_nobody_there(sending: ForkedSite) -> None:
    sending.to_lrs({"url": f"http://127.0.0.1:{free_port()}/xAPI", "username": "u", "password": PASSWORD})
    ran = tried(sending, lrs_max_wait_secs=1)
    tally.same(1, ran.status, ran.detail)
    assert "can't be reached (connection refused), and never was" in ran.detail


def test_one_of_two_down_holds_back_and_repeats_nothing(sending: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    with start_scripted_lrs() as other:
        endpoints = [{"url": server.url, "username": "u", "password": PASSWORD} for server in (scripted_lrs, other)]
        sending.to_lrs(*endpoints)
        other.script = [None, *[Answer(503)] * 50]
        ran = tried(sending, lrs_max_wait_secs=1)
        tally.same(4, ran.status, ran.detail)
        tally.same((GOOD, 10), (len(scripted_lrs.statements), len(other.statements)), "one down")
        asked = len(scripted_lrs.requests)
        other.script = []
        tally.same(0, sending.run().status, "run again")
        tally.same(asked, len(scripted_lrs.requests), "the one that had all was asked again")
        tally.same((GOOD, 0), (len(other.statements), other.repeated), "the other goes on where it was")


def test_a_wrong_password_for_one_of_two(sending: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    with start_scripted_lrs() as other:
        other.authorization = basic("u", "another")
        sending.to_lrs(
            *({"url": server.url, "username": "u", "password": PASSWORD} for server in (other, scripted_lrs))
        )
        ran = tried(sending)
        tally.same(1, ran.status, ran.detail)
        tally.same((0, GOOD), (len(other.statements), len(scripted_lrs.statements)), "the other gets all")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_that_would_fail_again_does_not_ask_to_be_run_again(
    sending: ForkedSite, scripted_lrs: ScriptedLrs, workers: int
) -> None:
    """One LRS is down and another one refuses the password: the status is 1, and so is the advice."""
    with start_scripted_lrs() as other:
        other.authorization = basic("u", "another")
        scripted_lrs.script = [Answer(503)] * 50
        sending.to_lrs(
            *({"url": server.url, "username": "u", "password": PASSWORD} for server in (other, scripted_lrs))
        )
        ran = tried(sending, lrs_max_wait_secs=1, workers=workers)
    tally.same(1, ran.status, ran.detail)
    assert "answers 503" in ran.detail
    assert "resume" not in ran.detail
    assert "Failed before the end. Fix what the message names and run the same command again." in ran.stdout


def test_a_certificate_that_does_not_fit(sending: ForkedSite, stranger: str) -> None:
    sending.to_lrs({"url": stranger, "username": "u", "password": PASSWORD})
    ran = tried(sending)
    tally.same(1, ran.status, ran.detail)
    assert "certificate is not trusted" in ran.detail


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "text/plain; charset=undefined"}])
def test_a_text_that_is_not_for_a_terminal_is_escaped(
    sending: ForkedSite, scripted_lrs: ScriptedLrs, headers: dict[str, str]
) -> None:
    scripted_lrs.script = [Answer(400, b"\x1b[2Jno\x00", headers=headers)] * 2
    ran = tried(sending, batch_size=1, strict=True)
    tally.same(3, ran.status, ran.detail)
    [first, _] = [letter["detail"] for letter in ran.dead_letters()]
    assert first.endswith("\\x1b[2Jno\\x00")


@pytest.mark.parametrize("bearer", ["the-pa55word\n", "the-pa55word\u20ac", "the-pa55word\x00"])
@pytest.mark.parametrize("command", ["run", "check", "verify"])
def test_a_bearer_token_that_can_not_be_sent_is_refused_and_not_repeated(
    sending: ForkedSite, scripted_lrs: ScriptedLrs, bearer: str, command: str
) -> None:
    sending.to_lrs({"url": scripted_lrs.url, "bearer": bearer})
    ran = tried(sending, command=command)
    tally.same(1, ran.status, ran.detail)
    assert "lrs_endpoints" in ran.detail
    assert "report this" not in ran.detail
