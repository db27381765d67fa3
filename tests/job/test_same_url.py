"""Destinations that differ only in their user, or in a slash at the end of their URL: each is one of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.forked_site import ForkedSite
from tests.harness.http_sinks import ScriptedLrs, basic, start_scripted_lrs
from tests.harness.job import JobRun
from tests.harness.ralph import Lrs
from tests.harness.runs import erbs_ids
from tutor_transform_logs.demo.log_writer import Mix
from tutor_transform_logs.lms_job.deliver.lrs_client import Target
from tutor_transform_logs.lms_job.deliver.routers import with_own_names

pytestmark = pytest.mark.usefixtures("lms")


def counts(run: JobRun) -> dict[str, tuple[int, int, int]]:
    """Destination -> made, stored or duplicates, rejected."""
    assert run.result is not None
    destinations = run.result["destinations"]
    return {to["name"]: (to["made"], to["stored"] + to["duplicates"], to["rejected"]) for to in destinations}


URLS = st.sampled_from(
    ["http://a/xAPI", "http://a/xAPI/", "http://a/xAPI/statements", "http://a/xAPI?t=1", "http://b/"]
)


@given(st.lists(st.tuples(URLS, st.sampled_from(["", "u", "v"])), unique=True))
def test_each_target_has_a_name_that_no_other_has(accounts: list[tuple[str, str]]) -> None:
    targets = [Target(url, "xapi", user, own_account=f"{url} {user}") for url, user in accounts]
    named = with_own_names(targets)
    assert len({target.name for target in named}) == len(targets)
    assert all(target.name in target.names for target in named)
    # Alone, it has the name that it would have without any other.
    assert all(with_own_names([target])[0].name == target.names[0] for target in targets)


def test_two_accounts_have_names_and_dead_letters_of_their_own(site: ForkedSite, new_lrs: Callable[[], Lrs]) -> None:
    log = site.log(Mix(good=20), names=["play_video"])
    one, other = new_lrs(), new_lrs()
    names = [f"{lrs.url} (user {lrs.username})" for lrs in (one, other)]
    assert site.run(site.source(), lrs_endpoints=[one.endpoint]).status == 0
    # In the store of the first account, each statement has other content now.
    log.path.write_bytes(log.path.read_bytes().replace(b"195.5", b"200.5"))
    both: dict[str, Any] = {**site.source(), "lrs_endpoints": [one.endpoint, other.endpoint]}
    run = site.run(both, restart=True)
    assert counts(run) == {names[0]: (20, 0, 20), names[1]: (20, 20, 0)}
    assert {letter["destination"] for letter in run.dead_letters()} == {names[0]}
    assert all(f"statements to {name}\n" in run.stdout for name in names)
    verified = site.run(both, command="verify")
    assert verified.status == 0, verified.stdout
    of_one, of_other = verified.stdout.partition(f"statements expected in {names[1]}")[::2]
    assert "dead letters             20" in of_one
    assert "found                    20" in of_other
    retried = site.run(both, retry_failed=True)
    assert counts(retried) == {names[0]: (20, 0, 20), names[1]: (0, 0, 0)}
    # By the name that it has alone, it gets its dead letters, too.
    alone = site.run({**both, "lrs_endpoints": [one.endpoint]}, retry_failed=True)
    assert counts(alone) == {one.url: (20, 0, 20)}


def test_a_retry_without_a_destination_keeps_its_dead_letters(site: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    """It was left out by a setting, or its router was disabled: they are delivered when it is there again."""
    site.log(Mix(good=20, unknown_user=1), names=["play_video"])
    with start_scripted_lrs() as other:
        both = {**site.source(), "lrs_endpoints": [{"url": scripted_lrs.url}, {"url": other.url}]}
        assert site.run(both).status == 0
        ids = list(other.statements)
        other.statements.clear()
        scripted_lrs.statements.clear()
        scripted_lrs.refused, other.refused = {ids[3]: 422}, {ids[5]: 422, ids[6]: 422}
        assert site.run(both, restart=True).status == 3
        scripted_lrs.refused, other.refused = {}, {}
        alone = site.run(both, lrs_urls=[scripted_lrs.url], retry_failed=True)
        assert counts(alone) == {scripted_lrs.url: (1, 1, 0)}
        # Those of the other one, where they were, and those of the unknown user, of both runs.
        left = sorted(site.ledger.rglob("dead-letters.jsonl"))
        assert [path.read_bytes().count(b"invalid_statement") for path in left] == [2, 0]
        assert [path.read_bytes().count(b"unknown_user") for path in left] == [0, 2]
        again = site.run(both, retry_failed=True)
        assert counts(again) == {scripted_lrs.url: (0, 0, 0), other.url: (2, 2, 0)}
        assert set(other.statements) == set(scripted_lrs.statements) == set(ids)
    # What is left is the line that no transformer can make a statement of.
    [path] = site.ledger.rglob("dead-letters.jsonl")
    assert path.read_bytes().count(b"\n") == path.read_bytes().count(b"unknown_user") == 2


def test_a_router_that_differs_in_a_slash_gets_what_is_for_it(site: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    """It is added later, and sorts before the other one."""
    site.log(Mix(good=30), names=["play_video", "pause_video"])
    url = scripted_lrs.url.removesuffix("/statements")
    login = {"auth_scheme": "Basic", "username": "u", "password": "p"}
    first = {"match_params": {"name": "^pause_video$"}}
    site.lms.add_router(f"{url}/", **login, configurations=first)
    run = site.run(site.source())
    [(name, (made, _, _))] = counts(run).items()
    assert (name, run.status) == (scripted_lrs.url, 0)
    assert 0 < made < 30
    [destination] = run.result["destinations"] if run.result else []
    site.lms.add_router(url, **login, configurations={"match_params": {"name": "^play_video$"}})
    verified = site.run(site.source(), command="verify")
    assert verified.status == 1
    assert "Nothing has been delivered there yet: run the job without --verify first." in verified.stdout
    assert "All expected statements were found" not in verified.stdout
    run = site.run(site.source())
    assert run.status == 0, run.stdout
    assert counts(run) == {f"{url}/ (user u)": (0, 0, 0), f"{url} (user u)": (30 - made, 30 - made, 0)}
    assert run.result is not None
    assert destination["id"] in {to["id"] for to in run.result["destinations"]}
    assert set(scripted_lrs.statements) == erbs_ids(site.logs.joinpath("tracking.log").read_bytes().splitlines())
    assert {request.headers["authorization"] for request in scripted_lrs.requests} == {basic("u", "p")}
    verified = site.run(site.source(), command="verify")
    assert verified.status == 0, verified.stdout
    assert "All expected statements were found." in verified.stdout
    assert json.dumps(run.result).count("(user u)") >= 2


def test_a_router_that_excludes_everything_is_not_said_to_have_all(site: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    site.log(Mix(good=10), names=["play_video"])
    site.lms.add_router(scripted_lrs.url, configurations={"match_params": {"name": "^nothing$"}})
    assert site.run(site.source()).status == 0
    verified = site.run(site.source(), command="verify")
    assert verified.status == 0
    assert "what was delivered there had no statements for it" in verified.stdout
    assert "No statements were expected." in verified.stdout
    assert "were found" not in verified.stdout
