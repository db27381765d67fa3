"""Pods that end early: deleted, killed, evicted, out of memory. The run goes on or says how, and nothing is lost."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from tests.e2e.cluster.control_plane import NODE
from tests.e2e.cluster.site import PHASE, KubernetesSite
from tests.harness.http_sinks import ScriptedLrs

Say = Callable[..., None]
MakeSite = Callable[..., KubernetesSite]

# A pod's start takes seconds, its work here a moment: with rests it takes long enough to be disturbed.
SLOWLY = {"TRANSFORM_LOGS_SLEEP_BETWEEN_BATCHES_SECS": 0.5}
LOGS = 4


def _at_work(new_site: MakeSite, lrs: ScriptedLrs | None = None) -> tuple[KubernetesSite, subprocess.Popen[str]]:
    """A site with two pods, both of which have begun to deliver, and the command that started them.

    ``lrs``: where to deliver; ``None``: to Ralph, which does not say what comes again.
    """
    site = new_site()
    for number in range(LOGS):
        site.log_of_day(number, good=60)
    site.save(**{**site.settings(2), **SLOWLY, **(site.to_gate(lrs) if lrs else {})})
    process = site.start_replay()

    def both_deliver() -> bool:
        return _begun(site) >= 2 and (len(lrs.statements) if lrs else site.lrs.count()) >= 8

    site.wait(lambda: process.poll() is not None or both_deliver())
    if process.poll() is not None:
        pytest.fail(f"the command ended before both pods were at work:\n{site.finish(process).output}")
    return site, process


def _begun(site: KubernetesSite) -> int:
    """How many pods hold the lock of their share."""
    return len({key.rpartition("/lock-")[2][:5] for key in site.bucket.keys("transform-logs/") if "/lock-" in key})


def _assert_saved(site: KubernetesSite, lrs: ScriptedLrs, ended: int) -> None:
    """The LRS has all. Of each pod that ``ended`` early, at most the batch in hand was sent again."""
    assert len(lrs.statements) == site.statements_expected
    assert lrs.repeated <= ended * site.settings(2)["TRANSFORM_LOGS_BATCH_SIZE"]
    site.assert_no_secret()


def _name(pod: dict[str, Any]) -> str:
    return str(pod["metadata"]["name"])


def _of_index(site: KubernetesSite, index: int) -> list[dict[str, Any]]:
    label = "batch.kubernetes.io/job-completion-index"
    return [pod for pod in site.items("pods", "work") if pod["metadata"]["labels"][label] == str(index)]


def _terminated(pod: dict[str, Any]) -> dict[str, Any]:
    [status] = pod["status"]["containerStatuses"]
    state: dict[str, Any] = status["state"].get("terminated", {})
    return state


def test_a_pod_that_is_deleted(new_site: MakeSite, scripted_lrs: ScriptedLrs, found: Say) -> None:
    """It is told to end, saves what it has delivered, and another takes its place."""
    site, process = _at_work(new_site, scripted_lrs)
    [victim] = [_name(pod) for pod in _of_index(site, 1)]
    before = len(scripted_lrs.statements)

    site.kubectl("delete", "pod", victim)

    site.finish(process).must()
    _assert_saved(site, scripted_lrs, 1)
    assert before < site.statements_expected
    assert site.pods_started().count("work") == 3
    [job] = site.items("jobs", "work")
    assert job["status"]["succeeded"] == 2
    found(
        f"{before} statements when a pod was deleted, {scripted_lrs.repeated} sent again", len(scripted_lrs.statements)
    )


def test_a_container_that_is_killed(new_site: MakeSite, found: Say) -> None:
    """Its first process gets SIGKILL, and saves nothing: what it had delivered since is delivered again."""
    site, process = _at_work(new_site)
    [victim] = _of_index(site, 1)

    site.kill(victim)

    site.finish(process).must()
    site.assert_all_there()
    killed, replacement = _of_index(site, 1)
    assert _terminated(killed)["exitCode"] == 137
    assert _terminated(replacement)["exitCode"] == 0
    [job] = site.items("jobs", "work")
    assert (job["status"]["succeeded"], job["status"]["failed"]) == (2, 1)
    found("one of 2 pods was killed and replaced")


def test_an_index_that_fails_for_good(new_site: MakeSite, found: Say) -> None:
    """Tutor calls that a success, where any other pod succeeded. It is not one."""
    site, process = _at_work(new_site)
    site.kill(_of_index(site, 1)[0])
    second = site.wait(lambda: [pod for pod in _of_index(site, 1)[1:] if pod["status"]["phase"] == "Running"])

    site.kill(second[0])

    output = site.finish(process).must(4)
    assert "failed (number 1): " in output
    assert "Run the same command again" in output
    [job] = site.items("jobs", "work")
    conditions = {item["type"] for item in job["status"]["conditions"] if item["status"] == "True"}
    assert "Failed" in conditions
    before = site.lrs.count()
    assert before < site.statements_expected
    site.save(TRANSFORM_LOGS_SLEEP_BETWEEN_BATCHES_SECS=0)
    assert "Resuming plan 0001" in site.replay()
    site.assert_all_there()
    found(f"status 4 with {before} statements, then a second run")


def test_a_node_that_is_drained(new_site: MakeSite, scripted_lrs: ScriptedLrs, found: Say) -> None:
    """Both pods are evicted; no failure is counted, and the work goes on when there is a node again."""
    site, process = _at_work(new_site, scripted_lrs)
    evicted = len(site.running_pods())
    selector = "--pod-selector=transform-logs/phase=work"

    site.kubectl("drain", NODE, selector, "--delete-emptydir-data", "--force", "--ignore-daemonsets", "--timeout=240s")
    try:
        site.wait(lambda: [pod["status"]["phase"] for pod in site.items("pods", "work")] == ["Pending"] * 2)
        before = len(scripted_lrs.statements)
    finally:
        site.kubectl("uncordon", NODE)

    site.finish(process).must()
    _assert_saved(site, scripted_lrs, 2)
    [job] = site.items("jobs", "work")
    assert job["status"]["succeeded"] == evicted == 2
    assert not job["status"].get("failed")
    found(
        f"{before} statements when the node was empty, {scripted_lrs.repeated} sent again", len(scripted_lrs.statements)
    )


def test_too_little_memory(new_site: MakeSite, found: Say) -> None:
    """The plan's pod, and then one that works: the command says which, why and what to raise, and the run goes on."""
    site = new_site()
    site.log_of_day(0)
    # It is killed before it has a lock, whose lease would hold up the next one for two minutes.
    too_little = {"memory": "32Mi"}
    limits = {"TRANSFORM_LOGS_K8S_LIMITS": too_little, "TRANSFORM_LOGS_K8S_REQUESTS": too_little}
    site.save(**site.settings(1), **limits)

    printed = site.replay(status=1)

    assert _ends_of(site, "plan") == {"OOMKilled"}
    [plan] = site.items("jobs", "plan")
    advice = "(OOMKilled, status 137). Set more memory in TRANSFORM_LOGS_K8S_LIMITS"
    assert f"The pod of {plan['metadata']['name']} was killed {advice}" in printed
    assert site.phases() == ["plan"]
    assert site.lrs.count() == 0

    enough = {name: {"memory": "400Mi"} for name in limits}
    site.save(**enough)
    # The plan needs as much as the work here: this is a site where the work needs more.
    _limit_memory(site, "work", too_little)
    printed = site.replay(status=4)

    assert _ends_of(site, "work") == {"OOMKilled"}
    advice = "OOMKilled, status 137. Set more memory in TRANSFORM_LOGS_K8S_LIMITS"
    assert f"Of 1 pod, 1 failed (number 0): {advice}" in printed
    assert site.lrs.count() == 0

    site.save()
    assert "Resuming plan 0001" in site.replay()
    site.assert_all_there()
    found("status 1 and 4 with 0 statements, then a higher limit")


def _ends_of(site: KubernetesSite, phase: str) -> set[str]:
    """How the pods of a phase have ended, by what Kubernetes says."""
    return {_terminated(pod).get("reason", "") for pod in site.items("pods", phase)}


def _limit_memory(site: KubernetesSite, phase: str, limit: dict[str, str]) -> None:
    """Change a Job of Tutor's environment, until it is rendered again."""
    path = site.root / "env/k8s/jobs.yml"
    documents = [document for document in yaml.safe_load_all(path.read_text()) if document]
    [job] = [job for job in documents if job["metadata"].get("labels", {}).get(PHASE) == phase]
    [container] = job["spec"]["template"]["spec"]["containers"]
    container["resources"] = {"limits": limit, "requests": limit}
    path.write_text(yaml.safe_dump_all(documents))
