"""Several commands on a cluster, and what an operator does between them: nothing is lost and nothing is twice."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.cluster.site import QUIET_SECS, KubernetesSite
from tests.harness.http_sinks import ScriptedLrs

Say = Callable[..., None]
MakeSite = Callable[..., KubernetesSite]


class Held:
    """A replay with two pods, whose work can't end before the gate of its LRS opens."""

    def __init__(self, site: KubernetesSite, lrs: ScriptedLrs, **settings: Any) -> None:
        self.site, self.lrs = site, lrs
        for number in range(4):
            site.log_of_day(number)
        site.save(**{**site.settings(2), **site.to_gate(lrs), **settings})
        lrs.gate.clear()
        self.process: subprocess.Popen[str] = site.start_replay()
        site.wait(lambda: len(lrs.requests) >= 2 or self.process.poll() is not None)
        [self.job] = site.items("jobs", "work")

    @property
    def name(self) -> str:
        """The name of the work's Job."""
        return str(self.job["metadata"]["name"])

    def assert_all_there(self) -> None:
        """The LRS has all, and none came twice."""
        assert len(self.lrs.statements) == self.site.statements_expected
        self.site.assert_no_secret()


@pytest.fixture
def held(new_site: MakeSite, scripted_lrs: ScriptedLrs) -> Callable[..., Held]:
    """Start such a replay."""
    return lambda **settings: Held(new_site(), scripted_lrs, **settings)


def test_two_commands_at_once(held: Callable[..., Held], found: Say) -> None:
    """Each has its own key of one Secret (server-side apply by two managers); the second waits for the first."""
    first = held()
    site = first.site
    second = site.start_replay()
    assert f"{first.name} is running: of 2 pods, 0 have ended." in site.replay("--status")
    assert second.stdout is not None
    waits = f"Waiting for an earlier run of this command to end: {first.name}"
    assert any(waits in line for line in second.stdout)
    keys = site.secret_keys("transform-logs-run")
    first.lrs.gate.set()

    done = [site.finish(first.process), site.finish(second)]

    assert "Every line and every statement is accounted for." in done[0].must()
    assert "Nothing new in 4 objects" in done[1].must()
    assert len(keys) == 2
    assert site.secret_keys("transform-logs-run") == []
    assert first.lrs.repeated == 0
    first.assert_all_there()
    found("2 keys in the Secret meanwhile, none at the end", len(first.lrs.statements))


def test_ctrl_c_and_again(held: Callable[..., Held], found: Say) -> None:
    """It ends the command and not the work, for which the next command waits."""
    first = held()
    first.process.send_signal(signal.SIGINT)
    done = first.site.finish(first.process)
    assert done.status == 1
    assert "go on. Run the same command again" in done.output
    assert first.site.running_pods()
    first.lrs.gate.set()

    first.site.replay()

    # The plan is resumed, whose report is still to be made: its work is looked at again, and there is none left.
    works = first.site.items("jobs", "work")
    assert works[0]["metadata"]["name"] == first.name
    assert [work["status"]["succeeded"] for work in works] == [2, 2]
    assert first.lrs.repeated == 0
    first.assert_all_there()
    found("the Job went on, and the second command ended the run", len(first.lrs.statements))


def test_a_command_that_is_killed(held: Callable[..., Held], found: Say) -> None:
    """Its pods go on, for which its config stays; the next command waits for them, and removes it."""
    first = held()
    site = first.site
    first.process.kill()
    site.finish(first.process)
    assert len(site.secret_keys("transform-logs-run")) == 1

    second = site.start_replay()

    assert second.stdout is not None
    waits = f"Waiting for an earlier run of this command to end: {first.name}"
    assert any(waits in line for line in second.stdout)
    # However long that takes: by now it would have taken a run without an active Job for over.
    time.sleep(QUIET_SECS + 5)
    assert second.poll() is None
    assert [job["metadata"]["name"] for job in site.items("jobs", "work")] == [first.name]
    first.lrs.gate.set()
    site.finish(second).must()
    assert site.secret_keys("transform-logs-run") == []
    assert first.lrs.repeated == 0
    first.assert_all_there()
    found("the Job went on, and the second command ended the run", len(first.lrs.statements))


def test_ctrl_c_and_the_work_deleted(held: Callable[..., Held], found: Say) -> None:
    """As the command says: its pods end, and the next run resumes."""
    first = held()
    first.process.send_signal(signal.SIGINT)
    printed = first.site.finish(first.process).output
    [line] = [line.strip() for line in printed.splitlines() if line.strip().startswith("kubectl delete jobs")][-1:]

    first.site.cluster.plane.kubectl(*line.split()[1:])
    first.lrs.gate.set()

    first.site.wait(lambda: not first.site.items("pods", "work"))
    assert first.site.items("jobs") == []
    assert "Resuming plan 0001" in first.site.replay()
    first.assert_all_there()
    found("no Job was left, and the second command resumed", len(first.lrs.statements))


def test_pods_that_can_not_start(new_site: MakeSite, found: Say) -> None:
    """No node can load the image: the command says so, and ends when its Job is deleted."""
    site = new_site()
    site.log_of_day(0)
    site.save(**site.settings(1), TRANSFORM_LOGS_DOCKER_IMAGE="127.0.0.1:9/none:1")
    process = site.start_replay()
    assert process.stdout is not None
    said = next(line for line in process.stdout if "has started yet" in line)
    assert "127.0.0.1:9/none:1" in said
    [plan] = site.items("jobs", "plan")
    assert f"No pod of {plan['metadata']['name']} has started yet: " in said
    assert f"of 1 pod, 0 have ended.\n{site.items('pods', 'plan')[0]['metadata']['name']}: " in site.replay("--status")

    site.cluster.plane.kubectl(*said.partition("kubectl ")[2].split())

    assert "transform-logs-plan-job was deleted. Run the same command again" in site.finish(process).must(1)
    assert site.secret_keys("transform-logs-run") == []
    site.save(TRANSFORM_LOGS_DOCKER_IMAGE="")
    site.replay()
    site.assert_all_there()
    found("why the pod of the plan did not start was told, and its Job deleted")


def test_settings_changed_between_two_runs(new_site: MakeSite, found: Say) -> None:
    """Another LMS's settings, another number of pods: other ConfigMaps, which nobody but the command applies."""
    site = new_site()
    for number in range(4):
        site.log_of_day(number)
    wrong = site.from_pods({"TRANSFORM_LOGS_LRS_ENDPOINTS": [{**site.lrs.endpoint, "username": "nobody"}]})
    site.save(**{**site.settings(1), **wrong})
    output = site.replay(status=1)
    assert "Of 1 pod, 1 failed (number 0): " in output
    assert "refuses the credentials (401)" in output
    assert site.lrs.count() == 0

    site.save(**site.settings(3), CONTACT_EMAIL="someone@else.test")
    site.replay()

    site.assert_all_there()
    first, second = site.items("jobs", "work")
    # It was started a second time.
    assert first["status"]["failed"] == 2
    assert second["status"]["succeeded"] == 3
    found("status 1 with 0 statements, then other settings and 3 pods")
