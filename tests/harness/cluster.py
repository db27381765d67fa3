"""A stand-in for a Kubernetes cluster, for the real ``tutor`` and the real job: none is available in a test.

It answers the one question that Tutor asks the API server (which Jobs are there), takes the calls of ``kubectl`` that
Tutor and the command make, and runs Jobs as the Job controller does, with indices, replacements, backoffLimit and
podFailurePolicy, as many pods at a time as the node's CPUs allow. Pods are real processes, run from their manifests by
``sandbox``. The truth is the real cluster of ``tests/e2e/cluster``; what that would refuse, this refuses, too.
"""

from __future__ import annotations

import base64
import contextlib
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kubernetes_validate
import yaml

from tests.harness.cluster_objects import Job, Pod, action_for, matches
from tests.harness.sandbox import Image, NotFound, Sandbox
from tutor_transform_logs.kubectl import ANNOTATIONS_BYTES, DATA_BYTES, applied_size

JOB_NAME = "batch.kubernetes.io/job-name"
KUBERNETES = "1.30"
# Kubernetes waits ten seconds before it starts a pod again, and longer each time.
BACKOFF_SECS = 0.5
KUBECTL = Path(sys.executable).with_name("kubectl")

# What stands for kubectl on PATH: kustomize is the real one's, the rest goes to the cluster.
SHIM = """
import json, os, sys, urllib.request
if sys.argv[1] == "kustomize":
    os.execv({kubectl!r}, [{kubectl!r}, *sys.argv[1:]])
stdin = sys.stdin.read() if "--filename=-" in sys.argv else ""
body = json.dumps({{"argv": sys.argv[1:], "stdin": stdin}}).encode()
with urllib.request.urlopen({url!r}, body) as answer:
    done = json.load(answer)
sys.stdout.write(done["out"])
sys.stderr.write(done["err"])
sys.exit(done["status"])
"""


class Refused(Exception):
    """The API server, or kubectl, says no, with this text."""


