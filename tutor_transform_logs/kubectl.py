"""``kubectl``, as far as the command needs it: typed answers, one-line errors, and no secret in an argument."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tutor.exceptions import TutorError

# The job's container in its pods; a cluster may add others.
CONTAINER = "lms-job"
JOB_LABEL = "batch.kubernetes.io/job-name"
# The statuses with which the job itself ends.
OWN = range(10)
INDEX_ANNOTATION = "batch.kubernetes.io/job-completion-index"


@dataclass(frozen=True)
class Job:
    """A Job as the cluster has it."""

    name: str
    uid: str
    active: bool
    complete: bool
    failed: bool

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Job:
        status = item.get("status") or {}
        conditions = {one["type"] for one in status.get("conditions") or () if one["status"] == "True"}
        return cls(
            name=item["metadata"]["name"],
            uid=item["metadata"]["uid"],
            active=bool(status.get("active")),
            complete="Complete" in conditions,
            failed="Failed" in conditions,
        )


@dataclass(frozen=True)
class Pod:
    """A pod of a Job; ``status`` is its exit status, ``None`` while it has none or when it never had one."""

    name: str
    index: int
    status: int | None
    last_words: str

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Pod:
        states = {one["name"]: one["state"] for one in (item.get("status") or {}).get("containerStatuses") or ()}
        ended: dict[str, Any] = states.get(CONTAINER, {}).get("terminated") or {}
        status = ended.get("exitCode")
        # One that was killed has said nothing of it, and its last line may be somebody's data.
        said = [line for line in str(ended.get("message") or "").splitlines() if line.strip()] if status in OWN else []
        return cls(
            name=item["metadata"]["name"],
            index=int((item["metadata"].get("annotations") or {}).get(INDEX_ANNOTATION, 0)),
            status=status,
            last_words=said[-1] if said else f"{ended.get('reason') or 'Error'}, status {status}",
        )


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
            said = [line for line in done.stderr.splitlines() if line.strip()]
            words = said[-1] if said else f"status {done.returncode}"
            raise TutorError(f"kubectl {args[0]} failed ({words}). See that kubectl reaches the cluster, and try again")
        return done.stdout

    def apply(self, objects: Iterable[Mapping[str, Any]]) -> None:
        """Apply objects that Tutor's own "kubectl apply" applies, too."""
        self.run("apply", self._namespace, "--filename=-", stdin=_list(objects))

    def apply_own(self, one: Mapping[str, Any], manager: str) -> None:
        """Apply an object, of which other managers may have set other fields; none is copied to an annotation."""
        options = ("--server-side", f"--field-manager={manager}", "--force-conflicts")
        self.run("apply", self._namespace, *options, "--filename=-", stdin=_list([one]))

    def jobs(self, selector: str) -> list[Job]:
        """The Jobs with these labels, in the order in which they were made."""
        return [Job.of(item) for item in self._items("jobs", selector)]

    def pods(self, selector: str) -> list[Pod]:
        """The pods with these labels, in the order in which they were made."""
        return [Pod.of(item) for item in self._items("pods", selector)]

    def pods_of(self, job: Job) -> list[Pod]:
        """The pods of a Job, in the order in which they were made."""
        return self.pods(f"{JOB_LABEL}={job.name}")

    def log_of(self, pod: Pod, lines: int = -1) -> str:
        """What a pod printed (its last ``lines``), or a line that says why that can't be had."""
        try:
            return self.run("logs", self._namespace, pod.name, f"--container={CONTAINER}", f"--tail={lines}")
        except TutorError as error:
            return str(error.args[0])

    def secret_keys(self, name: str) -> list[str]:
        """The keys of a Secret, without what they hold; none if there is no such Secret."""
        template = '{{range $key, $value := .data}}{{$key}}{{"\\n"}}{{end}}'
        options = ("--ignore-not-found", f"--output=go-template={template}")
        return self.run("get", self._namespace, "secret", name, *options).split()

    def remove_secret_keys(self, name: str, keys: Sequence[str]) -> None:
        """Take keys out of a Secret."""
        patch = json.dumps([{"op": "remove", "path": f"/data/{key}"} for key in keys])
        self.run("patch", self._namespace, "secret", name, "--type=json", f"--patch={patch}")

    def _items(self, kind: str, selector: str) -> list[Mapping[str, Any]]:
        options = (f"--selector={selector}", "--output=json")
        items: list[Mapping[str, Any]] = json.loads(self.run("get", self._namespace, kind, *options))["items"]
        return sorted(items, key=lambda item: (item["metadata"]["creationTimestamp"], item["metadata"]["name"]))


def _list(objects: Iterable[Mapping[str, Any]]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
