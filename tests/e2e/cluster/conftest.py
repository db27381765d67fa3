"""A cluster with one node, and fresh sites in namespaces of their own."""

from __future__ import annotations

import fcntl
import itertools
import shutil
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest
import yaml

from tests.e2e.cluster import control_plane
from tests.e2e.cluster import node as node_module
from tests.e2e.cluster import programs as programs_module
from tests.e2e.cluster.control_plane import ControlPlane
from tests.e2e.cluster.site import IMPATIENCE, Cluster, KubernetesSite, environment
from tests.e2e.docker import Docker
from tests.e2e.site import USUAL, Program
from tests.harness import registry
from tests.harness.cluster_site import new_lms_database
from tests.harness.mariadb import MariaDb
from tests.harness.object_store import Bucket
from tests.harness.ralph import Lrs
from tests.harness.venvs import cache_folder

MakeSite = Callable[..., KubernetesSite]

_numbers = itertools.count(1)
_LOCK = pytest.StashKey[TextIO]()


@pytest.fixture(scope="session")
def programs(request: pytest.FixtureRequest) -> Path:
    """The folder with the programs of a cluster."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        return programs_module.ensure()


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """One cluster at a time: its bridge and its cgroup have names. No scenario's time begins before it is its turn."""
    if not any("empty_cluster" in getattr(item, "fixturenames", ()) for item in session.items):
        return (yield)
    # It is free when the process ends. After Ctrl-C, fixtures are torn down later than this loop.
    lock = session.config.stash[_LOCK] = (cache_folder() / "cluster.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return (yield)


@pytest.fixture(scope="session")
def empty_cluster(programs: Path) -> Iterator[Cluster]:
    """A running cluster."""
    folder = cache_folder() / "cluster"
    node_module.clean(folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with (
        control_plane.start(folder, programs) as (plane, tokens),
        node_module.start(folder, plane, tokens.node) as node,
    ):
        version = plane.get("node", control_plane.NODE)["status"]["nodeInfo"]["kubeletVersion"]
        registry.register(f"Kubernetes {version}")
        yield Cluster(plane, node, version)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def newest(
    programs: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[ControlPlane]:
    """An API server of the newest version, without anybody who would act on its objects."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        built = programs_module.ensure_newest()
    with control_plane.start_api_server(tmp_path_factory.mktemp("newest"), built, programs) as (plane, _):
        registry.register(f"the API server of Kubernetes {programs_module.NEWEST}")
        yield plane


@pytest.fixture(scope="session")
def cluster(empty_cluster: Cluster, docker: Docker, lms_image: str) -> Cluster:
    """The cluster, whose node has the LMS image."""
    empty_cluster.node.add_image(docker, lms_image)
    return empty_cluster


@pytest.fixture(scope="session")
def lms_database(mariadb_server: MariaDb) -> dict[str, Any]:
    """Tutor's settings for a database with people and courses."""
    return new_lms_database(mariadb_server)


@pytest.fixture
def sites() -> list[KubernetesSite]:
    """The sites that the scenario has made."""
    return []


@pytest.fixture
def found(found: Callable[[str], None], cluster: Cluster, sites: list[KubernetesSite]) -> Callable[..., None]:
    """Tell what a scenario found, with the pods that were started for it and the server's version.

    ``statements``: how many it found in a store that is not Ralph; those in Ralph are counted here.
    """

    def say(text: str, statements: int | None = None) -> None:
        count = sum(site.lrs.count() for site in sites) if statements is None else statements
        pods = Counter(phase for site in sites for phase in site.pods_started())
        by_phase = ", ".join(f"{phase} {number}" for phase, number in pods.items())
        started = f"pods started: {pods.total()}" + (f" ({by_phase})" if pods else "")
        found(f"{text}; at the end {count} statements in the store; {started}; Kubernetes {cluster.version}")

    return say


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """No scenario may keep to itself what it has found."""
    report = yield
    if report.when == "call" and report.passed and "found" not in dict(report.user_properties):
        report.outcome, report.longrepr = "failed", "The scenario does not say what it has found in the store."
    return report


@pytest.fixture
def new_site(
    cluster: Cluster,
    lms_image: str,
    lms_database: dict[str, Any],
    scratch: Path,
    nanio_bucket: Bucket,
    lrs: Lrs,
    sites: list[KubernetesSite],
) -> Iterator[MakeSite]:
    """Gives a new site in a namespace of its own, with these settings over the usual ones.

    Its environment is there, and its one service starts, with the first :meth:`KubernetesSite.save`.
    """

    def make(
        *, plugins: tuple[str, ...] = ("transform_logs",), tutor: Program = USUAL, **settings: Any
    ) -> KubernetesSite:
        namespace = f"site-{next(_numbers)}"
        folder = scratch / namespace
        (folder / "root").mkdir(parents=True)
        (folder / "plugins").mkdir()
        (folder / "plugins" / "impatience.py").write_text(IMPATIENCE)
        site = KubernetesSite(
            folder,
            {**environment(folder, cluster), **tutor.environment},
            tutor.path,
            cluster=cluster,
            namespace=namespace,
            bucket=nanio_bucket,
            lrs=lrs,
        )
        sites.append(site)
        cluster.plane.kubectl("create", "namespace", namespace)
        off = {f"RUN_{name}": False for name in ("MYSQL", "MONGODB", "REDIS", "SMTP", "MEILISEARCH", "CADDY")}
        usual = {
            **off,
            **site.from_pods(lms_database),
            "K8S_NAMESPACE": namespace,
            "DOCKER_IMAGE_OPENEDX": lms_image,
            "DOCKER_IMAGE_CADDY": node_module.PAUSE_IMAGE,
            "ENABLE_WEB_PROXY": False,
            # By default a pod asks for a whole CPU: few would run at the same time.
            "TRANSFORM_LOGS_K8S_REQUESTS": {"cpu": "100m", "memory": "200Mi"},
            "LMS_HOST": "lms.example.org",
            "CMS_HOST": "studio.lms.example.org",
            "REDIS_HOST": "127.0.0.1",
            "REDIS_PORT": "1",
        }
        config = {"PLUGINS": ["impatience", *plugins], **usual, **settings}
        (site.root / "config.yml").write_text(yaml.safe_dump(config))
        return site

    yield make
    for site in sites:
        cluster.plane.kubectl("delete", "namespace", site.namespace, "--wait=false", "--grace-period=1", check=False)
        shutil.rmtree(site.folder, ignore_errors=True)
