"""Whole runs of the job to a real LRS, through the LMS's routers and through the settings' endpoints."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.harness.forked_site import ForkedSite
from tests.harness.http_sinks import Answer, CaliperSink, ScriptedLrs, basic, start_proxy
from tests.harness.parity import scene
from tests.harness.ralph import PASSWORD, Lrs
from tests.harness.runs import assert_accounted, assert_refused, erbs_ids
from tutor_transform_logs.demo import events, samples
from tutor_transform_logs.demo.log_writer import CALIPER_GOOD_NAMES, Mix

pytestmark = pytest.mark.usefixtures("lms")

MIX = Mix(good=60, page_view=40, unknown_user=2, type_error=2, broken=3, copies=4)


def ids_in(site: ForkedSite) -> set[str]:
    return erbs_ids(site.logs.joinpath("tracking.log").read_bytes().splitlines())


def to_lrs(*lrss: Lrs) -> dict[str, Any]:
    return {"lrs_endpoints": [lrs.endpoint for lrs in lrss]}


def by_url(result: dict[str, Any], url: str) -> dict[str, Any]:
    [destination] = [destination for destination in result["destinations"] if destination["name"] == url]
    return dict(destination)


def test_local_to_lrs_through_the_settings(site: ForkedSite, lrs: Lrs) -> None:
    log = site.log(MIX)
    run = site.run(site.source(), to_lrs(lrs), batch_size=20)
    result = assert_accounted(run, log.xapi)
    [destination] = result["destinations"]
    # A line that was logged twice makes the same statement twice: one is stored.
    assert (destination["stored"], destination["duplicates"]) == (log.xapi.distinct_statements, 4)
    found = lrs.ids()
    assert len(found) == len(set(found))
    assert set(found) == ids_in(site)
    again = site.run(site.source(), to_lrs(lrs), batch_size=20)
    assert again.stdout.startswith("Nothing new")
    restarted = site.run(site.source(), to_lrs(lrs), restart=True)
    result = assert_accounted(restarted, log.xapi)
    assert by_url(result, lrs.url)["duplicates"] == log.xapi.statements
    assert set(lrs.ids()) == set(found)
    assert PASSWORD not in run.stdout + run.stderr + json.dumps(result)


def test_a_replay_of_what_erb_delivered_live_is_all_duplicates(site: ForkedSite, lrs: Lrs) -> None:
    """Problems with several questions, forum, exams, a CCX: the demo's logs have them."""
    logs = samples.write(site.logs)
    delivered = site.lms.run_python(
        "-m",
        "tests.harness.erb_delivery",
        lrs.url.removesuffix("statements"),
        lrs.username,
        lrs.password,
        *map(str, logs),
    )
    assert int(delivered) > 0
    there = {statement["id"]: statement for statement in lrs.statements()}
    with start_proxy(lrs.url) as proxy:
        run = site.run(
            site.source(prefix=""), to_lrs(lrs), lrs_endpoints=[{**lrs.endpoint, "url": proxy.url}], batch_size=50
        )
    result = assert_accounted(run, samples.expected("xapi"))
    [destination] = result["destinations"]
    assert (destination["stored"], destination["rejected"]) == (0, 0)
    assert {statement["id"]: statement for statement in lrs.statements()} == there
    entries = [json.loads(path.read_text()) for path in site.ledger.rglob("00*.lrs-*.json")]
    assert len(proxy.requests) == sum(entry["batches"] for entry in entries) > len(logs)


def test_what_an_earlier_version_posted_is_not_different(site: ForkedSite, lrs: Lrs) -> None:
    """It posted the objectType that ERB logs, and not the one that ERB posts."""
    lines = [events.to_json(events.problem_check_many("problem_check", scene("", number))) for number in range(5, 9)]
    site.place("tracking.log", "".join(f"{line}\n" for line in lines).encode())
    assert site.run(site.source(), to_lrs(lrs)).status == 0
    posted = lrs.statements()
    assert len(posted) == 4 * len(lines)
    parents = [statement for statement in posted if "statement" not in statement["context"]]
    for statement in parents:
        lrs.alter(statement["id"], object=statement["object"] | {"objectType": "GroupActivity"})
    verified = site.run(site.source(), to_lrs(lrs), command="verify")
    assert verified.status == 0, verified.detail
    assert "All expected statements were found." in verified.stdout
    again = site.run(site.source(), to_lrs(lrs), restart=True)
    assert again.status == 0, again.detail
    assert again.result is not None
    assert by_url(again.result, lrs.url)["duplicates"] == len(posted)
    assert sum(statement["object"]["objectType"] == "GroupActivity" for statement in lrs.statements()) == len(lines)


