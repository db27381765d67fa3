"""What is said of a pod that ended without telling how. The cluster is a stand-in."""

from __future__ import annotations

from typing import Any

import pytest
from tutor.exceptions import TutorError

from tutor_transform_logs.kubectl import Job, Pod
from tutor_transform_logs.kubernetes import Replay
from tutor_transform_logs.lms_job.util.phase_outcome import PhaseOutcome


def replay_with(**terminated: Any) -> Any:
    """A replay whose one pod has ended so."""
    status = {"containerStatuses": [{"name": "transform-logs", "state": {"terminated": terminated}}]}
    pod = Pod.of({"metadata": {"name": "p"}, "status": status})
    runner: Any = None
    replay: Any = Replay(runner, {"K8S_NAMESPACE": "openedx", "TRANSFORM_LOGS_K8S_PODS": 1})

    class Cluster:
        def pods_of(self, job: Job) -> list[Pod]:
            return [pod]

        def pods(self, selector: str) -> list[Pod]:
            return [pod]

        def log_of(self, pod: Pod) -> str:
            return "what it printed\n"

    replay._kubectl = Cluster()
    replay._run = lambda phase, script: (Job("plan-job", "1", False, True), None)
    return replay


killed = pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("OOMKilled", "Set more memory in TRANSFORM_LOGS_K8S_LIMITS"),
        ("Error", "Run the same command again to resume"),
    ],
)


@killed
def test_a_pod_that_was_killed(capsys: pytest.CaptureFixture[str], reason: str, advice: str) -> None:
    replay = replay_with(exitCode=137, reason=reason)
    assert replay._single("plan").status == 137
    assert f"The pod of plan-job was killed ({reason}, status 137). {advice}" in capsys.readouterr().err


@killed
def test_a_pod_that_was_killed_at_work(capsys: pytest.CaptureFixture[str], reason: str, advice: str) -> None:
    replay = replay_with(exitCode=137, reason=reason)
    assert replay._work() == 4
    assert f"Of 1 pod, 1 failed (number 0): {reason}, status 137. {advice}\n" in capsys.readouterr().err


def test_a_pod_that_says_why_it_failed(capsys: pytest.CaptureFixture[str]) -> None:
    replay = replay_with(exitCode=1, reason="Error", message=PhaseOutcome(1, message="No key").to_line())
    assert replay._work() == 1
    assert "Of 1 pod, 1 failed (number 0): No key\n" in capsys.readouterr().err


@pytest.mark.parametrize("message", ["", "help of another program"])
def test_a_pod_that_did_not_run_the_job(capsys: pytest.CaptureFixture[str], message: str) -> None:
    replay = replay_with(exitCode=0, reason="Completed", message=message)
    with pytest.raises(TutorError, match=r"^The pod of plan-job ended without having run the job, so nothing was done"):
        replay._single("plan")
    assert capsys.readouterr().out == "what it printed\n"


@pytest.mark.parametrize("failure", [None, TutorError("Job plan-job failed. View the job logs to debug this issue.")])
def test_a_pod_that_was_deleted(failure: TutorError | None) -> None:
    """There are no logs to view."""
    replay = replay_with(exitCode=0)
    replay._kubectl.pods_of = lambda job: []
    replay._run = lambda phase, script: (Job("plan-job", "1", False, True), failure)
    with pytest.raises(TutorError, match=r"^The result of plan-job is not known: its pod was deleted\. Run the same"):
        replay._single("plan")


@pytest.mark.parametrize("looks", [1, 3])
def test_a_command_that_waits_says_how_to_stop_what_it_waits_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], looks: int
) -> None:
    """Pods that can't start, for lack of an image or a node, never end. It is ended by Ctrl-C here.

    Between two Jobs of the earlier run, there is none for a moment: the first of these ``looks`` but the last see none.
    """
    replay = replay_with(exitCode=0)
    removed: list[str] = []
    replay._config = "config-2"
    replay._kubectl.secret_keys = lambda secret: ["config-1", "config-2"]
    replay._kubectl.remove_secret_keys = lambda secret, keys: removed.extend(keys)
    found: list[list[Job]] = [[]] * (looks - 1) + [[Job("plan-job", "1", False, False)]]
    replay._kubectl.jobs = lambda selector: found.pop(0)

    def interrupt(secs: float) -> None:
        if not found:
            raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        replay._wait_for_turn()
    said = capsys.readouterr()
    printed = " ".join((said.out + said.err).split())
    assert f"Waiting for an earlier run of this command to end{': plan-job' if looks == 1 else ''}" in printed
    assert printed.count("Waiting for an earlier run") == 1
    assert printed.count("If its pods can't start, it never ends: press Ctrl-C and run kubectl delete jobs") == 1
    assert removed == ["config-2"]


def test_a_pod_that_has_run_the_job() -> None:
    replay = replay_with(exitCode=0, reason="Completed", message=PhaseOutcome(nothing_new=True).to_line())
    assert replay._single("plan") == PhaseOutcome(nothing_new=True)


@pytest.mark.parametrize(
    ("status", "active"),
    [
        ({}, True),
        ({"active": 1, "ready": 0}, True),
        ({"conditions": [{"type": "Suspended", "status": "True"}]}, True),
        ({"conditions": [{"type": "Failed", "status": "False"}]}, True),
        ({"conditions": [{"type": "FailureTarget", "status": "True"}], "terminating": 1}, True),
        ({"conditions": [{"type": "Complete", "status": "True"}]}, False),
        ({"conditions": [{"type": "Failed", "status": "True"}]}, False),
    ],
)
def test_a_job_goes_on_until_it_has_ended(status: dict[str, Any], active: bool) -> None:
    """Where a quota allows it no pod for now, it has none that is active."""
    assert Job.of({"metadata": {"name": "plan-job", "uid": "1"}, "status": status}).active is active
