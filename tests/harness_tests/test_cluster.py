"""The stand-in for a cluster says what goes wrong in its own threads, and at once."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.harness.cluster import Cluster
from tests.harness.cluster_objects import Job, Pod
from tests.harness.process import wait_for
from tests.harness.sandbox import Image
from tutor_transform_logs.kubectl import ANNOTATIONS_BYTES, DATA_BYTES, applied_size


def sleeping(secs: float) -> dict[str, Any]:
    """The spec of a pod that does nothing for so long."""
    nobody = {"runAsUser": 65534, "runAsGroup": 65534, "fsGroup": 65534, "readOnlyRootFilesystem": True}
    context = {**nobody, "capabilities": {"drop": ["ALL"]}, "allowPrivilegeEscalation": False}
    container = {
        "args": ["sleep", str(secs)],
        "securityContext": {},
        "env": [],
        "volumeMounts": [],
        "terminationMessagePath": "/dev/termination-log",
        "resources": {"requests": {"cpu": "500m"}},
    }
    return {"volumes": [], "securityContext": context, "container": container}


def run_pod(cluster: Cluster, spec: dict[str, Any], **of_job: Any) -> Job:
    container = {"name": "lms-job", "terminationMessagePolicy": "FallbackToLogsOnError", **spec.pop("container", {})}
    labels = {"transform-logs/phase": "work"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [container], **spec}}
    template = {"metadata": {"labels": labels}, "spec": {**of_job, "template": pod}}
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

    def disturb(_job: Job, _pod: Pod) -> None:
        raise LookupError("no such pod")

    cluster.on_start = disturb
    with pytest.raises(AssertionError, match="cluster failed: LookupError: no such pod"), cluster.serve():
        run_pod(cluster, sleeping(60))


def test_a_call_that_it_does_not_know(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, Image({}, {}))
    with pytest.raises(AssertionError, match="is not what this stand-in knows"), cluster.serve():
        assert cluster._kubectl({"argv": ["drain", "node"], "stdin": ""})["status"] == 1


def test_pods_wait_for_the_cpus_that_they_request(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, Image({}, {}), cpus=1)
    at_once: list[int] = []
    cluster.on_start = lambda job, _pod: at_once.append(len(job.running()))
    with cluster.serve():
        job = run_pod(cluster, sleeping(0.3), completions=5, completionMode="Indexed")
    assert (job.condition, job.succeeded, len(job.pods)) == ("Complete", {0, 1, 2, 3, 4}, 5)
    assert max(at_once) == 2


def kubectl(environment: dict[str, str], *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    program = Path(environment["CLUSTER_PATH"], "kubectl")
    return subprocess.run([program, *arguments], input=stdin, capture_output=True, text=True)


def test_what_is_not_there_is_not_waited_for(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, Image({}, {}))
    wait = ("wait", "--namespace", "openedx", "--selector=name=caddy", "--for=condition=Available=True", "deployment")
    with cluster.serve() as environment:
        refused = kubectl(environment, *wait)
        assert (refused.returncode, refused.stderr) == (1, "error: no matching resources found\n")
        cluster.objects["Deployment", "caddy"] = {"metadata": {"labels": {"name": "caddy"}}}
        assert kubectl(environment, *wait).returncode == 0


def test_objects_that_are_too_large_are_refused(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, Image({}, {}))
    metadata = {"name": "large", "namespace": "openedx"}
    config: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"text": "<é&>"}}
    config["data"]["text"] += "x" * (ANNOTATIONS_BYTES - applied_size(config))
    secret: dict[str, Any] = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata}
    secret["data"] = {"config": base64.b64encode(b"x" * DATA_BYTES).decode()}
    with cluster.serve() as environment:

        def apply(document: dict[str, Any], *options: str) -> subprocess.CompletedProcess[str]:
            return kubectl(environment, "apply", "--filename=-", *options, stdin=json.dumps({"items": [document]}))

        assert apply(config).returncode == apply(secret, "--server-side").returncode == 0
        config["data"]["text"] += "x"
        assert "may not be more than 262144 bytes" in apply(config).stderr
        secret["data"]["more"] = base64.b64encode(b"x").decode()
        assert "may not be more than 1048576 bytes" in apply(secret, "--server-side").stderr
    assert list(cluster.objects) == [("ConfigMap", "large"), ("Secret", "large")]
