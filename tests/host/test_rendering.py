"""What Tutor makes of the plugin: the compose files, and the job's code in its environment."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.harness.tutor_cli import Tutor
from tutor_transform_logs.__about__ import __version__
from tutor_transform_logs.lms_job.deliver.choice import FROM_HOST
from tutor_transform_logs.lms_job.report.host_paths import HOST_DATA
from tutor_transform_logs.lms_job.report.site import PLUGIN_VERSION
from tutor_transform_logs.lms_job.util import phase_outcome

pytestmark = pytest.mark.slow

LOCAL = ("local/docker-compose.yml", "local/docker-compose.prod.yml", "local/docker-compose.jobs.yml")
DEV = (
    "local/docker-compose.yml",
    "dev/docker-compose.yml",
    "local/docker-compose.jobs.yml",
    "dev/docker-compose.jobs.yml",
)


def service(tutor: Tutor, files: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = tutor.compose(*files)["transform-logs-job"]
    return found


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """Container folder to host folder and options."""
    parts = [volume.split(":", 2) for volume in service["volumes"]]
    return {container: ":".join([host, *options]) for host, container, *options in parts}


def major(tutor: Tutor) -> int:
    return int(tutor.must("--version").rsplit(maxsplit=1)[1].split(".")[0])


def test_the_job_service_is_complete(each_tutor: Tutor) -> None:
    services = each_tutor.compose(*LOCAL)
    ours, lms_job, lms = (services[name] for name in ("transform-logs-job", "lms-job", "lms"))
    assert ours["image"] == "${TRANSFORM_LOGS_JOB_IMAGE:-" + lms_job["image"] + "}"
    passed = {name: f"${{{name}:-}}" for name in (HOST_DATA, phase_outcome.VARIABLE)}
    added = {"PYTHONPATH": "/openedx/transform-logs", FROM_HOST: "1", PLUGIN_VERSION: __version__, **passed}
    assert ours["environment"] == {**lms_job["environment"], **added}
    assert set(ours["depends_on"]) == {"permissions", *lms_job["depends_on"]}
    assert ours["depends_on"]["permissions"] == {"condition": "service_completed_successfully"}

    z = "" if major(each_tutor) == 20 else "z"
    there = mounts(ours)
    assert there["/openedx/data"] == mounts(lms)["/openedx/data"]
    assert there["/openedx/data"].split(":")[0] == "../../data/lms"
    # Tutor 21 and 22 write "roz", which docker compose does not know, and takes for read and write.
    for container, volume in mounts(lms_job).items():
        if container != "/openedx/data":
            assert there[container].replace("ro,z", "roz") == volume
    for container in ("tutor_transform_logs/lms_job", "tasks", "config"):
        host, options = there[f"/openedx/transform-logs/{container}"].split(":")
        assert options.split(",") == ["ro", *([z] if z else [])]
        if container != "config":
            assert (each_tutor.root / "env/local" / host).resolve().is_dir()


def test_in_dev_it_is_the_dev_images(each_tutor: Tutor) -> None:
    services = each_tutor.compose(*DEV)
    ours, lms_job = services["transform-logs-job"], services["lms-job"]
    assert ours["environment"]["DJANGO_SETTINGS_MODULE"] == "lms.envs.tutor.development"
    assert ours["environment"]["SERVICE_VARIANT"] == "lms"
    assert "/openedx/transform-logs/config" in mounts(ours)
    text = (each_tutor.root / "env/dev/docker-compose.jobs.yml").read_text()
    assert ours["build"]["target"] == "development"
    assert f"image: {ours['image'].removeprefix('${TRANSFORM_LOGS_JOB_IMAGE:-').removesuffix('}')}\n" in text
    assert lms_job


def test_an_image_of_ones_own(tutor: Tutor) -> None:
    tutor.save(TRANSFORM_LOGS_DOCKER_IMAGE="{{ LMS_HOST }}/mine:1")
    assert service(tutor, LOCAL)["image"] == "${TRANSFORM_LOGS_JOB_IMAGE:-lms.test/mine:1}"
    dev = service(tutor, DEV)
    assert dev["image"] == "${TRANSFORM_LOGS_JOB_IMAGE:-lms.test/mine:1}"
    assert "build" not in dev


@pytest.mark.parametrize("image", ["a: b", "x #y", "'q' & \"d\"", "{[", "*x", "100", "a$b", "\\u0041"])
def test_an_image_is_text_whatever_is_in_it(tutor: Tutor, image: str) -> None:
    """Docker refuses most of these names itself, and says which; a file that is not YAML would break every command."""
    tutor.save(TRANSFORM_LOGS_DOCKER_IMAGE=json.dumps(image))
    expected = "${TRANSFORM_LOGS_JOB_IMAGE:-" + image.replace("$", "$$") + "}"
    assert service(tutor, LOCAL)["image"] == expected
    assert service(tutor, DEV)["image"] == expected
    jobs = (tutor.root / "env/k8s/jobs.yml").read_text()
    pods = [job["spec"]["template"]["spec"] for job in yaml.safe_load_all(jobs) if job]
    images = {pod["containers"][0]["image"] for pod in pods if pod["containers"][0]["name"] == "transform-logs"}
    assert images == {image}


def test_mounts_of_edx_platform_apply_as_to_lms_job(each_tutor: Tutor, tmp_path: Path) -> None:
    platform, other = tmp_path / "edx-platform", tmp_path / "old-logs"
    for folder in (platform, other):
        folder.mkdir()
    both = f"lms-job,transform-logs-job:{other}:/old-logs"
    for mount in (str(platform), both):
        each_tutor.must("config", "save", "--append", f"MOUNTS={mount}")
    services = each_tutor.compose(*LOCAL)
    ours = services["transform-logs-job"]["volumes"]
    for mount in (f"{platform}:/openedx/edx-platform", f"{other}:/old-logs"):
        assert len([volume for volume in services["lms-job"]["volumes"] if volume.startswith(mount)]) == 1
        assert len([volume for volume in ours if volume.startswith(mount)]) == 1, ours


def test_it_needs_no_other_service_than_the_site_runs(tutor: Tutor) -> None:
    tutor.save(RUN_MYSQL="false", RUN_MONGODB="false", RUN_MEILISEARCH="false")
    assert list(service(tutor, LOCAL)["depends_on"]) == ["permissions"]


def test_it_starts_the_object_store_of_tutor_minio(tutor: Tutor) -> None:
    """Its service is called minio, whatever its settings."""
    patch = "minio:\n  image: docker.io/minio/minio\n"
    plugin = {"name": "minio", "version": "22.0.0", "patches": {"local-docker-compose-services": patch}}
    (Path(tutor.environ["TUTOR_PLUGINS_ROOT"]) / "minio.yml").write_text(json.dumps(plugin))
    tutor.must("plugins", "enable", "minio")
    tutor.must("config", "save")
    assert service(tutor, LOCAL)["depends_on"]["minio"] == {"condition": "service_started"}


def test_the_jobs_code_is_rendered_as_it_is(each_tutor: Tutor, checkout: Path) -> None:
    code = checkout / "tutor_transform_logs" / "lms_job"
    rendered = each_tutor.root / "env/plugins/transform_logs/lms_job"
    sources = sorted(path.relative_to(code) for path in code.rglob("*.py"))
    assert sorted(path.relative_to(rendered) for path in rendered.rglob("*") if path.is_file()) == sources
    for name in sources:
        assert (rendered / name).read_bytes() == (code / name).read_bytes(), name


def test_nothing_else_of_the_package_is_rendered(each_tutor: Tutor) -> None:
    env = each_tutor.root / "env"
    assert {path.name for path in (env / "plugins").iterdir()} == {"transform_logs"}
    assert {path.name for path in (env / "plugins/transform_logs").iterdir()} == {"build", "k8s", "lms_job", "tasks"}
    assert not [path for path in env.iterdir() if path.name in ("demo", "patches", "templates", "plugin.py")]
    # Lists the patches by rendering every template of every root: it must not choke on Python or on samples.
    assert "local-docker-compose-jobs-services" in each_tutor.must("config", "patches", "list")


def test_disabling_the_plugin_takes_its_service_away_and_leaves_its_files(each_tutor: Tutor) -> None:
    """docs/howto/uninstall.rst says so: each Tutor forgets a plugin's targets before it would delete them."""
    each_tutor.must("plugins", "disable", "transform_logs")
    each_tutor.must("config", "save")
    assert "transform-logs-job" not in (each_tutor.root / "env/local/docker-compose.jobs.yml").read_text()
    assert (each_tutor.root / "env/plugins/transform_logs/lms_job").is_dir()