def test_every_enabled_router_gets_what_is_for_it(
    site: ForkedSite, new_lrs: Callable[[], Lrs], scripted_lrs: ScriptedLrs
) -> None:
    """Basic and Bearer, all and some, as it is and overridden; one that is disabled, one of the other type."""
    log = site.log(MIX)
    whole, part = new_lrs(), new_lrs()
    scripted_lrs.authorization = "Bearer the-token"
    platform = {"platform": "a-site-of-ours", "authority": {"objectType": "Agent", "mbox": "mailto:x@example.org"}}
    match = {"name": ["^play_video$", "edx.video"], "context.org_id": "OpenedX", "data.id": "."}
    lms = site.lms
    login = {"auth_scheme": "Basic", "password": PASSWORD}
    lms.add_router(whole.url, username=whole.username, **login)
    # tincan adds "statements" itself: both forms of the URL are the same resource.
    endpoint = part.url.removesuffix("statements")
    configurations = {"match_params": match, "override_args": {"authority": platform["authority"]}}
    lms.add_router(endpoint, backend_name="XAPI", username=part.username, configurations=configurations, **login)
    lms.add_router(
        scripted_lrs.url, auth_scheme="Bearer", auth_key="the-token", configurations={"match_params": {"name": "x{9}"}}
    )
    lms.add_router("http://127.0.0.1:9/nobody-listens", backend_name="Caliper")
    run = site.run(site.source())
    result = assert_accounted(run, log.xapi)
    assert len(result["destinations"]) == 3
    assert set(whole.ids()) == ids_in(site)
    wanted = {
        line
        for line in site.logs.joinpath("tracking.log").read_bytes().splitlines()
        if b'"OpenedX"' in line and (b'"name": "play_video"' in line or b'"name": "edx.video' in line)
    }
    got = part.statements()
    assert {statement["id"] for statement in got} == erbs_ids(wanted)
    assert got
    # Ralph sets the authority of the account; what was sent is seen in the count and in the next test.
    assert scripted_lrs.requests == []
    by_name = {destination["id"]: destination for destination in result["destinations"]}
    assert sorted(destination["not_routed"] > 0 for destination in by_name.values()) == [False, True, True]


