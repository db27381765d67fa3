"""A site on the cluster: a namespace, and the real ``tutor`` and ``kubectl``."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.cluster.control_plane import KUBECTL, ControlPlane
from tests.e2e.cluster.node import Node
from tests.harness.cluster_site import PodSite
from tests.harness.http_sinks import GATE_SECS, ScriptedLrs
from tests.harness.object_store import SECRET_KEY
from tests.harness.process import wait_for
from tests.harness.ralph import PASSWORD
from tests.harness.tutor_site import Done
from tutor_transform_logs.demo.log_writer import BigLog

PHASE = "transform-logs/phase"
# How the names of pods begin. The phase "work" is not in them, and those of the schedule have no "job".
OUR_POD = re.compile(r"transform-logs-((?:[a-z]+-)?job-)?\d+-")
QUIET_SECS = 30
# Tutor looks every five seconds, and so does the command.
IMPATIENCE = f"""
import time
from tutor.commands import k8s
from tutor_transform_logs import job_watch, kubernetes
k8s.sleep = lambda secs: time.sleep(secs / 10)
kubernetes.POLL_SECS = 0.5
kubernetes.QUIET_SECS = {QUIET_SECS}
job_watch.WATCH_SECS = 1
job_watch.PATIENCE_SECS = 10
"""


@dataclass(frozen=True)
class Cluster:
    """A cluster with a node that is ready."""

    plane: ControlPlane
    node: Node
    version: str


@dataclass(kw_only=True)
class KubernetesSite(PodSite):
    """A site in a namespace of its own."""

    cluster: Cluster
    namespace: str
    statements_expected: int = field(default=0)
    """How many statements the logs in the bucket make; no two logs have one in common."""
    started: bool = field(default=False)
    """Has its service been started?"""

    def log_of_day(self, number: int, good: int = 12) -> BigLog:
        written = super().log_of_day(number, good)
        self.statements_expected += written.xapi.distinct_statements
        return written

    def from_pods(self, value: Any) -> Any:
        """Settings, with the addresses under which pods reach the tests' servers."""
        text = json.dumps(value).replace("127.0.0.1", self.cluster.node.network.address)
        return json.loads(text)

    def settings(self, pods: int, destination: dict[str, Any] | None = None) -> dict[str, Any]:
        values: dict[str, Any] = self.from_pods(super().settings(pods, destination))
        return values

    def to_gate(self, lrs: ScriptedLrs) -> dict[str, Any]:
        """Settings over those of a run: to this LRS. However long its gate is closed, no request is sent again."""
        endpoint = self.from_pods({"url": lrs.url, "username": "u", "password": PASSWORD})
        return {"TRANSFORM_LOGS_LRS_ENDPOINTS": [endpoint], "TRANSFORM_LOGS_LRS_TIMEOUT_SECS": GATE_SECS}

    def kubectl(self, *arguments: str, check: bool = True) -> str:
        """``kubectl --namespace=... ARGUMENTS``."""
        return self.cluster.plane.kubectl(f"--namespace={self.namespace}", *arguments, check=check)

    def items(self, kind: str, phase: str = "") -> list[dict[str, Any]]:
        """The objects of a kind, in the order of their creation: those of a phase, or all."""
        selector = [f"--selector={PHASE}={phase}"] if phase else []
        found = self.cluster.plane.get(f"--namespace={self.namespace}", kind, *selector)["items"]
        return sorted(found, key=lambda item: (item["metadata"]["creationTimestamp"], item["metadata"]["name"]))

    def pods_started(self) -> list[str]:
        """The phases of all pods that the kubelet has started so far, those that are deleted, too."""
        events = self.cluster.plane.get(f"--namespace={self.namespace}", "events", "--field-selector=reason=Started")
        names = {event["involvedObject"]["name"] for event in events["items"]}
        parts = [match[1] for match in map(OUR_POD.match, sorted(names)) if match]
        return ["run" if part is None else part.removesuffix("job-").rstrip("-") or "work" for part in parts]

    def phases(self) -> list[str]:
        """The phases of all Jobs so far."""
        return [job["metadata"]["labels"][PHASE] for job in self.items("jobs")]

    def kustomized(self, *kinds: str) -> list[dict[str, Any]]:
        """The objects that Tutor's environment makes: those of these kinds, or all."""
        done = subprocess.run([KUBECTL, "kustomize", self.root / "env"], capture_output=True, text=True, check=True)
        documents = [document for document in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if document]
        return [document for document in documents if not kinds or document["kind"] in kinds]

    def apply(self, documents: list[dict[str, Any]], *options: str) -> str:
        """``kubectl apply`` these objects; gives what it printed."""
        return self.cluster.plane.apply(documents, *options)

    def save(self, **settings: Any) -> None:
        """As for any site; the first time, what ``tutor k8s start caddy`` starts is started, too.

        It is the one service that Tutor wants to be ready before any job. Its image only waits here.
        """
        super().save(**settings)
        if not self.started:
            documents = self.kustomized()
            self.apply([document for document in documents if document["metadata"]["name"].startswith("caddy")])
            self.started = True

    def finish(self, process: subprocess.Popen[str], timeout_secs: float = 600) -> Done:
        return super().finish(process, timeout_secs)

    def secret_keys(self, name: str) -> list[str]:
        """The keys of a Secret."""
        found = self.cluster.plane.get(f"--namespace={self.namespace}", "secret", name)
        return list(found.get("data", {}))

    def running_pods(self, phase: str = "work") -> list[dict[str, Any]]:
        """The pods of a phase that run now."""
        return [pod for pod in self.items("pods", phase) if pod["status"]["phase"] == "Running"]

    def kill(self, pod: dict[str, Any]) -> None:
        """Send the first process of a pod's container SIGKILL, behind the kubelet's back."""
        [status] = pod["status"]["containerStatuses"]
        container = status["containerID"].removeprefix("containerd://")
        self.cluster.node.ctr("tasks", "kill", "--signal=SIGKILL", container)

    def wait(self, condition: Callable[[], Any], timeout_secs: float = 300) -> Any:
        """As :func:`~tests.harness.process.wait_for`, and says what is in the namespace if it waits in vain."""
        try:
            return wait_for(condition, timeout_secs, poll_secs=0.3)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.still_running()}") from None

    def still_running(self) -> str:
        shown = [self.kubectl("get", "jobs,pods", check=False)]
        shown.append(self.kubectl("get", "events", "--sort-by=.lastTimestamp", check=False)[-3000:])
        for pod in self.items("pods"):
            name = pod["metadata"]["name"]
            shown.append(f"{name}:\n{self.kubectl('logs', name, '--tail=15', check=False)}")
        return "\n".join(shown)[-12000:]

    def assert_all_there(self) -> None:
        """The LRS has each statement once, and no secret is where somebody might see it."""
        ids = [statement["id"] for statement in self.lrs.statements()]
        assert len(ids) == len(set(ids)) == self.statements_expected
        self.assert_no_secret()

    def assert_no_secret(self, *more: str, but: str = "") -> None:
        """In no object but a Secret, in no log, on no terminal; and none is left in the Secret when a run is over.

        ``more``: secrets beside the usual ones. ``but``: how the name of the ConfigMap begins in which Tutor has some.
        """
        items = self.items("jobs,pods,configmaps,events")
        kept = [item for item in items if not but or not item["metadata"]["name"].startswith(but)]
        places = [*self.printed, json.dumps(kept)]
        places += [self.kubectl("logs", pod["metadata"]["name"], check=False) for pod in self.items("pods")]
        for secret in (SECRET_KEY, PASSWORD, *more):
            assert not [place[:2000] for place in places if secret in place]


def environment(folder: Path, cluster: Cluster) -> dict[str, str]:
    """Nothing of the user's own Tutor or cluster may be seen."""
    mine = ("TUTOR_", "DJANGO_", "DEMO_", "KUBE")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(mine)}
    return {
        **inherited,
        "PATH": os.pathsep.join([str(KUBECTL.parent), inherited["PATH"]]),
        "TUTOR_ROOT": str(folder / "root"),
        "TUTOR_PLUGINS_ROOT": str(folder / "plugins"),
        "KUBECONFIG": str(cluster.plane.kubeconfig),
        "COLUMNS": "120",
        "NO_COLOR": "1",
    }
