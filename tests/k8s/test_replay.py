"""``tutor k8s do transform-tracking-logs``, to Ralph or to files: whatever happens to pods, all is there once.

What the real cluster proves (``tests/e2e/cluster``) is not here a second time: undisturbed runs of one pod and eight,
changed settings, two commands, Ctrl-C, init.
"""

from __future__ import annotations

import random
import re
import signal
import subprocess
import threading
import time
from typing import Any

import pytest

from tests.harness.cluster_objects import Job, Pod
from tests.harness.cluster_site import ClusterSite
from tests.harness.http_sinks import ScriptedLrs
from tests.harness.process import wait_for
from tests.harness.ralph import PASSWORD
from tests.harness.runs import erbs_ids, statements
from tests.harness.site import is_manifest

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("lms")]

# A pod's start takes seconds, its work here a moment: with rests it takes long enough to be disturbed.
SLOWLY = {"TRANSFORM_LOGS_SLEEP_BETWEEN_BATCHES_SECS": 0.05}


def expected(site: ClusterSite) -> set[str]:
    """The ids of the statements that ERB makes of the logs in the bucket."""
    lines = [line for key in site.bucket.keys("logs/") for line in site.bucket.get(key).splitlines()]
    return erbs_ids(lines)


def assert_all_there(site: ClusterSite, lrs: ScriptedLrs | None = None) -> None:
    assert set(lrs.statements if lrs else site.statements()) == expected(site)
    secret = site.cluster.objects["Secret", "transform-logs-run"]
    assert secret["data"] == {}, "the run's config is still in the cluster"


def at_work(site: ClusterSite, pods: int = 1) -> Job | None:
    """The work's Job, once this many of its ``pods`` have begun to deliver."""
    jobs = [job for job in site.cluster.jobs if job.phase == "work" and not job.condition]
    begun = {found[0] for key in site.bucket.keys("transform-logs/") if (found := re.search(r"/lock-\d{5}-", key))}
    delivered = site.lrs.count() or site.bucket.keys("out/")
    return jobs[-1] if jobs and len(begun) >= pods and delivered else None


def start_held(site: ClusterSite, lrs: ScriptedLrs, **settings: Any) -> subprocess.Popen[str]:
    """Start a replay with two pods, whose work can't end before the gate of ``lrs`` opens."""
    for number in range(4):
        site.log_of_day(number)
    endpoint = {"url": lrs.url, "username": "u", "password": PASSWORD}
    site.save(**{**site.settings(2), "TRANSFORM_LOGS_LRS_ENDPOINTS": [endpoint], **settings})
    lrs.gate.clear()
    process = site.start_replay()
    wait_for(lambda: len(lrs.requests) >= 2)
    return process


def test_the_oldest_tutor(old_site: ClusterSite) -> None:
    for number in range(2):
        old_site.log_of_day(number)
    old_site.save(**old_site.settings(2))
    assert "Every line and every statement is accounted for." in old_site.replay()
    assert_all_there(old_site)
    assert [job.phase for job in old_site.cluster.jobs] == ["plan", "work", "report"]


def test_a_pod_that_is_killed_at_a_random_moment(site: ClusterSite) -> None:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    dice = random.Random(seed)
    victim, moment, killed = dice.randrange(8), dice.uniform(0, 12), threading.Event()

    def kill(job: Job, pod: Pod) -> None:
        if job.phase == "work" and pod.index == victim and not killed.is_set():
            killed.set()
            time.sleep(moment)
            pod.sandbox.kill(signal.SIGKILL)

    for number in range(16):
        site.log_of_day(number)
    site.cluster.on_start = kill
    site.save(**site.settings(8), TRANSFORM_LOGS_SLEEP_BETWEEN_BATCHES_SECS=0.03)
    output = site.replay()
    assert "Every line and every statement is accounted for." in output
    follow = (
        "kubectl logs --namespace=openedx --selector=transform-logs/phase=work --follow --prefix --max-log-requests="
    )
    assert follow in output
    assert_all_there(site)


def test_an_index_that_fails_for_good(site: ClusterSite) -> None:
    """Tutor calls that a success, where any other pod succeeded. It is not one."""

    def kill(job: Job, pod: Pod) -> None:
        if job.phase == "work" and pod.index == 1:
            wait_for(lambda: job.succeeded)
            pod.sandbox.kill(signal.SIGKILL)

    for number in range(2):
        site.log_of_day(number)
    # The one that is killed must still be there when another has succeeded: the largest logs go to the first indices.
    site.log_of_day(2, good=150)
    site.log_of_day(3, good=150)
    site.cluster.on_start = kill
    site.save(**site.settings(3), **SLOWLY)
    output = site.replay(status=4)
    work = site.cluster.job("work")
    assert work.condition == "Failed"
    assert work.succeeded
    assert f"Job {work.name} successful." in output
    assert "failed (number 1" in output
    assert "Run the same command again" in output
    assert set(site.statements()) < expected(site)

    site.cluster.on_start = lambda _job, _pod: None
    site.save(TRANSFORM_LOGS_SLEEP_BETWEEN_BATCHES_SECS=0)
    assert "Resuming plan 0001" in site.replay()
    assert set(site.statements()) == expected(site)


def test_a_pod_that_is_evicted(site: ClusterSite) -> None:
    """This time to files, which are to be joined as if nothing had been."""
    for number in range(4):
        site.log_of_day(number, good=40)
    site.save(**site.settings(2, site.bucket.settings("destination", prefix="out")), **SLOWLY)
    process = site.start_replay()
    job = wait_for(lambda: at_work(site, pods=2))
    evicted = job.pods[1]
    site.cluster.evict(evicted)
    site.finish(process).must()
    assert evicted.status == 4
    assert "Interrupted (SIGTERM)." in evicted.sandbox.log()
    assert (len(job.pods), job.failures, job.condition) == (3, 0, "Complete")
    [name] = [key for key in site.bucket.keys("out/") if not is_manifest(key)]
    assert sorted(site.bucket.keys("out/")) == sorted([name, name.replace(".log", "_manifest.log")])
    ids = [statement["id"] for statement in statements(site.bucket.get(name))]
    assert len(ids) == len(set(ids))
    assert set(ids) == expected(site)


def test_the_schedule_takes_up_what_is_new_and_stays_out_of_a_runs_way(
    site: ClusterSite, scripted_lrs: ScriptedLrs
) -> None:
    process = start_held(site, scripted_lrs, TRANSFORM_LOGS_K8S_CRON_SCHEDULE="30 2 * * *")
    site.cluster.apply_as_tutor_start(site.root / "env")
    meanwhile = site.cluster.run_cron_job("transform-logs")
    wait_for(lambda: meanwhile.condition)
    scripted_lrs.gate.set()
    site.finish(process).must()
    assert meanwhile.condition == "Failed"
    assert "This job is already running" in meanwhile.pods[0].sandbox.log()
    assert_all_there(site, scripted_lrs)
    site.log_of_day(4)
    by_night = site.cluster.run_cron_job("transform-logs")
    wait_for(lambda: by_night.condition)
    assert by_night.condition == "Complete", by_night.pods[0].sandbox.log()
    assert_all_there(site, scripted_lrs)


def test_local_is_refused_where_there_is_no_volume(site: ClusterSite) -> None:
    output = site.replay(status=1)
    [error] = [line for line in output.splitlines() if line.startswith("Error: ")]
    assert "TRANSFORM_LOGS_SOURCE_PROVIDER: on Kubernetes LOCAL is" in error
    assert "TRANSFORM_LOGS_K8S_DATA_CLAIM" in error
    assert not site.cluster.jobs
