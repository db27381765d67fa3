"""The stand-in for a cluster says what goes wrong in its own threads, and at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.harness.cluster import Cluster, Job, Pod
from tests.harness.process import wait_for
from tests.harness.sandbox import Image


def run_pod(cluster: Cluster, spec: dict[str, Any]) -> Job:
    container = {"name": "lms-job", "terminationMessagePolicy": "FallbackToLogsOnError", **spec.pop("container", {})}
    labels = {"transform-logs/phase": "work"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [container], **spec}}
    template = {"metadata": {"labels": labels}, "spec": {"template": pod}}
    cluster.objects["CronJob", "nightly"] = {"spec": {"jobTemplate": template}}
    job = cluster.run_cron_job("nightly")
    wait_for(lambda: job.condition, 10)
    return job


def test_a_pod_that_can_not_be_started(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, Image({}, {}))
    with pytest.raises(AssertionError, match="cluster failed: KeyError: 'volumes'"), cluster.serve():
        assert run_pod(cluster, {}).condition == "Failed"


def test_a_disturbance_that_fails(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, Image({}, {}))
    nobody = {"runAsUser": 65534, "runAsGroup": 65534, "fsGroup": 65534, "readOnlyRootFilesystem": True}
    context = {**nobody, "capabilities": {"drop": ["ALL"]}, "allowPrivilegeEscalation": False}
    path = "/dev/termination-log"
    container = {"securityContext": {}, "env": [], "volumeMounts": [], "terminationMessagePath": path}
    container["args"] = ["sleep", "60"]

    def disturb(_job: Job, _pod: Pod) -> None:
        raise LookupError("no such pod")

    cluster.on_start = disturb
    with pytest.raises(AssertionError, match="cluster failed: LookupError: no such pod"), cluster.serve():
        run_pod(cluster, {"volumes": [], "securityContext": context, "container": container})


def test_a_call_that_it_does_not_know(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, Image({}, {}))
    with pytest.raises(AssertionError, match="is not what this stand-in knows"), cluster.serve():
        assert cluster._kubectl({"argv": ["drain", "node"], "stdin": ""})["status"] == 1
