"""A site on the stand-in for a cluster: the real ``tutor``, a database with an LMS's tables, an image like an LMS's."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.host.conftest import TUTORS, tutor_bin
from tests.k8s.cluster import Cluster
from tests.k8s.sandbox import PYTHON, Image
from tests.services.job import DemoLms
from tests.services.mariadb import MariaDb
from tests.services.object_store import SECRET_KEY, Bucket
from tests.services.ralph import PASSWORD, Lrs
from tutor_transform_logs.demo.log_writer import START, Mix, write_log

REPOSITORY = Path(__file__).resolve().parents[2]
DEMO_LMS = REPOSITORY / "tutor_transform_logs" / "demo" / "lms"
PLATFORM = REPOSITORY / "tests" / "e2e" / "lms" / "edx-platform"
TUTOR = Path(sys.executable).with_name("tutor")

# Tutor looks every five seconds, and so does the command.
IMPATIENCE = """
import time
from tutor.commands import k8s
from tutor_transform_logs import kubernetes
k8s.sleep = lambda secs: time.sleep(secs / 50)
kubernetes.POLL_SECS = 0.1
kubernetes.QUIET_SECS = 5
"""


# Tutor 20's settings are for the edx-platform of its time, and for Django 4.2.
OF_TUTOR_20 = """
FEATURES["PREVIEW_LMS_BASE"] = "preview.lms.test"
from django.utils import deprecation
for name in ("RemovedInDjango50Warning", "RemovedInDjango51Warning"):
    setattr(deprecation, name, getattr(deprecation, name, DeprecationWarning))
