"""Aspects as it comes: the statements go into its table in ClickHouse, by the commands of the documentation."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from tests.e2e.cluster.site import KubernetesSite
from tests.e2e.site import Program
from tests.harness import aspects, clickhouse, demo_lms
from tests.harness.clickhouse import ClickHouse
from tests.harness.doc_commands import REPOSITORY, commands, missing
from tests.harness.object_store import ObjectStore
from tutor_transform_logs.demo.log_writer import LOG_START, Mix

Say = Callable[..., None]
MakeSite = Callable[..., KubernetesSite]
PAGE = REPOSITORY / "docs" / "howto" / "kubernetes.rst"
# What Aspects' settings say, in the site's namespace.
HOST, PORT = "clickhouse", 8123


@pytest.fixture(scope="session")
def lms_here(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Make this process an LMS: what ERB itself makes of the logs is what is to be found."""
    demo_lms.activate(tmp_path_factory.mktemp("lms") / "in-process.sqlite3")


@pytest.fixture
def site(new_site: MakeSite, tutor_with_aspects: Program, nanio: ObjectStore) -> KubernetesSite:
    """A site with Aspects and a store of its own. Of its services, the tests' servers stand behind what a job needs."""
    made = new_site(
        plugins=("aspects", "transform_logs"),
        tutor=tutor_with_aspects,
        # The host is part of each actor, and so of the ids of statements: that of the LMS in this process.
        LMS_HOST="localhost:18000",
        OPENEDX_AWS_ACCESS_KEY=nanio.access_key,
        OPENEDX_AWS_SECRET_ACCESS_KEY=nanio.secret_key,
        TRANSFORM_LOGS_K8S_REQUESTS={"cpu": "1", "memory": "1Gi"},
    )
    made.save(**made.from_pods({"S3_HOST": nanio.host, "S3_PORT": nanio.port, "S3_USE_SSL": False}))
    made.apply([service for service in made.kustomized("Service") if service["metadata"]["name"] == HOST])
    return made


@pytest.fixture
def server(site: KubernetesSite) -> Iterator[ClickHouse]:
    """A ClickHouse with the databases, tables and users of that site."""
    users = aspects.users(aspects.init_script_of(site.environment)) | clickhouse.ADMIN
    made = ClickHouse(site.folder, PORT, users)
    made.start()
    try:
        made.make_schema()
        yield made
    finally:
        made.stop()


@pytest.mark.usefixtures("lms_here", "lms")
def test_a_stock_aspects_site(site: KubernetesSite, server: ClickHouse, nanio: ObjectStore, found: Say) -> None:
    """The page's commands, one pod. Views have counted each statement once; a second run delivers none."""
    from tests.harness.runs import erbs_ids

    [_, save, check, replay, *_] = commands(PAGE)
    bucket = nanio.bucket("openedx")
    lines: list[bytes] = []
    for day in range(3):
        start = LOG_START + timedelta(days=day)
        path = site.log(Mix(good=40, page_view=40, broken=2), name=f"tracking.log-{day}", seed=day, start=start).path
        bucket.put(f"tracking_logs/{path.name}", path)
        lines += path.read_bytes().splitlines()

    for command in (save, check, replay):
        printed = site.tutor(*shlex.split(command.text.replace("\\\n", ""))[1:])

    assert missing(replay.output, printed) == []
    rows = server.rows()
    ids = [row[0] for row in rows]
    assert set(ids) == erbs_ids(lines)
    assert len(set(ids)) == len(ids) == server.daily_sum()
    [work] = site.items("jobs", "work")
    assert work["status"]["succeeded"] == len(site.items("pods", "work")) == 1

    assert "Nothing new in 3 objects" in site.replay()

    assert (server.rows(), server.daily_sum()) == (rows, len(ids))
    assert site.phases() == ["check", "plan", "work", "report", "plan"]
    # The keys of the site's own store are in the LMS's settings, which are Tutor's.
    site.assert_no_secret(server.password("ch_vector"), but="openedx-config-")
    found(f"the page's commands, {len(lines)} lines, then a second run", statements=len(ids))
