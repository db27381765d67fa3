"""What is said of a pod that was killed before it could say anything. The cluster is a stand-in."""

from __future__ import annotations

from typing import Any

import pytest

from tutor_transform_logs.kubectl import Job, Pod
from tutor_transform_logs.kubernetes import Replay


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("OOMKilled", "was killed (OOMKilled, status 137). Set more memory in TRANSFORM_LOGS_K8S_LIMITS"),
        ("Error", "was killed (Error, status 137). Run the same command again to resume"),
    ],
)
def test_a_pod_that_was_killed(capsys: pytest.CaptureFixture[str], reason: str, said: str) -> None:
    state = {"terminated": {"exitCode": 137, "reason": reason}}
    status = {"containerStatuses": [{"name": "transform-logs", "state": state}]}
    pod = Pod.of({"metadata": {"name": "p"}, "status": status})
    site: Any = {"K8S_NAMESPACE": "openedx", "TRANSFORM_LOGS_K8S_PODS": 1}
    runner: Any = None
    replay: Any = Replay(runner, site)

    class Cluster:
        def pods_of(self, job: Job) -> list[Pod]:
            return [pod]

        def log_of(self, pod: Pod) -> str:
            return ""

    replay._kubectl = Cluster()
    replay._run = lambda phase, script: (Job("plan-job", "1", False, False, True), None)
    assert replay._single("plan").status == 137
    assert f"The pod of plan-job {said}" in capsys.readouterr().err