"""


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    status: int
    output: str

    def must(self, status: int = 0) -> str:
        """Its output, if it ended so."""
        assert self.status == status, f"ended with {self.status}, not {status}:\n{self.output[-6000:]}"
        return self.output


@dataclass(frozen=True)
class Site:
    """A Tutor root, the cluster it is on, and where its logs are and go."""

    root: Path
    environ: dict[str, str]
    cluster: Cluster
    bucket: Bucket
    lrs: Lrs
    tutor: Path = TUTOR
    outputs: list[str] = field(default_factory=list)
    """What each command printed."""

    def printed(self) -> str:
        """All that commands printed."""
        return "\n".join(self.outputs)

    def start(self, *args: str) -> subprocess.Popen[str]:
        """Start ``tutor ARGS``."""
        return subprocess.Popen(
            [self.tutor, *args],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def finish(self, process: subprocess.Popen[str]) -> Done:
        """Wait for a command."""
        try:
            output, _ = process.communicate(timeout=180)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            logs = "\n".join(pod.sandbox.log()[-1500:] for job in self.cluster.jobs for pod in job.running())
            raise AssertionError(f"tutor did not end:\n{output[-3000:]}\nrunning pods:\n{logs}") from None
        self.outputs.append(output)
        return Done(process.returncode, output)

    def save(self, **settings: Any) -> None:
        """``tutor config save``."""
        pairs = (word for name, value in settings.items() for word in ("--set", f"{name}={value}"))
        self.finish(self.start("config", "save", *pairs)).must()

    def replay(self, *options: str) -> Done:
        """The command under test."""
        return self.finish(self.start("k8s", "do", "transform-tracking-logs", *options))

    def start_replay(self, *options: str) -> subprocess.Popen[str]:
        """Start the command under test."""
        return self.start("k8s", "do", "transform-tracking-logs", *options)

    def log(self, number: int, good: int = 12) -> None:
        """Put a log into the bucket, of people whom every LMS knows; no two have a statement in common."""
        path = self.root.parent / f"tracking.log-{number}"
        start = START + timedelta(days=number)
        write_log(path, Mix(good=good, page_view=10, broken=1), seed=number, users=6, start=start)
        self.bucket.put(f"logs/{path.name}", path)

    def settings(self, pods: int, destination: dict[str, Any] | None = None) -> dict[str, Any]:
        """The settings of a run."""
        values = self.bucket.settings("source", prefix="logs/")
        values["lrs_endpoints"] = f"[{self.endpoint}]"
        values |= {"batch_size": 4, "lrs_max_wait_secs": 5, "k8s_pods": pods, **(destination or {})}
        return {f"TRANSFORM_LOGS_{key.upper()}": value for key, value in values.items()}

    @property
    def endpoint(self) -> str:
        lrs = self.lrs
        return f'{{"url": "{lrs.url}", "username": "{lrs.username}", "password": "{lrs.password}"}}'

    def statements(self) -> dict[str, Any]:
        """What the LRS has, by id, without what it adds itself."""
        found = self.lrs.statements()
        own = [{key: value for key, value in one.items() if key not in ("stored", "authority")} for one in found]
        by_id = {one["id"]: one for one in own}
        assert len(by_id) == len(own)
        return by_id


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
    databases = mariadb_server.new_database()
    DemoLms(databases=databases).set_up(users=6, courses=5)
    default = databases["default"]
    return {
        "MYSQL_HOST": default["HOST"],
        "MYSQL_PORT": default["PORT"],
        "OPENEDX_MYSQL_DATABASE": default["NAME"],
        "OPENEDX_MYSQL_USERNAME": default["USER"],
    }


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


@contextlib.contextmanager
def a_site(
    folder: Path, image: Image, environ: dict[str, str], tutor: Path, bucket: Bucket, lrs: Lrs
) -> Iterator[Site]:
    """A site on a fresh cluster; ``environ`` says where its root is."""
    cluster = Cluster(folder / "cluster", image)
    with cluster.serve() as of_cluster:
        path = of_cluster.pop("CLUSTER_PATH") + os.pathsep + environ["PATH"]
        root = Path(environ["TUTOR_ROOT"])
        site = Site(root, {**environ, **of_cluster, "PATH": path}, cluster, bucket, lrs, tutor)
        yield site
        assert_no_secret(site)


@pytest.fixture
def site(saved_root: Path, image: Image, tmp_path: Path, nanio_bucket: Bucket, lrs: Lrs) -> Iterator[Site]:
    """A fresh site."""
    shutil.copytree(saved_root, tmp_path / "tutor")
    with a_site(tmp_path, image, tutor_environ(tmp_path / "tutor"), TUTOR, nanio_bucket, lrs) as made:
        yield made


@pytest.fixture
def old_site(
    image: Image, tmp_path: Path, lms_database: dict[str, Any], nanio_bucket: Bucket, lrs: Lrs
) -> Iterator[Site]:
    """A fresh site with the oldest Tutor, whose way to start a Job is another."""
    plugin = tmp_path / "plugin"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    checkout = tmp_path / "checkout"
    leave = shutil.ignore_patterns("__pycache__", ".*", "demo-output")
    shutil.copytree(REPOSITORY, checkout, ignore=leave)
    subprocess.run([*pip, "--target", plugin, checkout], check=True)
    tutor = tutor_bin(TUTORS[0]) / "tutor"
    make_root(tmp_path / "tutor", lms_database, tutor, plugin)
    with a_site(tmp_path, image, tutor_environ(tmp_path / "tutor", plugin), tutor, nanio_bucket, lrs) as made:
        yield made


def assert_no_secret(site: Site) -> None:
    """In no argument, no Job, no pod's environment or log, and on no terminal; and none is left when a run is over."""
    places = [site.printed(), *(" ".join(call["argv"]) for call in site.cluster.calls)]
    for job in site.cluster.jobs:
        places += [json.dumps(job.manifest), *(pod.sandbox.log() for pod in job.pods)]
    places += [json.dumps(one) for (kind, _), one in site.cluster.objects.items() if kind != "Secret"]
    for secret in (SECRET_KEY, PASSWORD):
        assert not [place[:2000] for place in places if secret in place]
