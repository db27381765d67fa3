"""What the cluster gets: the manifests that Tutor makes with the plugin, through kustomize, for each API version."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.harness.tutor_cli import Tutor
from tutor_transform_logs import manifests, rendering
from tutor_transform_logs.lms_job.deliver.choice import FROM_HOST

pytestmark = pytest.mark.slow

KUBECTL = Path(sys.executable).with_name("kubectl")
OLDEST, NEWEST = 27, int(kubernetes_validate.latest_version().split(".")[1])
PHASES = ("plan", "work", "report", "status", "verify", "gaps", "check", "init")
SECRETS = ("s3cr$t-of-the-source", "hu$h-of-the-lrs")
# What an object may have beside what kubectl would send: the whole of it, as JSON, in an annotation of this size.
ANNOTATIONS_BYTES = 262_144

# All at once: what is rendered only when it is set is rendered.
EVERYTHING = {
    "TRANSFORM_LOGS_K8S_PODS": "64",
    "TRANSFORM_LOGS_K8S_DATA_CLAIM": "old-logs",
    "TRANSFORM_LOGS_K8S_REQUESTS": '{"cpu": 2, "memory": "3Gi"}',
    "TRANSFORM_LOGS_K8S_LIMITS": '{"cpu": "4", "memory": "5Gi"}',
    "TRANSFORM_LOGS_K8S_NODE_SELECTOR": '{"pool": "batch"}',
    "TRANSFORM_LOGS_K8S_TOLERATIONS": '[{"key": "batch", "operator": "Exists", "effect": "NoSchedule"}]',
    "TRANSFORM_LOGS_K8S_SERVICE_ACCOUNT": "logs-reader",
    "TRANSFORM_LOGS_K8S_CRON_SCHEDULE": "30 2 * * *",
    "TRANSFORM_LOGS_K8S_CRON_HISTORY": "7",
    "TRANSFORM_LOGS_DOCKER_IMAGE": "{{ LMS_HOST }}/mine:1",
    "TRANSFORM_LOGS_SOURCE_PROVIDER": "MINIO",
    "TRANSFORM_LOGS_SOURCE_CONTAINER": "openedx",
    "TRANSFORM_LOGS_SOURCE_PREFIX": "logs/",
    "TRANSFORM_LOGS_SOURCE_KEY": "me",
    "TRANSFORM_LOGS_SOURCE_SECRET": SECRETS[0],
    "TRANSFORM_LOGS_LRS_ENDPOINTS": json.dumps([{"url": "https://lrs.test/xAPI", "bearer": SECRETS[1]}]),
}


def kustomized(tutor: Tutor) -> list[dict[str, Any]]:
    """All objects that Tutor's environment makes."""
    done = subprocess.run([KUBECTL, "kustomize", tutor.root / "env"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [obj for obj in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if obj]


def ours(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The plugin's objects, by kind and name; a ConfigMap's without its hash."""
    found = {}
    for obj in objects:
        name, kind = obj["metadata"]["name"], obj["kind"]
        if name.startswith("transform-logs"):
            found[f"{kind}/{name.rpartition('-')[0] if kind == 'ConfigMap' else name}"] = obj
    return found


def job_of(objects: list[dict[str, Any]], phase: str) -> dict[str, Any]:
    return ours(objects)[f"Job/{manifests.service(phase)}-job"]


def pod_of(objects: list[dict[str, Any]], phase: str) -> dict[str, Any]:
    pod: dict[str, Any] = job_of(objects, phase)["spec"]["template"]["spec"]
    return pod


def container_of(pod: dict[str, Any]) -> dict[str, Any]:
    [container] = pod["containers"]
    assert isinstance(container, dict)
    return container


def environ(container: dict[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in container["env"] if "value" in variable}


def volumes(pod: dict[str, Any]) -> dict[str, Any]:
    """Mount path to the volume, without its name."""
    by_name = {
        volume["name"]: {key: value for key, value in volume.items() if key != "name"} for volume in pod["volumes"]
    }
    mounts = container_of(pod)["volumeMounts"]
    assert {mount["name"] for mount in mounts} == set(by_name)
    return {mount["mountPath"].rstrip("/"): by_name[mount["name"]] for mount in mounts}


@pytest.fixture
def everything(each_tutor: Tutor) -> Tutor:
    """Every supported Tutor in turn, with all that can be set."""
    each_tutor.save(**EVERYTHING)
    return each_tutor


def as_tutor_applies(job: dict[str, Any]) -> dict[str, Any]:
    """A Job with what Tutor's task runner changes in it."""
    job = json.loads(json.dumps(job))
    job["metadata"]["name"] += "-20261124120000"
    job["metadata"]["labels"]["app.kubernetes.io/name"] = job["metadata"]["name"]
    job["spec"]["template"]["spec"]["containers"][0]["args"] = ["sh", "-e", "-c", "exec sh ..."]
    job["spec"].update(backoffLimit=1, ttlSecondsAfterFinished=3600)
    return job


def test_every_kubernetes_api_takes_them(everything: Tutor) -> None:
    objects = ours(kustomized(everything))
    assert len(objects) == len(PHASES) + 2 + len(manifests.code_folders()) + 1
    applied = [as_tutor_applies(obj) if obj["kind"] == "Job" else obj for obj in objects.values()]
    for minor in range(OLDEST, NEWEST + 1):
        for obj in applied:
            kubernetes_validate.validate(obj, f"1.{minor}", strict=True)


def test_with_nothing_set_the_pods_are_plain(each_tutor: Tutor) -> None:
    objects = kustomized(each_tutor)
    assert {key.split("/")[0] for key in ours(objects)} == {"ConfigMap", "Job"}
    kubernetes_validate.validate(as_tutor_applies(job_of(objects, "work")), f"1.{OLDEST}", strict=True)
    pod = pod_of(objects, "work")
    assert not {"nodeSelector", "tolerations", "serviceAccountName"} & set(pod)
    assert volumes(pod)["/openedx/data"] == {"emptyDir": {}}
    [lms_job] = [obj for obj in objects if obj["metadata"]["name"] == "lms-job"]
    theirs = lms_job["spec"]["template"]["spec"]
    assert container_of(pod)["image"] == container_of(theirs)["image"]
    assert environ(container_of(pod)).items() >= environ(container_of(theirs)).items()
    assert volumes(pod).items() >= volumes(theirs).items()


def test_the_settings_are_in_each_pod(everything: Tutor) -> None:
    objects = kustomized(everything)
    cron = ours(objects)["CronJob/transform-logs"]["spec"]
    pods = [pod_of(objects, phase) for phase in PHASES] + [cron["jobTemplate"]["spec"]["template"]["spec"]]
    for pod in pods:
        container = container_of(pod)
        assert container["image"] == "lms.test/mine:1"
        # Aspects' Vector collects the logs of containers that have the names of Tutor's own.
        assert container["name"] == "transform-logs"
        assert container["resources"] == {
            "requests": {"cpu": 2, "memory": "3Gi"},
            "limits": {"cpu": "4", "memory": "5Gi"},
        }
        assert pod["nodeSelector"] == {"pool": "batch"}
        assert pod["tolerations"] == [{"key": "batch", "operator": "Exists", "effect": "NoSchedule"}]
        assert pod["serviceAccountName"] == "logs-reader"
        assert volumes(pod)["/openedx/data"] == {"persistentVolumeClaim": {"claimName": "old-logs"}}
    assert (cron["schedule"], cron["concurrencyPolicy"]) == ("30 2 * * *", "Forbid")
    assert (cron["successfulJobsHistoryLimit"], cron["failedJobsHistoryLimit"]) == (7, 7)


def test_only_the_work_is_shared_out(everything: Tutor) -> None:
    objects = kustomized(everything)
    for phase in PHASES:
        spec = job_of(objects, phase)["spec"]
        pods = 64 if phase == "work" else 1
        assert (spec["completions"], spec["parallelism"]) == (pods, pods)
        assert spec.get("completionMode") == ("Indexed" if phase == "work" else None)
        first, *rest = spec["podFailurePolicy"]["rules"]
        assert first == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
        assert [rule["action"] for rule in rest] == ([] if phase == "work" else ["FailJob"])
    assert environ(container_of(pod_of(objects, "work")))["TRANSFORM_LOGS_K8S_PODS"] == "64"


def test_only_the_schedule_says_itself_where_statements_go(everything: Tutor) -> None:
    """Who starts a Job reads it from the command."""
    for key, obj in ours(kustomized(everything)).items():
        if "Job/" in key:
            spec = obj["spec"]["jobTemplate"]["spec"] if key.startswith("CronJob") else obj["spec"]
            names = {variable["name"] for variable in container_of(spec["template"]["spec"])["env"]}
            assert (FROM_HOST in names) == key.startswith("Job/"), key


def test_tutor_start_applies_the_schedule_and_no_job(everything: Tutor) -> None:
    """It leaves out what has this label, and Jobs would run if it did not."""
    for key, obj in ours(kustomized(everything)).items():
        labels = obj["metadata"]["labels"]
        assert (labels.get("app.kubernetes.io/component") == "job") == key.startswith("Job/"), key


def test_the_pods_may_do_nothing_that_they_need_not(everything: Tutor) -> None:
    objects = kustomized(everything)
    cron = ours(objects)["CronJob/transform-logs"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    for pod in [*(pod_of(objects, phase) for phase in PHASES), cron]:
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["runAsGroup"] == 1000
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container_of(pod)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        writable = {path for path, volume in volumes(pod).items() if "emptyDir" in volume}
        assert writable == {"/openedx/media", "/openedx/media-private", "/tmp"}


def test_the_pods_have_the_jobs_code(everything: Tutor) -> None:
    objects = kustomized(everything)
    by_name = {obj["metadata"]["name"]: obj for obj in objects if obj["kind"] == "ConfigMap"}
    mounted = volumes(pod_of(objects, "work"))
    sources = mounted["/openedx/transform-logs/tutor_transform_logs/lms_job"]["projected"]["sources"]
    code = [
        (item["path"], by_name[source["configMap"]["name"]]["data"][item["key"]])
        for source in sources
        for item in source["configMap"]["items"]
    ]
    folder = rendering.PACKAGE / "lms_job"
    there = {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in folder.rglob("*.py")}
    assert len(code) == len(dict(code))
    assert dict(code) == there
    tasks = by_name[mounted["/openedx/transform-logs/tasks"]["configMap"]["name"]]["data"]
    assert set(tasks) == {"run.sh", "init.sh"}


def test_each_object_fits_in_the_annotation_that_kubectl_makes(tutor: Tutor) -> None:
    """Or "tutor k8s start" would fail for the whole site."""
    for key, obj in ours(kustomized(tutor)).items():
        assert len(json.dumps(obj)) < ANNOTATIONS_BYTES - 20_000, key


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
    else:
        yield str(value)


def test_secrets_are_in_the_secret_alone(everything: Tutor) -> None:
    for key, obj in ours(kustomized(everything)).items():
        text = "\n".join(texts(obj))
        assert [secret in text for secret in SECRETS] == [key == "Secret/transform-logs-cron"] * 2, key


def test_only_the_owner_can_read_the_file_with_the_secrets(everything: Tutor) -> None:
    path = everything.root / "env/plugins/transform_logs/k8s/cron.yml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    everything.must("config", "save")
    assert SECRETS[0] in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_schedule_has_its_config_from_the_settings(everything: Tutor) -> None:
    objects = ours(kustomized(everything))
    config = json.loads(objects["Secret/transform-logs-cron"]["stringData"]["config.json"])
    assert config["source_secret"] == config["ledger_secret"] == SECRETS[0]
    assert config["lrs_endpoints"][0]["bearer"] == SECRETS[1]
    assert (config["ledger_provider"], config["ledger_container"]) == ("MINIO", "openedx")
    assert not any(key.startswith("k8s_") for key in config)
    pod = objects["CronJob/transform-logs"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    run = "exec sh /openedx/transform-logs/tasks/run.sh run /openedx/transform-logs/config/config.json"
    assert container_of(pod)["args"] == ["sh", "-e", "-c", run]
    assert volumes(pod)["/openedx/transform-logs/config"]["secret"]["secretName"] == "transform-logs-cron"


def test_a_changed_setting_reaches_the_schedule_with_config_save(tutor: Tutor) -> None:
    tutor.save(**EVERYTHING)
    tutor.save(TRANSFORM_LOGS_BATCH_SIZE="17")
    config = ours(kustomized(tutor))["Secret/transform-logs-cron"]["stringData"]["config.json"]
    assert json.loads(config)["batch_size"] == 17
    tutor.must("config", "save", "--unset", "TRANSFORM_LOGS_K8S_CRON_SCHEDULE")
    assert {key.split("/")[0] for key in ours(kustomized(tutor))} == {"ConfigMap", "Job"}


def test_a_schedule_for_a_job_that_can_not_run_is_refused_before_anything_is_written(tutor: Tutor) -> None:
    def files() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in (tutor.root / "env").rglob("*")}

    before = files()
    done = tutor("config", "save", "--set", "TRANSFORM_LOGS_K8S_CRON_SCHEDULE=30 2 * * *")
    assert done.status == 1
    assert "Error: TRANSFORM_LOGS_K8S_CRON_SCHEDULE is set, and its runs could not start: " in done.output
    assert "TRANSFORM_LOGS_SOURCE_PROVIDER: on Kubernetes LOCAL is" in done.output
    assert done.output.endswith("Run: tutor config save --unset TRANSFORM_LOGS_K8S_CRON_SCHEDULE\n")
    assert files() == before
    assert "applying filter" not in done.output
    # The plugin can be disabled all the same.
    tutor.must("plugins", "disable", "transform_logs")
    tutor.save(TRANSFORM_LOGS_K8S_CRON_SCHEDULE="")
