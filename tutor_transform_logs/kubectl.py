"""``kubectl``, as far as the command needs it: typed answers, one-line errors, and no secret in an argument."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tutor.exceptions import TutorError

from tutor_transform_logs.lms_job.util import phase_outcome
from tutor_transform_logs.lms_job.util.errors import ExitStatus
from tutor_transform_logs.lms_job.util.formatting import printable
from tutor_transform_logs.lms_job.util.phase_outcome import PhaseOutcome

# The job's container in its pods; a cluster may add others.
JOB_CONTAINER = "transform-logs"
JOB_LABEL = "batch.kubernetes.io/job-name"
INDEX_ANNOTATION = "batch.kubernetes.io/job-completion-index"
# "kubectl apply" keeps the whole object in this annotation. What the annotations of an object may have together:
APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
ANNOTATIONS_BYTES = 262_144
# What the values of a Secret or a ConfigMap may have together.
DATA_BYTES = 1_048_576


@dataclass(frozen=True)
class Job:
    """A Job as the cluster has it."""

    name: str
    uid: str
    complete: bool
    failed: bool

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Job:
        status = item.get("status") or {}
        conditions = {
            condition["type"] for condition in status.get("conditions") or () if condition["status"] == "True"
        }
        return cls(
            name=item["metadata"]["name"],
            uid=item["metadata"]["uid"],
            complete="Complete" in conditions,
            failed="Failed" in conditions,
        )

    @property
    def active(self) -> bool:
        """Has it not ended yet? It may have no pod at all: a quota may allow it none for now."""
        return not (self.complete or self.failed)


@dataclass(frozen=True)
class Pod:
    """A pod of a Job."""

    name: str
    index: int
    status: int | None
    """Its exit status; ``None`` while it is running, or if it never ran."""
    outcome: PhaseOutcome
    """What the phase told of its end. If it told nothing, only the status is known, and why as far as it is."""
    told: bool
    """Did the phase tell anything? A pod that ended without it was killed, or did not run the job."""
    waits: str = ""
    """Why it has not started, as far as Kubernetes says; ``""``: it has."""

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Pod:
        containers = (item.get("status") or {}).get("containerStatuses") or ()
        states = {container["name"]: container["state"] for container in containers}
        ended: dict[str, Any] = states.get(JOB_CONTAINER, {}).get("terminated") or {}
        status = ended.get("exitCode")
        text = str(ended.get("message") or "")
        outcome = phase_outcome.parse(text)
        told = outcome is not None
        if outcome is None:
            # Kubernetes gives the end of the log instead. If the job was killed, its last line says nothing of that,
            # and may be personal data.
            lines = [line for line in text.splitlines() if line.strip()] if status in tuple(ExitStatus) else []
            reason = str(ended.get("reason") or "Error")
            why = lines[-1] if lines else reason if status is None else f"{reason}, status {status}"
            outcome = PhaseOutcome(status if status is not None else ExitStatus.FAILED, message=why)
        return cls(
            name=item["metadata"]["name"],
            index=int((item["metadata"].get("annotations") or {}).get(INDEX_ANNOTATION, 0)),
            status=status,
            outcome=outcome,
            told=told,
            waits=_why_it_waits(item.get("status") or {}),
        )


def _why_it_waits(status: Mapping[str, Any]) -> str:
    """Why a pod has not started, from its status; ``""``: it has, or is about to."""
    if status.get("phase") != "Pending":
        return ""
    waiting = [
        container["state"]["waiting"]
        for container in status.get("containerStatuses") or ()
        if "waiting" in container["state"]
    ]
    conditions = [item for item in status.get("conditions") or () if item.get("status") == "False"]
    # Of a container without a message, or a pod without any, the next look knows more.
    for found in (*waiting, *(item for item in conditions if item["type"] == "PodScheduled")):
        if found.get("message"):
            return f"{found.get('reason', 'it waits')} ({found['message']})"
    return "Pending"


class Kubectl:
    """Runs ``kubectl`` in a namespace. Every method raises ``TutorError``."""

    def __init__(self, namespace: str) -> None:
        self._namespace = f"--namespace={namespace}"

    def run(self, *args: str, stdin: str = "") -> str:
        """Run it; gives its output."""
        try:
            done = subprocess.run(["kubectl", *args], input=stdin, capture_output=True, text=True)
        except FileNotFoundError:
            raise TutorError(
                "kubectl is not installed. See https://kubernetes.io/docs/tasks/tools/install-kubectl/"
            ) from None
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            detail = printable(lines[-1]) if lines else f"status {done.returncode}"
            raise TutorError(
                f"kubectl {args[0]} failed ({detail}). Check that kubectl reaches the cluster, and try again"
            )
        return done.stdout

    def apply(self, objects: Iterable[Mapping[str, Any]]) -> None:
        """Apply objects that Tutor's own "kubectl apply" applies, too."""
        objects = list(objects)
        for document in objects:
            _check_size(document, applied_size(document), ANNOTATIONS_BYTES)
        self.run("apply", self._namespace, "--filename=-", stdin=_list(objects))

    def apply_own(self, document: Mapping[str, Any], manager: str) -> None:
        """Apply a Secret of which other managers may have set other keys; nothing is copied to an annotation."""
        _check_size(document, sum(len(base64.b64decode(text)) for text in document["data"].values()), DATA_BYTES)
        options = ("--server-side", f"--field-manager={manager}", "--force-conflicts")
        self.run("apply", self._namespace, *options, "--filename=-", stdin=_list([document]))

    def jobs(self, selector: str) -> list[Job]:
        """The Jobs with these labels, in the order in which they were made."""
        return [Job.of(item) for item in self._items("jobs", selector)]

    def pods(self, selector: str) -> list[Pod]:
        """The pods with these labels, in the order in which they were made."""
        return [Pod.of(item) for item in self._items("pods", selector)]

    def pods_of(self, job: Job) -> list[Pod]:
        """The pods of a Job, in the order in which they were made."""
        return self.pods(f"{JOB_LABEL}={job.name}")

    def why_no_pods(self, job: Job) -> str:
        """Why the cluster makes no pod for a Job, such as a quota; ``""`` if it does not say."""
        of_job = f"--field-selector=involvedObject.kind=Job,involvedObject.name={job.name},reason=FailedCreate"
        events = json.loads(self.run("get", self._namespace, "events", of_job, "--output=json"))["items"]
        return str(events[-1].get("message") or "") if events else ""

    def log_of(self, pod: Pod, lines: int = -1) -> str:
        """What a pod printed (its last ``lines``), or a line that says why that is not available."""
        try:
            return self.run("logs", self._namespace, pod.name, f"--container={JOB_CONTAINER}", f"--tail={lines}")
        except TutorError as error:
            return str(error.args[0])

    def exists(self, kind: str, name: str) -> bool:
        """Does the cluster have an object of this kind and name?"""
        return bool(self.run("get", self._namespace, kind, name, "--ignore-not-found", "--output=name").strip())

    def secret_keys(self, name: str) -> list[str]:
        """The keys of a Secret, without what they hold; none if there is no such Secret."""
        template = '{{range $key, $value := .data}}{{$key}}{{"\\n"}}{{end}}'
        options = ("--ignore-not-found", f"--output=go-template={template}")
        return self.run("get", self._namespace, "secret", name, *options).split()

    def remove_secret_keys(self, name: str, keys: Sequence[str]) -> None:
        """Remove keys from a Secret."""
        patch = json.dumps([{"op": "remove", "path": f"/data/{key}"} for key in keys])
        self.run("patch", self._namespace, "secret", name, "--type=json", f"--patch={patch}")

    def _items(self, kind: str, selector: str) -> list[Mapping[str, Any]]:
        options = (f"--selector={selector}", "--output=json")
        items: list[Mapping[str, Any]] = json.loads(self.run("get", self._namespace, kind, *options))["items"]
        return sorted(items, key=lambda item: (item["metadata"]["creationTimestamp"], item["metadata"]["name"]))


def applied_size(document: Mapping[str, Any]) -> int:
    """How many bytes of annotations an object has once ``kubectl apply`` has sent it."""
    kept = {**document, "metadata": {"annotations": {}, **document["metadata"]}}
    text = json.dumps(kept, separators=(",", ":"), ensure_ascii=False) + "\n"
    # Go writes each of these as six characters.
    return len(APPLIED) + len(text.encode()) + 5 * sum(map(text.count, "<>&"))


def _check_size(document: Mapping[str, Any], size: int, most: int) -> None:
    if size > most:
        raise TutorError(
            f"The {document['kind']} {document['metadata']['name']} would have {size:,} bytes, and Kubernetes takes "
            f"{most:,}. Make the settings that go into it shorter"
        )


def _list(objects: Iterable[Mapping[str, Any]]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
