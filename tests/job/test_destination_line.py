"""Where statements go, and why: said by the job itself, unless the command on the host has said it."""

from __future__ import annotations

import pytest

from tests.harness.forked_site import ForkedSite
from tests.harness.http_sinks import ScriptedLrs
from tests.harness.ralph import Lrs
from tutor_transform_logs.demo.log_writer import Mix
from tutor_transform_logs.lms_job.deliver.choice import FROM_HOST

MARK = "Destination: "


@pytest.fixture
def to_files(site: ForkedSite) -> ForkedSite:
    site.log(Mix(good=3))
    site.settings |= site.source() | site.to_files()
    return site


def test_a_run_says_it_first(to_files: ForkedSite) -> None:
    assert to_files.run().stderr.startswith(f"{MARK}LOCAL {to_files.out}/ (destination_provider is LOCAL)\n")


@pytest.mark.parametrize("command", ["plan", "check"])
def test_plan_and_check_say_it(to_files: ForkedSite, command: str) -> None:
    ran = to_files.run(command=command)
    said = " ".join((ran.stdout + ran.stderr).split())
    assert said.count(f"{MARK}LOCAL {to_files.out}/ (destination_provider is LOCAL)") == 1


def test_it_is_not_said_again_under_tutor_nor_where_nothing_is_sent(to_files: ForkedSite) -> None:
    for command in ("check", "run", "plan"):
        ran = to_files.run(command=command, environment={FROM_HOST: "1"})
        assert MARK not in ran.stdout + ran.stderr
    for more in ({"dry_run": True}, {"command": "status"}, {"command": "verify"}, {"quiet": True, "restart": True}):
        ran = to_files.run(**more)
        assert ran.status == 0, ran.detail
        assert MARK not in ran.stdout + ran.stderr


def test_endpoints_in_the_config(site: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    site.log(Mix(good=3))
    site.to_lrs({"url": scripted_lrs.url, "username": "u", "password": "secret"})
    said = site.run(site.source()).stderr
    assert said.startswith(f"{MARK}{scripted_lrs.url} (lrs_endpoints is set)\n")


def test_the_routers_of_the_lms(site: ForkedSite, lrs: Lrs) -> None:
    site.log(Mix(good=3))
    site.lms.add_router(lrs.url, auth_scheme="Basic", username=lrs.username, password=lrs.password)
    assert site.run(site.source()).stderr.startswith(f"{MARK}{lrs.url} (the LMS's enabled routers)\n")