class Cluster:
    """The running stand-in. ``folder`` is where its pods live, and ``cpus`` what its only node has."""

    def __init__(self, folder: Path, image: Image, cpus: float = 4) -> None:
        self.folder = folder
        self.image = image
        self.cpus = cpus
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.jobs: list[Job] = []
        self.calls: list[dict[str, Any]] = []
        """Every call of kubectl: its arguments and standard input."""
        self.on_start: Callable[[Job, Pod], None] = lambda _job, _pod: None
        """Called as a pod starts, in a thread of its own: what happens to pods in a scenario."""
        self._errors: list[Exception] = []
        self._lock = threading.RLock()
        self._numbers = iter(range(1, 1_000_000))
        self._closed = threading.Event()

    def check(self) -> None:
        """Raise what went wrong in a thread of its own: a pod that could not be started, a call it does not know."""
        if self._errors:
            error = self._errors[0]
            raise AssertionError(f"the stand-in for a cluster failed: {type(error).__name__}: {error}") from error

    def _fail(self, error: Exception) -> None:
        """Keep an error for :meth:`check`, and end all Jobs, so that whoever waits for them does not wait in vain."""
        if self._closed.is_set():
            return
        with self._lock:
            self._errors.append(error)
            for job in self.jobs:
                job.condition = job.condition or "Failed"
                for pod in job.running():
                    threading.Thread(target=pod.sandbox.kill, args=(signal.SIGKILL,), daemon=True).start()

    # The API server and kubectl

    @contextlib.contextmanager
    def serve(self) -> Iterator[dict[str, str]]:
        """Run until the block ends; gives the environment for whoever is to talk to it."""
        cluster = self

        class Handler(BaseHTTPRequestHandler):
            # Headers and body are two segments: the second would wait for an acknowledgement, 40 ms with each answer.
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                self._answer(cluster._listed(self.path))

            def do_POST(self) -> None:
                call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self._answer(cluster._kubectl(call))

            def _answer(self, value: Any) -> None:
                body = json.dumps(value).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            url = f"http://127.0.0.1:{server.server_address[1]}"
            try:
                yield self._environment(url)
            finally:
                self._closed.set()
                for job in self.jobs:
                    for pod in job.running():
                        pod.sandbox.kill(signal.SIGKILL)
                server.shutdown()
        self.check()

    def _environment(self, url: str) -> dict[str, str]:
        programs = self.folder / "bin"
        programs.mkdir(parents=True)
        shim = programs / "kubectl"
        shim.write_text(f"#!{sys.executable} -SE\n" + SHIM.format(kubectl=str(KUBECTL), url=url))
        shim.chmod(0o755)
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        kubeconfig = self.folder / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(config))
        return {"KUBECONFIG": str(kubeconfig), "CLUSTER_PATH": str(programs)}

    def _listed(self, path: str) -> dict[str, Any]:
        """list_namespaced_job."""
        parts = urlsplit(path)
        assert parts.path == "/apis/batch/v1/namespaces/openedx/jobs", path
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        name = query.get("fieldSelector", "").removeprefix("metadata.name=")
        with self._lock:
            jobs = self._jobs(query.get("labelSelector", ""))
            items = [job.to_json() for job in jobs if name in ("", job.name)]
        return {"apiVersion": "batch/v1", "kind": "JobList", "metadata": {}, "items": items}

    def _jobs(self, selector: str = "") -> list[Job]:
        return [job for job in self.jobs if not job.deleted and matches(job.labels, selector)]

    def _kubectl(self, call: dict[str, Any]) -> dict[str, Any]:
        self.calls.append(call)
        try:
            out = self._do(call["argv"], call["stdin"])
        except NotFound as error:
            return {"status": 1, "out": "", "err": f"Error from server (NotFound): {error}\n"}
        except Refused as error:
            return {"status": 1, "out": "", "err": f"{error}\n"}
        except Exception as error:
            self._fail(error)
            return {"status": 1, "out": "", "err": f"{type(error).__name__}: {error}\n"}
        return {"status": 0, "out": out, "err": ""}

    def _do(self, argv: list[str], stdin: str) -> str:
        detail = [word for word in argv if not word.startswith("-")]
        options = dict(word.partition("=")[::2] for word in argv if word.startswith("--"))
        selector = options.get("--selector", "")
        with self._lock:
            match detail:
                case ["wait", *_, "deployment"]:
                    known = [
                        found["metadata"]["labels"] for (kind, _), found in self.objects.items() if kind == "Deployment"
                    ]
                    if not any(matches(labels, selector) for labels in known):
                        raise Refused("error: no matching resources found")
                    return "condition met\n"
                case ["apply", *_]:
                    return self._apply(argv, stdin)
                case ["get", "jobs"]:
                    return json.dumps({"items": [job.to_json() for job in self._jobs(selector)]})
                case ["get", "pods"]:
                    pods = [pod for job in self._jobs() for pod in job.pods]
                    return json.dumps({"items": [pod.to_json() for pod in pods if matches(pod.labels, selector)]})
                case ["get", "secret", name]:
                    return "\n".join(self.objects.get(("Secret", name), {}).get("data", {}))
                case ["patch", "secret", name]:
                    data = self.objects.get(("Secret", name), {}).get("data", {})
                    for step in json.loads(options["--patch"]):
                        if data.pop(step["path"].removeprefix("/data/"), None) is None:
                            raise NotFound(f"{name}: {step['path']}")
                    return "patched\n"
                case ["logs", name]:
                    [pod] = [pod for job in self.jobs for pod in job.pods if pod.name == name]
                    lines = pod.sandbox.log().splitlines(keepends=True)
                    most = int(options["--tail"])
                    return "".join(lines if most < 0 else lines[-most:])
                case ["delete", "jobs"]:
                    for job in self._jobs(selector):
                        self.delete(job)
                    return "deleted\n"
        raise AssertionError(f"kubectl {argv} is not what this stand-in knows")

    def _apply(self, argv: list[str], stdin: str) -> str:
        if "--filename=-" in argv:
            documents = json.loads(stdin)["items"]
        elif "--kustomize" in argv:
            selector = argv[argv.index("--selector") + 1]
            made = kustomized(Path(argv[argv.index("--kustomize") + 1]))
            documents = [document for document in made if matches(document["metadata"].get("labels", {}), selector)]
        else:
            documents = [yaml.safe_load(Path(argv[argv.index("-f") + 1]).read_text())]
        for document in documents:
            kubernetes_validate.validate(document, KUBERNETES, strict=True)
            check_size(document, server_side="--server-side" in argv)
            name = document["metadata"]["name"]
            assert document["metadata"]["namespace"] == "openedx"
            if document["kind"] == "Job":
                self._start(document)
            elif document["kind"] == "Secret" and ("Secret", name) in self.objects:
                # Server-side: each manager has its own keys.
                assert "--server-side" in argv
                self.objects["Secret", name]["data"] |= document["data"]
            else:
                assert document["kind"] in ("ConfigMap", "Secret")
                self.objects[document["kind"], name] = stored(document)
        return "applied\n"

    def apply_as_tutor_start(self, env: Path) -> None:
        """What ``tutor k8s start`` applies of the plugin's."""
        for document in kustomized(env):
            if document["kind"] in ("ConfigMap", "Secret", "CronJob"):
                kubernetes_validate.validate(document, KUBERNETES, strict=True)
                self.objects[document["kind"], document["metadata"]["name"]] = stored(document)

    def run_cron_job(self, name: str) -> Job:
        """What the CronJob controller does when the time has come."""
        template = json.loads(json.dumps(self.objects["CronJob", name]["spec"]["jobTemplate"]))
        spec = {"completions": 1, **template["spec"]}
        number = next(self._numbers)
        metadata = {**template["metadata"], "name": f"{name}-{number}", "namespace": "openedx"}
        with self._lock:
            self._start({"metadata": metadata, "spec": spec})
            return self.jobs[-1]

    def delete(self, job: Job) -> None:
        """As ``kubectl delete job`` does it: its pods are told to end."""
        job.deleted = True
        self._end_pods(job)

    # The Job controller

    def _start(self, manifest: dict[str, Any]) -> None:
        job = Job(manifest, next(self._numbers))
        self.jobs.append(job)
        for index in range(manifest["spec"]["completions"]):
            self._start_pod(job, index)

    def _start_pod(self, job: Job, index: int) -> None:
        template = job.manifest["spec"]["template"]
        number = next(self._numbers)
        indexed = job.manifest["spec"].get("completionMode") == "Indexed"
        name = f"{job.name}-{index}-{number}" if indexed else f"{job.name}-{number}"
        labels = {**template["metadata"]["labels"], JOB_NAME: job.name}
        environ = {"HOSTNAME": name, **({"JOB_COMPLETION_INDEX": str(index)} if indexed else {})}
        sandbox = Sandbox(self.folder / "pods" / name, template["spec"], labels, environ, self.image, self.folder)
        job.pods.append(Pod(name, number, index, labels, sandbox, requested_cpus(template["spec"])))
        self._schedule()

    def _schedule(self) -> None:
        """Start pods, in their order, that request no more than the node has left. The others wait."""
        free = self.cpus - sum(pod.cpus for job in self.jobs for pod in job.running())
        for job in self.jobs:
            for pod in job.active():
                if not pod.started and pod.cpus <= free:
                    pod.started = True
                    free -= pod.cpus
                    threading.Thread(target=self._run_pod, args=(job, pod), daemon=True).start()

    def _end_pods(self, job: Job) -> None:
        """Tell its pods to end. Those that wait for the node are gone at once."""
        job.pods = [pod for pod in job.pods if pod.started]
        for pod in job.running():
            threading.Thread(target=pod.sandbox.terminate).start()

    def _run_pod(self, job: Job, pod: Pod) -> None:
        try:
            pod.sandbox.start(lambda kind, name: self.objects.get((kind, name)), self._closed)
        except Exception as error:
            pod.status = 1
            self._fail(error)
            return
        threading.Thread(target=self._disturb, args=(job, pod), daemon=True).start()
        status = pod.sandbox.wait()
        with self._lock:
            pod.status = status
            again = self._ended(job, pod, status)
            self._schedule()
        if again and not self._closed.wait(BACKOFF_SECS):
            with self._lock:
                if not job.condition and not job.deleted:
                    self._start_pod(job, pod.index)

    def _disturb(self, job: Job, pod: Pod) -> None:
        try:
            self.on_start(job, pod)
        except Exception as error:
            self._fail(error)

    def _ended(self, job: Job, pod: Pod, status: int) -> bool:
        """Account for a pod that has ended; is another to be started in its place?"""
        if job.condition or job.deleted:
            return False
        if status == 0:
            job.succeeded.add(pod.index)
            if len(job.succeeded) == job.manifest["spec"]["completions"]:
                job.condition = "Complete"
            return False
        action = action_for(job.manifest["spec"]["podFailurePolicy"], pod, status)
        if action == "Ignore":
            return True
        job.failures += 1
        if action == "FailJob" or job.failures > job.manifest["spec"]["backoffLimit"]:
            job.condition = "Failed"
            self._end_pods(job)
            return False
        return True

    # What a test does to it

    def evict(self, pod: Pod) -> None:
        """As a node does that is drained: the pod is told to end, and marked."""
        pod.evicted = True
        pod.sandbox.terminate()

    def job(self, phase: str, number: int = -1) -> Job:
        """A Job of this phase, by default the latest."""
        return [job for job in self.jobs if job.phase == phase][number]


