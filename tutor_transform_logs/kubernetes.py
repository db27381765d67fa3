"""``tutor k8s do transform-tracking-logs``: the job's phases as Kubernetes Jobs, one after the other.

Tutor starts a Job and waits for it; this module does what Tutor leaves out. Tutor does not apply the ConfigMaps and
Secrets that a Job refers to. It regards a Job as ended while a pod of it waits to be started again, and as successful
when any pod has succeeded. It shows neither what pods print nor how they end.
"""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import click
import yaml
from tutor import env as tutor_env
from tutor import fmt
from tutor.exceptions import TutorError
from tutor.types import Config

from tutor_transform_logs import cluster_config, manifests
from tutor_transform_logs.job_watch import JobWatch
from tutor_transform_logs.kubectl import Job, Kubectl, Pod
from tutor_transform_logs.lms_job.util.errors import ExitStatus
from tutor_transform_logs.lms_job.util.formatting import count, printable, printable_lines
from tutor_transform_logs.lms_job.util.phase_outcome import PhaseOutcome
from tutor_transform_logs.lms_job.util.run_summary import Summary

PHASE = manifests.PHASE_LABEL
SECRET = "transform-logs-run"  # noqa: S105
# The job reads it: see lms_job/run.
ENDED_JOBS = "TRANSFORM_LOGS_K8S_ENDED_JOBS"
POLL_SECS = 5.0
# Between two of its Jobs, a command has none active for a moment.
QUIET_SECS = 60.0

AGAIN = "Run the same command again to resume"
# Above it, the status is that of a process that was ended by a signal.
KILLED = 128
TO_STOP = "kubectl delete jobs --namespace={namespace} --selector={phase}"


class Runner(Protocol):
    """Tutor's ``K8sTaskRunner``, as far as it is used."""

    root: str

    def run_task_from_str(self, service: str, command: str) -> None: ...


class JobEnded(TutorError):
    """The replay has ended with a status other than 0, and the log of its last pod has been shown."""

    def __init__(self, status: int) -> None:
        super().__init__("The job failed. Its messages are above.")
        self.status = status


