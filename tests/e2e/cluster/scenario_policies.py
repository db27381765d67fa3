"""What a cluster allows and what it does by itself: its rules for a namespace, volumes, schedules, the API's limits."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e import images as image_module
from tests.e2e.cluster.control_plane import KUBECTL, ControlPlane
from tests.e2e.cluster.site import Cluster, KubernetesSite
from tests.e2e.docker import Docker
from tests.e2e.images import Images
from tests.harness.cluster_site import new_lms_database
from tests.harness.http_sinks import ScriptedLrs
from tests.harness.mariadb import MariaDb
from tests.harness.process import ServiceError
from tutor_transform_logs.kubectl import ANNOTATIONS_BYTES, DATA_BYTES, applied_size
from tutor_transform_logs.lms_job.util.formatting import count

Say = Callable[..., None]
MakeSite = Callable[..., KubernetesSite]


def test_the_api_servers_take_all_manifests(new_site: MakeSite, newest: ControlPlane, found: Say) -> None:
    """All that Tutor's environment makes with this plugin, as ``tutor k8s start`` and ``do`` would send it.

    That of the newest version, too.
    """
    site = new_site(
        TRANSFORM_LOGS_K8S_CRON_SCHEDULE="30 2 * * *",
        TRANSFORM_LOGS_K8S_NODE_SELECTOR={"pool": "batch"},
        TRANSFORM_LOGS_K8S_TOLERATIONS=[{"key": "batch", "operator": "Exists"}],
        TRANSFORM_LOGS_K8S_REQUESTS={"cpu": "2", "memory": "2Gi"},
        TRANSFORM_LOGS_K8S_LIMITS={"memory": "4Gi"},
        TRANSFORM_LOGS_K8S_SERVICE_ACCOUNT="logs-reader",
        TRANSFORM_LOGS_K8S_DATA_CLAIM="old-logs",
    )
    site.save(**site.settings(8))
    mine = [document for document in site.kustomized() if "transform-logs" in document["metadata"]["name"]]
    kinds = sorted({document["kind"] for document in mine})
    assert kinds == ["ConfigMap", "CronJob", "Job", "Secret"]
    newest.kubectl("create", "namespace", site.namespace)
    check = ("--dry-run=server", "--validate=strict")

    for server in (site.cluster.plane, newest):
        assert server.apply(mine, *check).count("created (server dry run)") == len(mine)
        # It does check: these two are wrong.
        job = next(document for document in mine if document["kind"] == "Job")
        for wrong, message in (
            ({"podFailurePolice": {}}, "unknown field"),
            ({"completionMode": "Any"}, "completionMode"),
        ):
            with pytest.raises(ServiceError, match=message):
                server.apply([{**job, "spec": {**job["spec"], **wrong}}], *check)
    version = json.loads(newest.kubectl("get", "--raw=/version"))["gitVersion"]
    found(f"{len(mine)} objects of {', '.join(kinds)} pass the validation of this API server and of {version}")


def test_a_restricted_namespace_with_a_quota(new_site: MakeSite, found: Say) -> None:
    """Pod security ``restricted`` is enforced, and each pod must say what it needs."""
    site = new_site()
    for number in range(4):
        site.log_of_day(number)
    needs = {"cpu": "100m", "memory": "400Mi"}
    # Two pods at a time are all that the quota allows, beside the one that is there.
    site.save(**site.settings(2), TRANSFORM_LOGS_K8S_REQUESTS=needs, TRANSFORM_LOGS_K8S_LIMITS={"memory": "900Mi"})
    site.wait(lambda: site.items("pods"))
    # From now on: what Tutor itself starts would not be allowed to.
    levels = [f"pod-security.kubernetes.io/{what}=restricted" for what in ("enforce", "warn")]
    site.cluster.plane.kubectl("label", "namespace", site.namespace, *levels)
    quota = {"requests.cpu": "1", "requests.memory": "1Gi", "limits.memory": "2Gi", "pods": "3"}
    site.cluster.plane.create(
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "quota", "namespace": site.namespace},
            "spec": {"hard": quota},
        }
    )

    output = site.replay()

    assert "would violate" not in output
    site.assert_all_there()
    assert site.phases() == ["plan", "work", "report"]
    found("nothing of it violates the standard, and the quota holds")


def test_logs_and_output_on_a_volume(new_site: MakeSite, tmp_path: Path, found: Say) -> None:
    """LOCAL on a claim, of which the pods' user owns nothing: its group may write."""
    site = new_site()
    folder = site.folder / "volume"
    (folder / "logs").mkdir(parents=True)
    (folder / "out").mkdir()
    for number in range(2):
        site.log_of_day(number)
    for path in sorted(site.folder.glob("logs/tracking.log-*")):
        (folder / "logs" / path.name).write_bytes(path.read_bytes())
    for path in (folder, *folder.rglob("*")):
        os.chown(path, 0, 1000)
        path.chmod(0o2775 if path.is_dir() else 0o640)
    size = {"storage": "1Gi"}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": site.namespace},
        "spec": {
            "capacity": size,
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "",
            "hostPath": {"path": str(folder)},
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "old-logs", "namespace": site.namespace},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "",
            "volumeName": site.namespace,
            "resources": {"requests": size},
        },
    }
    site.cluster.plane.create(volume)
    site.cluster.plane.create(claim)
    try:
        site.save(
            TRANSFORM_LOGS_K8S_DATA_CLAIM="old-logs",
            TRANSFORM_LOGS_K8S_PODS=2,
            TRANSFORM_LOGS_DESTINATION_PROVIDER="LOCAL",
            TRANSFORM_LOGS_DESTINATION_CONTAINER="out",
        )
        site.replay()
    finally:
        site.cluster.plane.kubectl("delete", "persistentvolume", site.namespace, "--wait=false")
    written = [path for path in (folder / "out").glob("*_xapi_*") if "manifest" not in path.name]
    ids = [json.loads(line)["id"] for path in written for line in path.read_text().splitlines()]
    assert len(ids) == len(set(ids)) == site.statements_expected
    assert {path.stat().st_uid for path in written} == {1000}
    found(f"{count(len(written), 'file')} of user 1000 on the volume, and the ledger beside it", len(ids))