def stored(document: dict[str, Any]) -> dict[str, Any]:
    """An object as the API server keeps it: what a Secret has as text, it has as data."""
    texts = document.get("stringData", {})
    data = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
    return {**document, "data": {**document.get("data", {}), **data}} if texts else document


def kustomized(env: Path) -> list[dict[str, Any]]:
    """All objects that Tutor's environment makes."""
    done = subprocess.run([KUBECTL, "kustomize", env], capture_output=True, text=True, check=True)
    return [document for document in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if document]


def requested_cpus(spec: dict[str, Any]) -> float:
    """The CPUs that a pod's containers request."""
    wanted = [str(container.get("resources", {}).get("requests", {}).get("cpu", 0)) for container in spec["containers"]]
    return sum(float(text.removesuffix("m")) / (1000 if text.endswith("m") else 1) for text in wanted)


def check_size(document: dict[str, Any], *, server_side: bool) -> None:
    """As the API server does it. That its limits are these, to the byte, is seen on the real cluster."""
    what = f'The {document["kind"]} "{document["metadata"]["name"]}" is invalid'
    if not server_side and applied_size(document) > ANNOTATIONS_BYTES:
        raise Refused(f"{what}: metadata.annotations: Too long: may not be more than {ANNOTATIONS_BYTES} bytes")
    values = stored(document).get("data", {}).values() if document["kind"] in ("ConfigMap", "Secret") else ()
    encoded = document["kind"] == "Secret"
    if sum(len(base64.b64decode(text) if encoded else text.encode()) for text in values) > DATA_BYTES:
        raise Refused(f"{what}: data: Too long: may not be more than {DATA_BYTES} bytes")
