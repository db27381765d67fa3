"""``tutor k8s do transform-tracking-logs``, to Ralph or to files: whatever happens to pods, all is there once."""

from __future__ import annotations

import json
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


def start_held(site: ClusterSite, lrs: ScriptedLrs, **settings: Any) -> tuple[subprocess.Popen[str], Job]:
    """Start a replay with two pods, whose work can't end before the gate of ``lrs`` opens; gives it and that Job."""
    for number in range(4):
        site.log_of_day(number)
    endpoint = {"url": lrs.url, "username": "u", "password": PASSWORD}
    site.save(**{**site.settings(2), "TRANSFORM_LOGS_LRS_ENDPOINTS": [endpoint], **settings})
    lrs.gate.clear()
    process = site.start_replay()
    wait_for(lambda: len(lrs.requests) >= 2)
    return process, site.cluster.job("work")


made: dict[int, dict[str, Any]] = {}


@pytest.mark.parametrize("pods", [1, 8])
def test_any_number_of_pods_makes_the_same(site: ClusterSite, pods: int) -> None:
    for number in range(16):
        site.log_of_day(number)
    site.save(**site.settings(pods))
    output = site.replay()
    assert "Every line and every statement is accounted for." in output
    follow = (
        "kubectl logs --namespace=openedx --selector=transform-logs/phase=work --follow --prefix --max-log-requests="
    )
    assert follow in output
    assert_all_there(site)
    made[pods] = site.statements()
    assert all(stored == made[pods] for stored in made.values())
    work = site.cluster.job("work")
    assert [len(work.pods), len(work.succeeded)] == [pods, pods]
    assert [len(job.pods) for job in site.cluster.jobs if job.phase != "work"] == [1, 1]
    if pods > 1:
        return
    assert "Nothing new in 16 objects" in site.replay()
    assert [job.phase for job in site.cluster.jobs] == ["plan", "work", "report", "plan"]


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
    site.replay()
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


def test_settings_that_change_between_two_runs(site: ClusterSite) -> None:
    for number in range(4):
        site.log_of_day(number)
    wrong = {"TRANSFORM_LOGS_LRS_ENDPOINTS": [{**site.lrs.endpoint, "username": "nobody"}]}
    site.save(**{**site.settings(2), **wrong})
    output = site.replay(status=1)
    assert "2 failed (number 0, 1): " in output
    assert "refuses the credentials (401)" in output
    assert site.statements() == {}
    # Another LMS's settings, another number of pods: other ConfigMaps, which nobody but the command applies.
    site.save(**site.settings(3), CONTACT_EMAIL="someone@else.test")
    site.replay()
    assert_all_there(site)
    assert len(site.cluster.job("work").pods) == 3
    used = [json.dumps(site.cluster.job("work", number).manifest) for number in (0, 1)]
    names = [name for kind, name in site.cluster.objects if kind == "ConfigMap" and name.startswith("openedx-config-")]
    assert len(names) == 2
    assert all(any(name in folder for folder in used) for name in names)


def test_a_job_that_is_started_twice(site: ClusterSite, scripted_lrs: ScriptedLrs) -> None:
    first, job = start_held(site, scripted_lrs)
    second = site.start_replay()
    said = site.replay("--status")
    assert f"{job.name} is running: of 2 pods, 0 have ended." in said
    assert second.stdout is not None
    waits = f"Waiting for an earlier run of this command to end: {job.name}"
    assert any(waits in line for line in second.stdout)
    scripted_lrs.gate.set()
    done = [site.finish(first), site.finish(second)]
    assert "Every line and every statement is accounted for." in done[0].must()
    assert "Nothing new in 4 objects" in done[1].must()
    assert_all_there(site, scripted_lrs)


def test_ctrl_c_ends_the_command_and_not_the_work(site: ClusterSite, scripted_lrs: ScriptedLrs) -> None:
    process, job = start_held(site, scripted_lrs)
    process.send_signal(signal.SIGINT)
    done = site.finish(process)
    assert done.status == 1
    assert "go on. Run the same command again" in done.output
    assert "kubectl delete jobs --namespace=openedx --selector=transform-logs/phase" in done.output
    assert job.condition not in ("Complete", "Failed")
    scripted_lrs.gate.set()
    site.replay()
    assert job.condition == "Complete"
    assert_all_there(site, scripted_lrs)


def test_the_schedule_takes_up_what_is_new_and_stays_out_of_a_runs_way(
    site: ClusterSite, scripted_lrs: ScriptedLrs
) -> None:
    process, _ = start_held(site, scripted_lrs, TRANSFORM_LOGS_K8S_CRON_SCHEDULE="30 2 * * *")
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


def test_init_makes_erbs_tables(site: ClusterSite) -> None:
    site.cluster.apply_as_tutor_start(site.root / "env")
    site.tutor("k8s", "do", "init", "--limit=transform_logs")
    [job] = site.cluster.jobs
    assert (job.phase, job.condition) == ("init", "Complete"), job.pods[0].sandbox.log()
    assert "event_routing_backends" in job.pods[0].sandbox.log()


def test_local_is_refused_where_there_is_no_volume(site: ClusterSite) -> None:
    output = site.replay(status=1)
    [error] = [line for line in output.splitlines() if line.startswith("Error: ")]
    assert "TRANSFORM_LOGS_SOURCE_PROVIDER: on Kubernetes LOCAL is" in error
    assert "TRANSFORM_LOGS_K8S_DATA_CLAIM" in error
    assert not site.cluster.jobs