def test_the_schedule_fires_once_at_a_time(new_site: MakeSite, scripted_lrs: ScriptedLrs, found: Say) -> None:
    """It fires by the controller's clock, and not while a run of it is active."""
    site = new_site()
    site.log_of_day(0)
    every_minute = {"TRANSFORM_LOGS_K8S_CRON_SCHEDULE": "* * * * *"}
    site.save(**{**site.settings(1), **site.to_gate(scripted_lrs), **every_minute})
    scripted_lrs.gate.clear()
    site.apply(site.kustomized("ConfigMap", "Secret", "CronJob"))

    [first] = site.wait(lambda: site.items("jobs", "run"))
    # A minute later it would be the next one's turn.
    site.wait(lambda: site.kubectl("get", "events", "--field-selector=reason=JobAlreadyActive", "-oname").strip())
    active = [job for job in site.items("jobs", "run") if job["status"].get("active")]

    assert [job["metadata"]["name"] for job in active] == [first["metadata"]["name"]]
    site.kubectl("patch", "cronjob", "transform-logs", '--patch={"spec": {"suspend": true}}')
    scripted_lrs.gate.set()
    site.wait(lambda: all(job["status"].get("succeeded") for job in site.items("jobs", "run")))
    assert len(scripted_lrs.statements) == site.statements_expected
    site.assert_no_secret()
    found("fired by itself, and not while it ran", len(scripted_lrs.statements))


