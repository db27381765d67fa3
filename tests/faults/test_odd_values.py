"""Odd plans, odd answers and odd settings: each ends the run with one line and the right status, and no traceback."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import tally
from tests.harness.demo_lms import DemoLms
from tests.harness.forked_site import ForkedSite
from tests.harness.http_sinks import Answer, ScriptedLrs
from tests.harness.job import JobRun
from tests.harness.object_store import Bucket
from tutor_transform_logs.demo.log_writer import Mix, write_log

LOW, HIGH = "\udc80", "\ud800"
DEEP = b"[" * 200_000
DEEPER = b'{"a":' * 200_000
IDNA = {"Content-Type": "application/json; charset=idna"}


@pytest.fixture
def logged(world: ForkedSite) -> ForkedSite:
    write_log(world.logs / "tracking.log", Mix(good=30, unknown_user=1), names=["play_video"], seed=6)
    world.settings["lrs_max_wait_secs"] = 0.1
    return world


def assert_one_line(ran: JobRun, status: int, *said: str) -> None:
    tally.add("faults")
    tally.same(status, ran.status, ran.detail)
    assert "Traceback" not in ran.detail
    assert "report this" not in ran.detail
    for text in said:
        assert text in " ".join(ran.detail.split()), ran.detail


# An odd plan.json

ODD: tuple[Any, ...] = (None, True, -1, 1.5, 10**400, "x", HIGH, [], [1], {}, {"x": 1}, [[]], [None], ["x"], [{}])


def odd_plans(plan: Any) -> Iterator[Any]:
    """Other things than a plan, and the plan with each of its values replaced, and without each of its keys."""
    yield from ODD
    yield from _variations(plan)


def _variations(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for key in value:
            yield {name: inner for name, inner in value.items() if name != key}
            yield from ({**value, key: odd} for odd in ODD)
            yield from ({**value, key: inner} for inner in _variations(value[key]))
        yield {**value, "x": 1}
    elif isinstance(value, list) and value:
        yield from ([inner, *value[1:]] for inner in _variations(value[0]))
        yield from ([*value, odd] for odd in ODD)


def test_an_odd_plan_is_damaged(logged: ForkedSite) -> None:
    """Thousands of plans in one process, and one of each kind in jobs."""
    from tutor_transform_logs.lms_job.ledger.json_objects import LedgerError
    from tutor_transform_logs.lms_job.ledger.ledger import Ledger
    from tutor_transform_logs.lms_job.storage.local import LocalStorage

    tally.same(-9, logged.run(steps={"label": "entry write: after", "number": 3}).status, "killed")
    [job] = logged.ledger.iterdir()
    whole = (job / "plan.json").read_text()
    ledger = Ledger(LocalStorage(str(logged.ledger)), "", job.name)
    damaged = accepted = 0
    said: set[str] = set()
    for plan in odd_plans(json.loads(whole)):
        (job / "plan.json").write_text(json.dumps(plan))
        try:
            ledger.load_plan()
            accepted += 1
        except LedgerError as error:
            damaged += 1
            said.add(re.sub(r"\(\w+\)", "(...)", str(error)))
    tally.add("inputs", damaged + accepted)
    assert damaged > 500
    # Of another version, it would not be.
    known = (" is damaged (...): ", " has the format ")
    assert [text for text in said if not any(each in text for each in known)] == []
    # Another number, time, uuid or flag may be right.
    assert accepted < damaged / 4
    for plan in ODD:
        (job / "plan.json").write_text(json.dumps(plan))
        for command in ("run", "status", "verify", "work", "report"):
            ran = logged.run(command=command)
            assert_one_line(ran, 1, f"The ledger {job / 'plan.json'} is damaged (")
            tally.same(1, ran.stderr.count(" is damaged ("), ran.stderr)
    (job / "plan.json").write_text(whole)
    tally.same(0, logged.run().status, "with the plan that was there")


def test_an_odd_plan_that_is_accepted_ends_no_run_with_a_traceback(logged: ForkedSite) -> None:
    """Every twentieth of those that may be right."""
    from tutor_transform_logs.lms_job.ledger.json_objects import LedgerError
    from tutor_transform_logs.lms_job.ledger.ledger import Ledger
    from tutor_transform_logs.lms_job.storage.local import LocalStorage

    tally.same(-9, logged.run(steps={"label": "entry write: after", "number": 3}).status, "killed")
    [job] = logged.ledger.iterdir()
    ledger = Ledger(LocalStorage(str(logged.ledger)), "", job.name)
    accepted = []
    for plan in odd_plans(json.loads((job / "plan.json").read_text())):
        (job / "plan.json").write_text(json.dumps(plan))
        try:
            ledger.load_plan()
        except LedgerError:
            continue
        accepted.append(plan)
    for plan in accepted[::20]:
        (job / "plan.json").write_text(json.dumps(plan))
        for command in ("status", "run"):
            ran = logged.run(command=command)
            tally.add("faults")
            assert "Traceback" not in ran.detail, f"{plan}: {ran.detail}"


# Odd answers

ANSWERS = {
    "deep": Answer(200, DEEP),
    "deep objects": Answer(200, DEEPER),
    "idna": Answer(200, b'"\xff"', headers=IDNA),
    "idna and deep": Answer(200, DEEP, headers=IDNA),
    "an error in idna": Answer(400, b"\xff no", headers=IDNA),
    "unavailable in idna": Answer(503, b"\xff no", headers=IDNA),
    "a charset of a NUL": Answer(404, b"no", headers={"Content-Type": "text/html; charset=\x01"}),
    "a charset that is not text": Answer(404, b"no", headers={"Content-Type": "text/html; charset=hex"}),
    "a charset for base64": Answer(200, b"no", headers={"Content-Type": "text/html; charset=base64"}),
    "a long charset": Answer(500, b"no", headers={"Content-Type": f"text/html; charset={'x' * 5000}"}),
    "numbers": Answer(200, b"[" + b"1" * 5000 + b"]"),
    "NaN": Answer(200, b"[NaN]"),
    "half a surrogate pair": Answer(200, b'["\\ud800"]'),
    "half a surrogate pair, rejected": Answer(400, b'{"detail": "\\ud800 \xed\xa0\x80"}'),
    "an odd Retry-After": Answer(503, b"", headers={"Retry-After": "1e999"}),
    "a Retry-After of old": Answer(503, b"", headers={"Retry-After": "Mon, 30 Feb 0000 25:61:61 GMT"}),
    "a Retry-After of many digits": Answer(503, b"", headers={"Retry-After": "9" * 5000}),
    "an odd length": Answer(200, b"[]", headers={"Content-Length": "x"}),
    "gzip that is none": Answer(200, b"[]", headers={"Content-Encoding": "gzip"}),
    "an unknown encoding": Answer(200, b"[]", headers={"Content-Encoding": "zstd, br"}),
    "a redirect to an odd port": Answer(302, b"", headers={"Location": "http://a:99999999/"}),
    "a redirect to itself": Answer(302, b"", headers={"Location": ""}),
    "a status of 100": Answer(199, b""),
    "a status of 999": Answer(999, b""),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_odd_answer_of_an_lrs(logged: ForkedSite, scripted_lrs: ScriptedLrs, name: str) -> None:
    logged.to_lrs({"url": scripted_lrs.url, "username": "u", "password": "p"})
    scripted_lrs.script = [ANSWERS[name]] * 99
    assert_no_traceback(logged.run(batch_size=30))
    assert_no_traceback(logged.run(command="check"))
    scripted_lrs.script = []
    tally.same(0, logged.run(restart=True).status, "the run with a good LRS")
    scripted_lrs.script = [ANSWERS[name]] * 99
    assert_no_traceback(logged.run(command="verify"))


@pytest.mark.parametrize("name", ANSWERS)
def test_an_odd_answer_of_clickhouse(logged: ForkedSite, scripted_lrs: ScriptedLrs, name: str) -> None:
    target = {
        "destination_provider": "CLICKHOUSE",
        "clickhouse_url": scripted_lrs.url.removesuffix("/xAPI/statements"),
        "clickhouse_database": "openedx",
    }
    scripted_lrs.script = [ANSWERS[name]] * 99
    for command in ("run", "check", "gaps"):
        assert_no_traceback(logged.run(target, command=command))


def assert_no_traceback(ran: JobRun) -> None:
    tally.add("faults")
    assert ran.status in (0, 1, 3, 4), ran.detail
    assert "Traceback" not in ran.detail
    assert "report this" not in ran.detail
    assert all(line.isprintable() for line in ran.detail.splitlines())


# Odd settings


@pytest.mark.parametrize("odd", [LOW, HIGH, f"x{LOW}y"], ids=ascii)
@pytest.mark.parametrize("field", ["username", "password", "bearer", "url"])
def test_half_a_surrogate_pair_for_an_lrs(logged: ForkedSite, scripted_lrs: ScriptedLrs, field: str, odd: str) -> None:
    endpoint = {"url": scripted_lrs.url}
    endpoint[field] = f"{scripted_lrs.url}/{odd}" if field == "url" else odd
    logged.to_lrs(endpoint)
    for command in ("run", "check", "verify"):
        assert_one_line(logged.run(command=command), 1, "lrs_endpoints: ", "; allowed: ")


OF_CLICKHOUSE = ("url", "username", "password", "database", "table")


@pytest.mark.parametrize("odd", [LOW, HIGH], ids=ascii)
@pytest.mark.parametrize("field", OF_CLICKHOUSE)
def test_half_a_surrogate_pair_for_clickhouse(logged: ForkedSite, field: str, odd: str) -> None:
    target: dict[str, Any] = {"destination_provider": "CLICKHOUSE", "clickhouse_url": "http://127.0.0.1:1"}
    target |= {"clickhouse_database": "openedx"}
    target[f"clickhouse_{field}"] = f"http://127.0.0.1:1/{odd}" if field == "url" else odd
    for command in ("run", "check", "verify", "gaps"):
        assert_one_line(logged.run(target, command=command), 1, f"clickhouse_{field}: ", "; allowed: ")


OF_STORE = ("key", "secret", "container", "prefix", "host", "region", "token")


@pytest.mark.parametrize("odd", [LOW, HIGH], ids=ascii)
@pytest.mark.parametrize("field", OF_STORE)
@pytest.mark.parametrize("role", ["source", "destination", "ledger"])
def test_half_a_surrogate_pair_for_an_object_store(
    logged: ForkedSite, nanio_bucket: Bucket, role: str, field: str, odd: str
) -> None:
    settings = nanio_bucket.settings(role, provider="S3", prefix="x/")
    settings[f"{role}_{field}"] = odd
    assert_one_line(logged.run(settings), 1, f"{role}_{field}: ", "; allowed: ")


@pytest.mark.parametrize("odd", ["ключ", "€", "ÿ\x80"], ids=ascii)
@pytest.mark.parametrize("field", ["key", "secret", "token"])
def test_credentials_of_a_store_that_are_not_latin(
    logged: ForkedSite, nanio_bucket: Bucket, field: str, odd: str
) -> None:
    settings = nanio_bucket.settings("source", provider="S3", prefix="x/")
    settings["source_token"] = None
    settings[f"source_{field}"] = odd
    said = "refuses the credentials" if field == "secret" else f"source_{field}: "
    assert_one_line(logged.run(settings), 1, said)


@pytest.mark.parametrize("odd", ["ключ", "€", "ÿ\x80"], ids=ascii)
def test_credentials_of_an_lrs_that_are_not_latin(logged: ForkedSite, scripted_lrs: ScriptedLrs, odd: str) -> None:
    logged.to_lrs({"url": scripted_lrs.url, "username": odd, "password": odd})
    ran = logged.run()
    tally.same(0, ran.status, ran.detail)
    logged.to_lrs({"url": scripted_lrs.url, "bearer": odd})
    assert_one_line(logged.run(), 1, "lrs_endpoints: ", "printable ASCII")


# Odd routers: the database of the LMS is not checked by the job's config.

ROUTERS: dict[str, tuple[dict[str, Any], str]] = {
    "a token that is not Latin": ({"auth_scheme": "Bearer", "auth_key": "ключ€"}, "can't be used (UnicodeEncodeError)"),
    "a token of two lines": ({"auth_scheme": "Bearer", "auth_key": "a\nb"}, "can't be used (InvalidHeader)"),
    "a URL that is none": ({"route_url": "http://[::1"}, "can't be used. Fix it in the Django admin"),
    "a URL without a host": ({"route_url": "lrs"}, "can't be used. Fix it in the Django admin"),
    "a list of configurations": ({"configurations": [1]}, "The configurations of the router"),
    "a list of headers": ({"configurations": {"headers": ["x"]}}, "The headers of the router"),
    "a text of match_params": ({"configurations": {"match_params": "x"}}, "The match_params of the router"),
    "a number of override_args": ({"configurations": {"override_args": 1}}, "The override_args of the router"),
    "a header that is a number": ({"configurations": {"headers": {"X-A": 1}}}, "can't be used (InvalidHeader)"),
    "a header that is not Latin": ({"configurations": {"headers": {"X-A": "ключ"}}}, "can't be used (Unicode"),
    "a header's odd name": ({"configurations": {"headers": {"X A\n": "x"}}}, "can't be used (InvalidHeader)"),
    "half a surrogate pair": ({"configurations": {"headers": {"X-A": HIGH}}}, "can't be used (Unicode"),
}


@pytest.mark.parametrize("name", ROUTERS)
def test_an_odd_router(logged: ForkedSite, demo_lms: DemoLms, scripted_lrs: ScriptedLrs, name: str) -> None:
    fields, said = ROUTERS[name]
    demo_lms.add_router(
        fields.get("route_url", scripted_lrs.url), backend_name="Caliper", **_without(fields, "route_url")
    )
    logged.settings = {key: value for key, value in logged.settings.items() if not key.startswith("destination_")}
    logged.settings |= {"destination_provider": "LRS", "transformer_type": "caliper"}
    for command in ("run", "check"):
        assert_one_line(logged.run(command=command, lms=demo_lms), 1, said)


def _without(fields: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != name}


# A read-only ledger is in test_read_only.py, a folder in the place of a file in test_not_files.py.


def test_a_name_on_a_disk_may_be_any_bytes(logged: ForkedSite, tmp_path: Path) -> None:
    """Of folders, half a surrogate pair stands for a byte that is not UTF-8."""
    folder = tmp_path / f"logs-{LOW}"
    logged.logs.rename(folder)
    ran = logged.run(source_container=folder.name)
    tally.same(0, ran.status, ran.detail)
    tally.same(30, len(logged.output_lines()), "statements")