def test_overrides_and_bearer_reach_the_lrs(site: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    site.log(Mix(good=5))
    scripted_lrs.authorization = "Bearer the-token"
    overrides = {"version": "1.0.1", "context": {"platform": "ours"}}
    site.lms.add_router(
        scripted_lrs.url, auth_scheme="Bearer", auth_key="the-token", configurations={"override_args": overrides}
    )
    run = site.run(site.source())
    assert run.status == 0, run.stderr
    assert set(scripted_lrs.statements) == ids_in(site)
    assert all(statement["context"] == {"platform": "ours"} for statement in scripted_lrs.statements.values())
    assert all(statement["version"] == "1.0.1" for statement in scripted_lrs.statements.values())
    [request] = scripted_lrs.requests
    assert request.headers["x-experience-api-version"].startswith("1.0.")


def test_lrs_urls_limit_the_routers(site: ForkedSite, lrs: Lrs, scripted_lrs: ScriptedLrs) -> None:
    site.log(Mix(good=5))
    site.lms.add_router(lrs.url, auth_scheme="Basic", username=lrs.username, password=lrs.password)
    site.lms.add_router(scripted_lrs.url)
    run = site.run(site.source(), lrs_urls=[f"{lrs.url}/"])
    assert run.status == 0, run.stderr
    assert set(lrs.ids()) == ids_in(site)
    assert scripted_lrs.requests == []
    other = site.run(site.source(), lrs_urls=["http://lrs.example.org/xAPI"])
    assert_refused(other, "lrs_urls: http://lrs.example.org/xAPI is not the URL of an enabled router", lrs.url)


def test_two_accounts_at_one_url_both_get_everything(site: ForkedSite, new_lrs: Callable[[], Lrs]) -> None:
    log = site.log(MIX)
    one, other = new_lrs(), new_lrs()
    run = site.run(site.source(), to_lrs(one, other))
    result = assert_accounted(run, log.xapi)
    assert len({destination["id"] for destination in result["destinations"]}) == 2
    assert set(one.ids()) == set(other.ids()) == ids_in(site)


def test_one_lrs_that_refuses_holds_back_no_other(site: ForkedSite, lrs: Lrs, scripted_lrs: ScriptedLrs) -> None:
    site.log(MIX)
    scripted_lrs.authorization = basic("u", "the-right-one")
    endpoints = [{"url": scripted_lrs.url, "username": "u", "password": "a-wrong-one"}, lrs.endpoint]
    run = site.run(site.source(), lrs_endpoints=endpoints)
    assert run.status == 1
    assert f"{scripted_lrs.url} refuses the credentials (401)" in run.stdout
    assert "Traceback" not in run.stdout + run.stderr
    assert "a-wrong-one" not in run.stdout + run.stderr
    assert set(lrs.ids()) == ids_in(site)
    assert len(scripted_lrs.requests) == 1
    endpoints[0]["password"] = "the-right-one"
    run = site.run(site.source(), lrs_endpoints=endpoints)
    assert run.status == 0, run.stdout + run.stderr
    assert set(scripted_lrs.statements) == set(lrs.ids())
    assert run.result is not None
    assert by_url(run.result, lrs.url)["duplicates"] == 4


def test_a_wrong_password_is_said_and_nothing_is_stored(site: ForkedSite, lrs: Lrs) -> None:
    site.log(Mix(good=5))
    run = site.run(site.source(), lrs_endpoints=[{**lrs.endpoint, "password": "not-this-one"}])
    assert run.status == 1
    assert f"{lrs.url} refuses the credentials (401)" in run.stdout
    assert "Traceback" not in run.stdout + run.stderr
    assert "not-this-one" not in run.stdout + run.stderr
    assert lrs.count() == 0


@pytest.mark.parametrize("routers", [False, True], ids=["settings", "router"])
def test_caliper_envelopes_reach_their_store(site: ForkedSite, caliper_sink: CaliperSink, routers: bool) -> None:
    log = site.log(MIX, names=CALIPER_GOOD_NAMES)
    caliper_sink.authorization = basic("u", "p") if routers else "Bearer the-token"
    endpoints = [] if routers else [{"url": caliper_sink.url, "bearer": "the-token"}]
    if routers:
        site.lms.add_router(
            caliper_sink.url,
            backend_name="Caliper",
            auth_scheme="Basic",
            username="u",
            password="p",
            configurations={"headers": {"X-Of-Ours": "yes"}},
        )
    run = site.run(site.source(), transformer_type="caliper", lrs_endpoints=endpoints, batch_size=25)
    result = assert_accounted(run, log.caliper)
    [destination] = result["destinations"]
    ids = caliper_sink.event_ids()
    # Equal lines give equal events: those of one batch are sent once.
    assert len(set(ids)) == log.caliper.statements - 4
    assert len(ids) == destination["stored"]
    assert all(set(envelope) == {"sensor", "sendTime", "data", "dataVersion"} for envelope in caliper_sink.envelopes)
    assert routers == all(request.headers.get("x-of-ours") == "yes" for request in caliper_sink.requests)


def test_a_conflict_is_dead_lettered_and_the_rest_is_stored(site: ForkedSite, lrs: Lrs) -> None:
    """Another statement is there under the id of one; strict or not, that is a rejection."""
    log = site.log(Mix(good=60))
    assert site.run(site.source(), to_lrs(lrs)).status == 0
    # An id follows from verb, actor and time: with another duration it is another statement with the same id.
    log.path.write_bytes(log.path.read_bytes().replace(b"195.5", b"200.5"))
    run = site.run(site.source(), to_lrs(lrs), restart=True)
    assert run.status == 3
    assert run.result is not None
    [destination] = run.result["destinations"]
    assert destination["rejected"] > 0
    assert destination["rejected"] + destination["duplicates"] == log.xapi.statements
    assert run.result["reasons"] == {"conflict": destination["rejected"]}
    letters = run.dead_letters()
    assert {letter["statement"] for letter in letters} <= set(lrs.ids())
    assert all("409" in letter["detail"] and letter["destination"] == lrs.url for letter in letters)
    assert all("200.5" in letter["line"] for letter in letters)


def test_two_statements_with_one_id_in_a_batch_are_a_conflict(site: ForkedSite, lrs: Lrs) -> None:
    """Neither is lost unseen: the first is stored, the other one becomes a dead letter."""
    log = site.log(Mix(good=10), names=["play_video"])
    lines = log.path.read_bytes().splitlines(keepends=True)
    other = lines[3].replace(b"195.5", b"200.5")
    assert other != lines[3]
    log.path.write_bytes(b"".join([*lines, other, lines[4]]))
    run = site.run(site.source(), to_lrs(lrs))
    assert run.status == 3
    assert run.result is not None
    [destination] = run.result["destinations"]
    assert [destination[name] for name in ("made", "stored", "duplicates", "rejected")] == [12, 10, 1, 1]
    [letter] = run.dead_letters()
    assert (letter["reason"], letter["line_number"], letter["line"]) == ("conflict", 11, other.decode().rstrip())
    assert set(lrs.ids()) == erbs_ids(lines)


def test_what_the_lrs_refuses_alone_becomes_one_dead_letter(site: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    # Of one type, of which ERB makes valid statements: the reason is the LRS's alone.
    site.log(Mix(good=64), names=["play_video"])
    ids = sorted(ids_in(site))
    scripted_lrs.refused = {ids[5]: 422, ids[40]: 400}
    scripted_lrs.script = [Answer(503), Answer(429, headers={"Retry-After": "0"}), Answer(500, store=True)]
    run = site.run(site.source(), lrs_endpoints=[{"url": scripted_lrs.url}])
    assert run.status == 3
    assert run.result is not None
    assert run.result["reasons"] == {"invalid_statement": 2}
    assert {letter["statement"] for letter in run.dead_letters()} == {ids[5], ids[40]}
    assert all("is not welcome" in letter["detail"] for letter in run.dead_letters())
    [destination] = run.result["destinations"]
    assert (destination["rejected"], destination["made"]) == (2, 64)
    assert destination["stored"] + destination["duplicates"] == 62


def test_the_acceptance_case(site: ForkedSite, lrs: Lrs) -> None:
    """10,000 good lines, 3 broken, 5 of unknown users and 2 on which ERB raises TypeError."""
    log = site.log(Mix(good=10_000, broken=3, unknown_user=5, type_error=2))
    run = site.run(site.source(), to_lrs(lrs))
    result = assert_accounted(run, log.xapi)
    assert result["lines"]["lines"] == 10_010
    assert result["reasons"] == {"no_json": 3, "unknown_user": 5, "erb_error": 2}
    letters = run.dead_letters()
    assert len(letters) == 10
    assert sum("TypeError" in letter["detail"] for letter in letters) == 2
    stored = {statement["id"] for statement in lrs.statements()}
    assert len(stored) == lrs.count() == 10_000
    # As many as there are good lines, and ERB's own: asked for a sample, as ERB takes its time.
    assert erbs_ids(log.path.read_bytes().splitlines()[::25]) <= stored
    # The same outcome, asked for strictly: what is reported is the same, the status is not.
    strict = site.run(site.source(), to_lrs(lrs), command="report", strict=True)
    assert_accounted(strict, log.xapi, status=3)


def test_strict_makes_a_whole_run_end_with_3(site: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    log = site.log(Mix(good=30, broken=1))
    run = site.run(site.source(), lrs_endpoints=[{"url": scripted_lrs.url}], strict=True)
    assert_accounted(run, log.xapi, status=3)
    assert len(scripted_lrs.statements) == 30