def test_init_makes_erbs_tables(new_site: MakeSite, mariadb_server: MariaDb, found: Say) -> None:
    """In a database that has those of the LMS and no other."""
    databases = new_lms_database(mariadb_server)
    name = databases["OPENEDX_MYSQL_DATABASE"]
    [*tables] = mariadb_server.column(name, "SHOW TABLES LIKE 'event_routing_backends%'")
    assert tables
    mariadb_server.column(name, f"DROP TABLE {', '.join(tables)}")
    mariadb_server.column(name, "DELETE FROM django_migrations WHERE app = 'event_routing_backends'")
    site = new_site()
    site.save(**site.from_pods(databases))
    site.apply(site.kustomized("ConfigMap"))

    site.tutor("k8s", "do", "init", "--limit=transform_logs")

    assert mariadb_server.column(name, "SHOW TABLES LIKE 'event_routing_backends%'") == tables
    [job] = site.items("jobs", "init")
    [pod] = site.items("pods", "init")
    assert job["status"]["succeeded"] == 1
    assert "event_routing_backends" in site.kubectl("logs", pod["metadata"]["name"])
    found(f"{count(len(tables), 'table')} of ERB made by the Job {job['metadata']['name']}")


def test_an_image_without_erb(new_site: MakeSite, images: Images, docker: Docker, cluster: Cluster, found: Say) -> None:
    """The thin image on top of it, built and given to the node as a registry would."""
    cluster.node.add_image(docker, images.lms_without_erb)
    site = new_site(DOCKER_IMAGE_OPENEDX=images.lms_without_erb)
    of_docker = {key: value for key, value in docker.environment.items() if key.startswith(("DOCKER_", "BUILDKIT_"))}
    path = os.pathsep.join([docker.environment["PATH"].split(os.pathsep)[0], site.environment["PATH"]])
    site.environment.update(of_docker | {"PATH": os.pathsep.join([str(KUBECTL.parent), path])})
    site.log_of_day(0)
    site.save(**site.settings(1))
    assert "The LMS image lacks" in site.replay(status=1)

    with image_module.served(images.index) as index_url:
        options = ("-a", f"PIP_INDEX_URL={index_url}", "--docker-arg=--network=host")
        site.tutor("images", "build", "transform-logs", *options)
    [tag] = [line for line in site.tutor("images", "printtag", "transform-logs").splitlines() if "transform" in line]
    cluster.node.add_image(docker, tag)
    site.save(TRANSFORM_LOGS_DOCKER_IMAGE="transform-logs")
    site.replay()

    site.assert_all_there()
    used = {pod["spec"]["containers"][0]["image"] for pod in site.items("pods", "work")}
    assert used == {tag}
    found(f"an error, then with {tag}")


def test_objects_that_are_too_large_are_not_sent(new_site: MakeSite, found: Say) -> None:
    """The plugin's limits are the API server's: what it would send is taken, and one byte more is not."""
    site = new_site()
    document: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "large", "namespace": site.namespace},
        "data": {"text": "<é&>"},
    }
    document["data"]["text"] += "x" * (ANNOTATIONS_BYTES - applied_size(document))
    assert "created" in site.apply([document])
    document["metadata"]["name"] = "large2"
    with pytest.raises(ServiceError, match="may not be more than 262144 bytes"):
        site.apply([document])
    secret: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "large", "namespace": site.namespace},
        "data": {"config": base64.b64encode(b"x" * DATA_BYTES).decode()},
    }
    assert "applied" in site.apply([secret], "--server-side")
    secret["data"]["more"] = base64.b64encode(b"x").decode()
    with pytest.raises(ServiceError, match="may not be more than 1048576 bytes"):
        site.apply([secret], "--server-side")

    site.log_of_day(0)
    site.save(**site.settings(1))
    # No argument of a command can be as long as this.
    config = site.root / "config.yml"
    settings = yaml.safe_load(config.read_text())
    settings["TRANSFORM_LOGS_EVENT"] = [f"event-{number:04000d}" for number in range(300)]
    config.write_text(yaml.safe_dump(settings))
    printed = site.replay(status=1)

    assert "The Secret transform-logs-run would have 1," in printed
    assert site.items("jobs") == []
    found("an object of the largest size is taken, one byte more is not; the command sends none that is larger")
