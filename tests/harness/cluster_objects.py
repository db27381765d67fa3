"""What the stand-in for a cluster keeps: Jobs and their pods, as the API server tells of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.harness.sandbox import Sandbox

INDEX = "batch.kubernetes.io/job-completion-index"


@dataclass
class Pod:
    """A pod of a Job: what it is, and how far it is."""

    name: str
    number: int
    index: int
    labels: dict[str, str]
    sandbox: Sandbox
    cpus: float
    """What it requests."""
    started: bool = False
    status: int | None = None
    evicted: bool = False

    def to_json(self) -> dict[str, Any]:
        state: dict[str, Any] = {"running": {}}
        if self.status is not None:
            state = {"terminated": {"exitCode": self.status, "reason": "Error" if self.status else "Completed"}}
            message = self.sandbox.termination_message()
            if not message and self.status:
                # By terminationMessagePolicy: FallbackToLogsOnError.
                message = self.sandbox.log()[-2048:]
            state["terminated"]["message"] = message
        return {
            "metadata": {
                "name": self.name,
                "creationTimestamp": f"{self.number:08d}",
                "labels": self.labels,
                "annotations": {INDEX: str(self.index)},
            },
            # One that waits for a node has no containers yet.
            "status": {"containerStatuses": [{"name": "transform-logs", "state": state}]} if self.started else {},
        }


@dataclass
class Job:
    """A Job, and its pods in the order of their starts."""

    manifest: dict[str, Any]
    number: int
    pods: list[Pod] = field(default_factory=list)
    succeeded: set[int] = field(default_factory=set)
    failures: int = 0
    condition: str = ""
    deleted: bool = False

    @property
    def name(self) -> str:
        return str(self.manifest["metadata"]["name"])

    @property
    def labels(self) -> dict[str, str]:
        labels: dict[str, str] = self.manifest["metadata"]["labels"]
        return labels

    @property
    def phase(self) -> str:
        return self.labels["transform-logs/phase"]

    def active(self) -> list[Pod]:
        """The pods that have not ended; some may wait for a node."""
        return [pod for pod in self.pods if pod.status is None]

    def running(self) -> list[Pod]:
        return [pod for pod in self.active() if pod.started]

    def to_json(self) -> dict[str, Any]:
        status: dict[str, Any] = {"active": len(self.active()) or None, "succeeded": len(self.succeeded) or None}
        status["failed"] = self.failures or None
        if self.condition:
            status["conditions"] = [{"type": self.condition, "status": "True"}]
        metadata = {**self.manifest["metadata"], "uid": f"uid-{self.number}", "creationTimestamp": f"{self.number:08d}"}
        return {"metadata": metadata, "status": {key: value for key, value in status.items() if value}}


def action_for(policy: dict[str, Any], pod: Pod, status: int) -> str:
    for rule in policy["rules"]:
        if any(condition["type"] == "DisruptionTarget" for condition in rule["onPodConditions"]) and pod.evicted:
            return str(rule["action"])
        if status in rule.get("onExitCodes", {}).get("values", ()):
            return str(rule["action"])
    return "Count"


def matches(labels: dict[str, str], selector: str) -> bool:
    for part in filter(None, selector.split(",")):
        key, equals, value = part.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    return True
