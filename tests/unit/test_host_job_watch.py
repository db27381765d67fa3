"""What is said of a Job whose pods don't start, or that is deleted. The cluster is a stand-in."""

from __future__ import annotations

import time
from typing import Any
from unittest.mock import Mock

import pytest
from tutor.exceptions import TutorError

from tutor_transform_logs import job_watch
from tutor_transform_logs.job_watch import PATIENCE_SECS, JobWatch
from tutor_transform_logs.kubectl import Job, Pod
from tutor_transform_logs.kubernetes import Replay

ACTIVE = Job("plan-job", "1", False, False)
NO_NODE = "0/1 nodes are available: 1 Insufficient cpu."
NO_IMAGE = 'Back-off pulling image "none:1"'


def pod(name: str = "plan-job-abcde", index: int = 0, **status: Any) -> Pod:
    annotations = {"batch.kubernetes.io/job-completion-index": str(index)}
    return Pod.of({"metadata": {"name": name, "annotations": annotations}, "status": status})


def container(**state: Any) -> list[dict[str, Any]]:
    return [{"name": "transform-logs", "state": state}]


UNSCHEDULABLE = pod(
    phase="Pending",
    conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": NO_NODE}],
)
NO_PULL = pod(
    phase="Pending",
    conditions=[
        {"type": "PodScheduled", "status": "True"},
        {"type": "Ready", "status": "False", "message": "containers with unready status: [transform-logs]"},
    ],
    containerStatuses=container(waiting={"reason": "ImagePullBackOff", "message": NO_IMAGE}),
)
RUNNING = pod(phase="Running", containerStatuses=container(running={}))
ENDED = pod(phase="Succeeded", containerStatuses=container(terminated={"exitCode": 0}))
KILLED = pod(phase="Failed", containerStatuses=container(terminated={"exitCode": 137}))


@pytest.mark.parametrize(
    ("found", "waits"),
    [
        (UNSCHEDULABLE, f"Unschedulable ({NO_NODE})"),
        (NO_PULL, f"ImagePullBackOff ({NO_IMAGE})"),
        (pod(phase="Pending", containerStatuses=container(waiting={"reason": "ContainerCreating"})), "Pending"),
        (pod(phase="Pending"), "Pending"),
        (RUNNING, ""),
        (ENDED, ""),
        (pod(), ""),
    ],
)
def test_why_a_pod_waits(found: Pod, waits: str) -> None:
    assert found.waits == waits


class Cluster:
    """What ``kubectl`` would say."""

    def __init__(self) -> None:
        self.of_job: list[Job] = [ACTIVE]
        self.found: list[Pod] = []
        self.why = ""
        self.keys = ["config-1"]
        self.removed: list[str] = []

    def jobs(self, selector: str) -> list[Job]:
        return self.of_job

    def pods_of(self, job: Job) -> list[Pod]:
        return self.found

    def why_no_pods(self, job: Job) -> str:
        return self.why

    def log_of(self, pod: Pod, lines: int = -1) -> str:
        return "50%\n"

    def secret_keys(self, name: str) -> list[str]:
        return self.keys

    def remove_secret_keys(self, name: str, keys: list[str]) -> None:
        self.removed += keys


def watching(cluster: Any, told: list[str]) -> JobWatch:
    return JobWatch(cluster, lambda: cluster.of_job, told.append)


def replay_on(cluster: Any, pods: int = 1) -> Any:
    runner: Any = None
    replay: Any = Replay(runner, {"K8S_NAMESPACE": "openedx", "TRANSFORM_LOGS_K8S_PODS": pods})
    replay._kubectl = cluster
    replay._config = "config-1"
    return replay


@pytest.mark.parametrize(
    ("found", "why", "reason"),
    [
        ([UNSCHEDULABLE], "", f"Unschedulable ({NO_NODE})"),
        ([NO_PULL, NO_PULL], "", f"ImagePullBackOff ({NO_IMAGE})"),
        ([], 'pods "x" is forbidden: exceeded quota', 'pods "x" is forbidden: exceeded quota'),
        # In the place of one that was killed.
        ([KILLED, UNSCHEDULABLE], "", f"Unschedulable ({NO_NODE})"),
        ([KILLED], "exceeded quota", "exceeded quota"),
    ],
)
def test_what_keeps_pods_from_starting_is_told_once(found: list[Pod], why: str, reason: str) -> None:
    cluster, told = Cluster(), list[str]()
    cluster.found, cluster.why = found, why
    watch = watching(cluster, told)
    watch.look(0)
    watch.look(PATIENCE_SECS - 1)
    assert told == []
    watch.look(PATIENCE_SECS)
    watch.look(PATIENCE_SECS + 5)
    assert told == [f"No pod of plan-job has started yet: {reason}."]


@pytest.mark.parametrize("other", [RUNNING, ENDED])
def test_pods_that_wait_for_their_turn_are_not_told(other: Pod) -> None:
    """On a small node, a few run at a time."""
    cluster, told = Cluster(), list[str]()
    cluster.found = [other, UNSCHEDULABLE]
    watch = watching(cluster, told)
    watch.look(0)
    watch.look(2 * PATIENCE_SECS)
    cluster.found = [UNSCHEDULABLE]
    watch.look(3 * PATIENCE_SECS)
    assert told == []
    watch.look(4 * PATIENCE_SECS)
    assert len(told) == 1