def test_the_rendered_code_runs_with_nothing_else_of_the_package(tutor: Tutor, tmp_path: Path) -> None:
    """As in the container: the one folder mounted below a folder that is on PYTHONPATH."""
    package = tmp_path / "tutor_transform_logs"
    package.mkdir()
    (package / "lms_job").symlink_to(tutor.root / "env/plugins/transform_logs/lms_job")
    code = "import tutor_transform_logs.lms_job.config as c, sys; print(c.__file__); print(len(sys.modules))"
    environ = {"PYTHONPATH": str(tmp_path), "PATH": ""}
    command = [sys.executable, "-S", "-c", code]  # -S: without this environment's own installed plugin
    done = subprocess.run(command, env=environ, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.startswith(str(package)), done.stderr


def test_the_script_passes_shellcheck_and_ends_with_the_jobs_status(tutor: Tutor, tmp_path: Path) -> None:
    script = tutor.root / "env/plugins/transform_logs/tasks/run.sh"
    subprocess.run([Path(sys.executable).parent / "shellcheck", script], check=True)
    text = script.read_text().replace("/openedx/edx-platform", str(tmp_path))
    (tmp_path / "python").write_text('#!/bin/sh\necho "$@"\nexit 4\n')
    (tmp_path / "python").chmod(0o755)
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(["sh", "-c", text, "run.sh", "run", "/a b"], env=environ, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (4, "-m tutor_transform_logs.lms_job run --config /a b\n")
    command = ["sh", "-c", text, "run.sh", "work", "/a", "3/8"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert done.stdout == "-m tutor_transform_logs.lms_job work --config /a --share 3/8\n"
    # From elsewhere, a relative path is that of a file there, and not one beside manage.py.
    (tmp_path / "here").mkdir()
    for given, used in (("a b.json", f"{tmp_path}/here/a b.json"), ("-", "-")):
        command = ["sh", "-c", text, "run.sh", "run", given]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, cwd=tmp_path / "here")
        assert done.stdout == f"-m tutor_transform_logs.lms_job run --config {used}\n"


@pytest.mark.parametrize("files", [LOCAL, DEV])
def test_the_config_folder_is_the_one_that_the_command_writes(tutor: Tutor, files: tuple[str, ...]) -> None:
    path = Path(tutor.replay().job["path"])
    host = mounts(service(tutor, files))["/openedx/transform-logs/config"].split(":")[0]
    assert (tutor.root / "env/local" / host).resolve() == path.parent.resolve()