class Replay:
    """One run of the command."""

    def __init__(self, runner: Runner, site: Config) -> None:
        self._runner = runner
        self._namespace = str(site["K8S_NAMESPACE"])
        self._kubectl = Kubectl(self._namespace)
        self._pods = cluster_config.pods(site)
        self._scheduled = bool(site.get(cluster_config.CRON_SCHEDULE))
        self._config = ""
        self.summary: Summary = {}
        """What the job has said of its run at its end: see lms_job/util/run_summary.py."""

    def run(self, config: str, phase: str) -> None:
        """Replay with this text of the config file, or run a single phase: say where the job stands, or verify.

        Raises ``TutorError``, and :class:`JobEnded` where the job itself has said what is wrong.
        """
        if phase == "check":
            self._tell_leftovers()
        active = [job for job in self._kubectl.jobs(PHASE) if job.active]
        if phase == "status" and active:
            # Tutor would wait for it to end.
            self._show_progress(active[-1])
            return
        self._apply_config_maps()
        self._add_config(config)
        if phase != "status":
            self._wait_for_turn()
        try:
            status = self._replay() if phase == manifests.RUN else self._single(phase).status
        except (KeyboardInterrupt, click.Abort):
            fmt.echo_alert(self._how_to_go_on())
            raise
        except TutorError:
            if not self._goes_on():
                self._remove_configs([self._config])
            raise
        self._remove_configs([self._config])
        if status != ExitStatus.DONE:
            raise JobEnded(status)

    def _tell_leftovers(self) -> None:
        """A schedule that was unset is still in the cluster: Tutor deletes nothing."""
        if not self._scheduled and self._kubectl.exists("cronjob", manifests.NAME):
            fmt.echo_alert(
                f"The CronJob {manifests.NAME} is in the cluster, but {cluster_config.CRON_SCHEDULE} is not set: it "
                "runs on, with the settings that it was made with.\n"
                f"Run: kubectl delete --namespace={self._namespace} cronjob/{manifests.NAME} "
                f"secret/{manifests.NAME}-cron"
            )

    def _replay(self) -> int:
        status, resumed = self._round()
        if status != ExitStatus.STOPPED and status != ExitStatus.FAILED and resumed:
            # What came to the source since the plan that was resumed.
            status = max(status, self._round()[0])
        return status

    def _round(self) -> tuple[int, bool]:
        """Plan, work, report; gives the status, and whether the plan was begun by an earlier run."""
        plan = self._single("plan")
        if plan.status != ExitStatus.DONE or plan.nothing_new:
            return plan.status, False
        worked = self._work()
        status = self._single("report").status
        # The report knows what is not done, but not why.
        if status == ExitStatus.STOPPED and worked == ExitStatus.FAILED:
            status = int(ExitStatus.FAILED)
        return status, plan.resumed

    def _single(self, phase: str) -> PhaseOutcome:
        """A phase of one pod: run it, and show what it printed."""
        # PLAN cuts what it can so that all pods get their share.
        share = f"0/{self._pods}" if phase == "plan" else ""
        job, failure = self._run(phase, manifests.script(phase, self._config, share))
        pods = self._kubectl.pods_of(job)
        if not pods or pods[-1].status is None:
            # All that Tutor can say of a Job without pods is that it has failed.
            deleted = TutorError(f"The result of {job.name} is not known: its pod was deleted. {AGAIN}")
            raise (failure or deleted) if pods else deleted
        log = self._kubectl.log_of(pods[-1])
        if log:
            click.echo(printable_lines(log.rstrip("\n")))
        if _killed(pods[-1]):
            # It can't have said that itself.
            reason = printable(pods[-1].outcome.message)
            fmt.echo_alert(f"The pod of {job.name} was killed ({reason}). {_advice(pods[-1])}")
        elif not pods[-1].told and pods[-1].status == ExitStatus.DONE:
            raise TutorError(
                f"The pod of {job.name} ended without having run the job, so nothing was done: check that its image "
                "runs the command that it is given (TRANSFORM_LOGS_DOCKER_IMAGE), and that no other plugin changes its "
                "manifest. Run: tutor config save"
            )
        outcome = replace(pods[-1].outcome, status=pods[-1].status)
        if outcome.summary and not (self.summary and outcome.nothing_new):
            self.summary = outcome.summary
        return outcome

    def _work(self) -> int:
        """The phase of many pods: run it, and show why pods failed, if some did."""
        shown = len(self._kubectl.pods(f"{PHASE}=work")) + 2 * self._pods
        fmt.echo_info(
            f"The work is divided among {count(self._pods, 'pod')}. To follow all of them, in another terminal:\n\n"
            f"    kubectl logs --namespace={self._namespace} --selector={PHASE}=work --follow --prefix "
            f"--max-log-requests={shown}\n\nTo stop it: Ctrl-C here, and then\n\n    {self._to_stop()}\n"
        )
        share = f"$JOB_COMPLETION_INDEX/${cluster_config.PODS}"
        job, _ = self._run("work", manifests.script("work", self._config, share))
        last = {pod.index: pod for pod in self._kubectl.pods_of(job)}  # by index, in the order of their starts
        failed = [pod for pod in last.values() if pod.status]
        for text, pods in _by_message(failed).items():
            names = ", ".join(str(pod.index) for pod in pods[:10]) + (", ..." if len(pods) > 10 else "")
            what = f"{printable(text)}. {_advice(pods[0])}" if _killed(pods[0]) else printable(text)
            fmt.echo_alert(f"Of {count(self._pods, 'pod')}, {len(pods)} failed (number {names}): {what}")
        if any(pod.status == ExitStatus.FAILED for pod in failed):
            return ExitStatus.FAILED
        return ExitStatus.STOPPED if failed or not job.complete else ExitStatus.DONE

    def _show_progress(self, job: Job) -> None:
        pods = self._kubectl.pods_of(job)
        active = [pod for pod in pods if pod.status is None]
        # One that was killed may have another in its place.
        ended = {pod.index for pod in pods} - {pod.index for pod in active}
        expected = self._pods if job.name.startswith(f"{manifests.service('work')}-job") else 1
        click.echo(f"{job.name} is running: of {count(expected, 'pod')}, {len(ended)} have ended.")
        if not pods and (why := self._kubectl.why_no_pods(job)):
            click.echo(f"There is no pod yet: {printable(why)}")
        for pod in active:
            said = pod.waits or self._kubectl.log_of(pod, lines=1).strip()
            click.echo(f"{pod.name}: {printable(said) or 'no output yet'}")

    def _run(self, phase: str, script: str) -> tuple[Job, TutorError | None]:
        """Have Tutor run the phase's Job, and wait until it has really ended. Gives it, and Tutor's error."""
        service = manifests.service(phase)
        earlier = self._kubectl.jobs(PHASE)
        before = {job.uid for job in earlier}
        # The lease of a pod that was killed stops nobody if its Job is known to be over.
        over = " ".join(job.name for job in earlier if not job.active)
        script = f"export {ENDED_JOBS}='{over}'; {script}"
        failure = None

        def started() -> list[Job]:
            return [job for job in self._kubectl.jobs(f"{PHASE}={phase}") if job.uid not in before]

        try:
            with JobWatch(self._kubectl, started, self._tell_wait) as watch:
                self._runner.run_task_from_str(service, script)
        except TutorError as error:
            failure = error
        except KeyboardInterrupt:
            if not watch.deleted:
                raise
        while True:
            ours = started()
            if not ours:
                raise failure or TutorError(f"The Job {service}-job was deleted. {AGAIN}")
            if not ours[-1].active:
                return ours[-1], failure
            # Tutor no longer waits once a pod has failed, but another may take its place.
            watch.look(time.monotonic())
            time.sleep(POLL_SECS)

    def _tell_wait(self, text: str) -> None:
        fmt.echo_alert(f"{text} If that does not change, press Ctrl-C and run: {self._to_stop()}")

    def _apply_config_maps(self) -> None:
        """Apply the ConfigMaps that the Jobs mount, ours and the LMS's: Tutor does so at "tutor k8s start" only."""
        text = self._kubectl.run("kustomize", tutor_env.pathjoin(self._runner.root))
        documents = [document for document in yaml.load_all(text, Loader=_YamlLoader) if document]
        jobs = [
            document
            for document in documents
            if document["kind"] == "Job" and PHASE in document["metadata"].get("labels", {})
        ]
        work = [job for job in jobs if job["metadata"]["labels"][PHASE] == "work"]
        if not work or work[0]["spec"]["completions"] != self._pods:
            raise TutorError("Tutor's environment is older than the settings. Run: tutor config save")
        wanted = manifests.mounted_config_maps(jobs)
        self._kubectl.apply(
            document
            for document in documents
            if document["kind"] == "ConfigMap" and document["metadata"]["name"] in wanted
        )

    def _add_config(self, text: str) -> None:
        """Put the config file into the Secret: a key of its own for each run, which no other run changes."""
        token = secrets.token_hex(4)
        self._config = f"config-{time.time():.0f}-{token}.json"
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": SECRET,
                "namespace": self._namespace,
                "labels": {manifests.NAME_LABEL: manifests.NAME},
            },
            "type": "Opaque",
            # Not as stringData: the API server does not tell the managers of that apart.
            "data": {self._config: base64.b64encode(text.encode()).decode("ascii")},
        }
        self._kubectl.apply_own(secret, manager=f"{manifests.NAME}-{token}")

    def _wait_for_turn(self) -> None:
        """Wait while an earlier command runs: its config is in the Secret from its beginning to its end.

        A command that was killed leaves its config there. It is over when none of its Jobs has been active for some
        time.
        """
        last_active, told, advised = time.monotonic(), False, False
        try:
            while earlier := [key for key in self._kubectl.secret_keys(SECRET) if key < self._config]:
                active = [job.name for job in self._kubectl.jobs(PHASE) if job.active]
                now = time.monotonic()
                last_active = now if active else last_active
                if now - last_active > QUIET_SECS:
                    self._remove_configs(earlier)
                    return
                if not told:
                    what = f": {', '.join(active)}" if active else ""
                    fmt.echo_info(f"Waiting for an earlier run of this command to end{what}")
                    told = True
                if active and not advised:
                    fmt.echo_info(f"If its pods can't start, it never ends: press Ctrl-C and run {self._to_stop()}")
                    advised = True
                time.sleep(POLL_SECS)
        except (KeyboardInterrupt, click.Abort):
            self._remove_configs([self._config])
            raise

    def _goes_on(self) -> bool:
        """May pods still need the config? A later command removes it."""
        try:
            return any(job.active for job in self._kubectl.jobs(PHASE))
        except TutorError:
            return True

    def _remove_configs(self, keys: Sequence[str]) -> None:
        try:
            there = self._kubectl.secret_keys(SECRET)
            if found := [key for key in keys if key in there]:
                self._kubectl.remove_secret_keys(SECRET, found)
        except TutorError as error:
            fmt.echo_alert(f"The run's config could not be removed from the Secret {SECRET}: {error.args[0]}")

    def _to_stop(self) -> str:
        return TO_STOP.format(namespace=self._namespace, phase=PHASE)

    def _how_to_go_on(self) -> str:
        return (
            "This command ends here; the Jobs that it has started in the cluster go on. Run the same command again: it "
            f"waits for them and resumes. Or stop them:\n\n    {self._to_stop()}\n"
        )


def _killed(pod: Pod) -> bool:
    """Was the pod ended from outside, so that nothing but Kubernetes says why?"""
    return pod.status is not None and pod.status > KILLED


def _advice(pod: Pod) -> str:
    """What to do for a pod that was killed, where Kubernetes says why."""
    return "Set more memory in TRANSFORM_LOGS_K8S_LIMITS" if "OOMKilled" in pod.outcome.message else AGAIN


def _by_message(pods: list[Pod]) -> Mapping[str, list[Pod]]:
    """Pods that failed, by their messages: they often fail for the same reason."""
    found: dict[str, list[Pod]] = {}
    for pod in pods:
        found.setdefault(pod.outcome.message, []).append(pod)
    return found


_YamlLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
