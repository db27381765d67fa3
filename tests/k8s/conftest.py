"""A site on the stand-in for a cluster: the real ``tutor``, a database with an LMS's tables, an image like an LMS's."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.harness.cluster import Cluster
from tests.harness.cluster_site import ClusterSite, new_lms_database
from tests.harness.mariadb import MariaDb
from tests.harness.object_store import SECRET_KEY, Bucket
from tests.harness.ralph import PASSWORD, Lrs
from tests.harness.sandbox import PYTHON, Image
from tests.harness.tutor_cli import TUTORS, tutor_bin
from tests.harness.tutor_site import TUTOR

REPOSITORY = Path(__file__).resolve().parents[2]
DEMO_LMS = REPOSITORY / "tutor_transform_logs" / "demo" / "lms"
PLATFORM = REPOSITORY / "tests" / "e2e" / "lms" / "edx-platform"

# Tutor looks every five seconds, and so does the command.
IMPATIENCE = """
import time
from tutor.commands import k8s
from tutor_transform_logs import kubernetes
k8s.sleep = lambda secs: time.sleep(secs / 50)
kubernetes.POLL_SECS = 0.1
kubernetes.QUIET_SECS = 15
"""


# Tutor 20's settings are for the edx-platform of its time, and for Django 4.2.
OF_TUTOR_20 = """
FEATURES["PREVIEW_LMS_BASE"] = "preview.lms.test"
from django.utils import deprecation
for name in ("RemovedInDjango50Warning", "RemovedInDjango51Warning"):
    setattr(deprecation, name, getattr(deprecation, name, DeprecationWarning))
"""


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """What an LMS image has: a Python with the LMS's packages and ERB, and edx-platform's folder."""
    platform = tmp_path_factory.mktemp("image") / "edx-platform"
    leave = shutil.ignore_patterns("__pycache__")
    for source in (DEMO_LMS, PLATFORM):
        shutil.copytree(source, platform, ignore=leave, dirs_exist_ok=True)
    with (platform / "lms" / "envs" / "production.py").open("a") as settings:
        settings.write(OF_TUTOR_20)
    for name in ("lms", "cms"):
        (platform / name / "envs" / "tutor").mkdir(parents=True)
    environ = {
        "PATH": f"{PYTHON}/bin:/usr/bin:/bin",
        "HOME": "/openedx",
        "LMS_CFG": "/openedx/config/lms.env.yml",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }
    static_files = platform.parent / "staticfiles"
    static_files.mkdir()
    return Image({"/openedx/edx-platform": platform, "/openedx/staticfiles": static_files}, environ)


@pytest.fixture(scope="session")
def lms_database(mariadb_server: MariaDb) -> dict[str, Any]:
    """Tutor's settings for a database with people and courses."""
    return new_lms_database(mariadb_server)


def make_root(folder: Path, settings: dict[str, Any], tutor: Path = TUTOR, plugin: Path | None = None) -> None:
    """Make a Tutor root in ``folder``, with the plugins' folder beside it."""
    (folder / "plugins").mkdir(parents=True)
    (folder / "plugins" / "impatience.py").write_text(IMPATIENCE)
    environ = tutor_environ(folder, plugin)
    off = {f"RUN_{name}": "false" for name in ("MYSQL", "MONGODB", "REDIS", "SMTP", "MEILISEARCH")}
    # The host is part of each actor, and so of the ids of statements: that of the LMS in the tests' own process.
    hosts = {"LMS_HOST": "localhost:18000", "CMS_HOST": "studio.lms.test", "REDIS_PORT": 1}
    pairs = [word for name, value in {**off, **hosts, **settings}.items() for word in ("--set", f"{name}={value}")]
    for command in (["plugins", "enable", "transform_logs", "impatience"], ["config", "save", *pairs]):
        done = subprocess.run([tutor, *command], env=environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def saved_root(tmp_path_factory: pytest.TempPathFactory, lms_database: dict[str, Any]) -> Path:
    """A folder with a Tutor root that is only ever copied."""
    folder = tmp_path_factory.mktemp("tutor") / "saved"
    make_root(folder, lms_database)
    return folder


def tutor_environ(folder: Path, plugin: Path | None = None) -> dict[str, str]:
    """Nothing of the user's own Tutor or cluster may be seen."""
    mine = ("TUTOR_", "DJANGO_", "PYTHON", "DEMO_", "KUBE")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(mine)}
    return {
        **inherited,
        "TUTOR_ROOT": str(folder / "root"),
        "TUTOR_PLUGINS_ROOT": str(folder / "plugins"),
        "COLUMNS": "120",
        "NO_COLOR": "1",
        **({"PYTHONPATH": str(plugin)} if plugin else {}),
    }


def start_proxy(site: ClusterSite) -> None:
    """What ``tutor k8s start caddy`` starts: Tutor wants it to be ready before any job."""
    instance = yaml.safe_load((site.root / "config.yml").read_text())["ID"]
    labels = {"app.kubernetes.io/instance": f"openedx-{instance}", "app.kubernetes.io/name": "caddy"}
    site.cluster.objects["Deployment", "caddy"] = {"metadata": {"labels": labels}}


@contextlib.contextmanager
def a_site(
    folder: Path, image: Image, environ: dict[str, str], tutor: Path, bucket: Bucket, lrs: Lrs
) -> Iterator[ClusterSite]:
    """A site on a fresh cluster; ``environ`` says where its root is."""
    cluster = Cluster(folder / "cluster", image)
    with cluster.serve() as of_cluster:
        path = of_cluster.pop("CLUSTER_PATH") + os.pathsep + environ["PATH"]
        environ = {**environ, **of_cluster, "PATH": path}
        site = ClusterSite(folder, environ, tutor, cluster=cluster, bucket=bucket, lrs=lrs)
        start_proxy(site)
        yield site
        assert_no_secret(site)


@pytest.fixture
def site(saved_root: Path, image: Image, tmp_path: Path, nanio_bucket: Bucket, lrs: Lrs) -> Iterator[ClusterSite]:
    """A fresh site."""
    shutil.copytree(saved_root, tmp_path / "tutor")
    with a_site(tmp_path, image, tutor_environ(tmp_path / "tutor"), TUTOR, nanio_bucket, lrs) as made:
        yield made


@pytest.fixture
def old_site(
    image: Image, tmp_path: Path, lms_database: dict[str, Any], nanio_bucket: Bucket, lrs: Lrs, installed: Path
) -> Iterator[ClusterSite]:
    """A fresh site with the oldest Tutor, whose way to start a Job is another."""
    tutor = tutor_bin(TUTORS[0]) / "tutor"
    make_root(tmp_path / "tutor", lms_database, tutor, installed)
    with a_site(tmp_path, image, tutor_environ(tmp_path / "tutor", installed), tutor, nanio_bucket, lrs) as made:
        yield made


def assert_no_secret(site: ClusterSite) -> None:
    """In no argument, no Job, no pod's environment or log, and on no terminal; and none is left when a run is over."""
    places = [*site.printed, *(" ".join(call["argv"]) for call in site.cluster.calls)]
    for job in site.cluster.jobs:
        places += [json.dumps(job.manifest), *(pod.sandbox.log() for pod in job.pods)]
    places += [json.dumps(obj) for (kind, _), obj in site.cluster.objects.items() if kind != "Secret"]
    for secret in (SECRET_KEY, PASSWORD):
        assert not [place[:2000] for place in places if secret in place]