def test_nothing_is_told_where_kubernetes_says_nothing() -> None:
    cluster, told = Cluster(), list[str]()
    watch = watching(cluster, told)
    watch.look(0)
    watch.look(2 * PATIENCE_SECS)
    assert told == []


def test_a_job_that_is_not_there_yet_is_not_deleted() -> None:
    cluster = Cluster()
    cluster.of_job = []
    watch = watching(cluster, [])
    watch.look(0)
    assert not watch.deleted
    cluster.of_job = [ACTIVE]
    watch.look(1)
    cluster.of_job = []
    watch.look(2)
    assert watch.deleted


def test_the_command_ends_when_its_job_is_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tutor would wait for ever."""
    monkeypatch.setattr(job_watch, "WATCH_SECS", 0.02)
    cluster = Cluster()
    replay = replay_on(cluster)
    cluster.of_job = []
    waited_on: list[str] = []

    class Tutor:
        def run_task_from_str(self, service: str, command: str) -> None:
            cluster.of_job = [ACTIVE]
            time.sleep(0.2)
            cluster.of_job = []
            for _ in range(3000):
                time.sleep(0.01)
            waited_on.append(service)

    replay._runner = Tutor()
    with pytest.raises(TutorError, match=r"^The Job transform-logs-plan-job was deleted\. Run the same command again"):
        replay._run("plan", "true")
    assert waited_on == []


def test_a_cluster_that_does_not_answer_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_watch, "WATCH_SECS", 0.01)
    calls = []

    def ours() -> list[Job]:
        calls.append(1)
        raise TutorError("kubectl get failed")

    cluster: Any = Cluster()
    with JobWatch(cluster, ours, lambda text: None) as watch:
        while len(calls) < 3:
            time.sleep(0.01)
    assert not watch.deleted


@pytest.mark.parametrize(("active", "removed"), [(False, ["config-1"]), (True, [])])
def test_after_an_error_the_config_stays_only_for_pods_that_go_on(
    monkeypatch: pytest.MonkeyPatch, active: bool, removed: list[str]
) -> None:
    cluster = Cluster()
    replay = replay_on(cluster)
    cluster.of_job = [Job("plan-job", "1", False, not active)]

    def fail(phase: str) -> None:
        raise TutorError("It failed.")

    for name in ("_apply_config_maps", "_wait_for_turn"):
        monkeypatch.setattr(replay, name, lambda: None)
    monkeypatch.setattr(replay, "_add_config", lambda text: None)
    monkeypatch.setattr(replay, "_single", fail)
    with pytest.raises(TutorError, match="It failed"):
        replay.run("{}", "verify")
    assert cluster.removed == removed


def test_a_config_that_is_gone_needs_no_removal(capsys: pytest.CaptureFixture[str]) -> None:
    cluster = Cluster()
    cluster.keys = []
    replay_on(cluster)._remove_configs(["config-1"])
    assert cluster.removed == []
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("job", "found", "said"),
    [
        ("transform-logs-plan-job-1", [RUNNING], "of 1 pod, 0 have ended.\nplan-job-abcde: 50%\n"),
        ("transform-logs-job-1", [ENDED, RUNNING], "of 2 pods, 0 have ended.\nplan-job-abcde: 50%\n"),
        ("transform-logs-job-1", [ENDED, pod(index=1, phase="Running")], "of 2 pods, 1 have ended.\n"),
        ("transform-logs-job-1", [NO_PULL], f"of 2 pods, 0 have ended.\nplan-job-abcde: ImagePullBackOff ({NO_IMAGE})"),
        ("transform-logs-job-1", [], "of 2 pods, 0 have ended.\nThere is no pod yet: exceeded quota\n"),
    ],
)
def test_where_a_running_job_stands(capsys: pytest.CaptureFixture[str], job: str, found: list[Pod], said: str) -> None:
    """One that was killed and replaced counts as running."""
    cluster = Cluster()
    cluster.found, cluster.why = found, "exceeded quota"
    replay_on(cluster, pods=2)._show_progress(Job(job, "1", False, False))
    assert f"{job} is running: {said}" in capsys.readouterr().out


def test_a_replacement_that_cannot_start_is_told_when_tutor_has_stopped_waiting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tutor ends with the first pod that fails, and the command waits for the Job."""
    cluster = Cluster()
    cluster.of_job = []
    cluster.found = [KILLED, UNSCHEDULABLE]
    replay = replay_on(cluster)
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))

    def fail(service: str, script: str) -> None:
        cluster.of_job = [ACTIVE]
        raise TutorError("Job failed.")

    def sleep(secs: float) -> None:
        if "has started yet" in capsys.readouterr().err:
            cluster.of_job = [Job("plan-job", "1", False, True)]

    replay._runner = Mock(run_task_from_str=fail)
    monkeypatch.setattr("time.sleep", sleep)
    job, failure = replay._run("plan", "true")
    assert job.failed
    assert str(failure) == "Job failed."
