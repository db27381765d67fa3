"""A Docker daemon, images, a database with an LMS in it, and fresh sites."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest

from tests.e2e import docker as docker_module
from tests.e2e import images as images_module
from tests.e2e import site as site_module
from tests.e2e.docker import Docker
from tests.e2e.images import NAME, Images
from tests.e2e.site import USUAL, DockerSite, MakeSite, Program
from tests.harness import aspects, mariadb, registry

# Of a report's properties: what the scenario found.
FOUND = "found"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The scenarios run on the Python of today's Open edX, and some a second time on that of the one before."""
    parser.addoption("--lms-python", default="3.12", help="the Python of the LMS image; 3.11 has an older ERB")


@pytest.fixture
def found(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Tell what a scenario found in the store: a line that is printed when it ends, also by pytest-xdist."""
    scenario = request.node.name.removeprefix("test_").replace("_", " ")
    return lambda text: record_property(FOUND, f"{scenario}: {text}")


class FoundPrinter:
    """Prints what each scenario has found when it ends."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if terminal is not None and report.when == "call":
            for text in [text for key, text in report.user_properties if key == FOUND]:
                terminal.write(f"\n{text}\n", flush=True)


@pytest.fixture(scope="session")
def docker() -> Iterator[Docker]:
    """A Docker daemon with compose."""
    with docker_module.start() as daemon:
        yield daemon


@pytest.fixture(scope="session")
def images(docker: Docker, request: pytest.FixtureRequest) -> Images:
    """The images that sites are made of."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        made = images_module.ensure(docker, request.config.getoption("--lms-python"))
    return made


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A folder that other users may enter, unlike pytest's own: what keeps them out must be Tutor and this plugin."""
    with tempfile.TemporaryDirectory(prefix="transform-logs-e2e-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture(scope="session")
def site_settings(docker: Docker, images: Images, scratch: Path) -> dict[str, Any]:
    """Settings of a site with no service but the LMS: it uses those that the tests start."""
    off = {f"RUN_{name}": False for name in ("MYSQL", "MONGODB", "REDIS", "SMTP", "MEILISEARCH", "CADDY")}
    return {
        **off,
        "DOCKER_IMAGE_OPENEDX": images.lms_without_erb,
        "DOCKER_IMAGE_OPENEDX_DEV": images.lms_without_erb,
        "LMS_HOST": "lms.example.org",
        "CMS_HOST": "studio.lms.example.org",
        "MYSQL_HOST": "127.0.0.1",
        "REDIS_HOST": "127.0.0.1",
        "REDIS_PORT": "1",
        "LOCAL_PROJECT_NAME": site_module.PROJECT,
        "DEV_PROJECT_NAME": site_module.DEV_PROJECT,
    }


@pytest.fixture(scope="session")
def lms_image(docker: Docker, images: Images, scratch: Path, site_settings: dict[str, Any]) -> str:
    """An LMS image as a site has it after ``tutor images build openedx``, as far as this plugin has a part in it.

    The part is what the plugin's patch puts into Tutor's own Dockerfile.
    """
    site = site_module.new(scratch / "image", docker, site_settings)
    dockerfile = (site.root / "env/build/openedx/Dockerfile").read_text()
    patch = (Path(images_module.REPOSITORY) / "templates/transform_logs/partials/requirements").read_text().strip()
    assert dockerfile.count(patch) == 2, "the patch is to be in Tutor's Dockerfile once for local and once for dev"
    tag = f"{NAME}/lms:{docker_module.key_of(images.lms_without_erb, patch)}"
    if not docker.has_image(tag):
        with images_module.served(images.index) as index:
            images_module.build_on(
                docker, images.lms_without_erb, tag, f"ARG PIP_INDEX_URL\n{patch}", {}, "--network=host",
                f"--build-arg=PIP_INDEX_URL={index}",
            )  # fmt: skip
    # The image that chowns the data directory, with Tutor's own script.
    script = site.root / "env/build/permissions/setowner.sh"
    tag_of_permissions = f"{NAME}/permissions:{docker_module.key_of(images.base, script)}"
    if not docker.has_image(tag_of_permissions):
        steps = "COPY setowner.sh /usr/local/bin/setowner\nRUN chmod a+x /usr/local/bin/setowner"
        images_module.build_on(docker, images.base, tag_of_permissions, steps, {"setowner.sh": script})
    site_settings["DOCKER_IMAGE_PERMISSIONS"] = tag_of_permissions
    version = "import importlib.metadata as m; print(m.version('edx-event-routing-backends'))"
    erb = docker("run", "--rm", "--network=none", tag, "python", "-c", version).strip()
    registry.register(f"an LMS image with Python {images.python} and event-routing-backends {erb}")
    return tag


@pytest.fixture(scope="session")
def populated(
    mariadb_server: mariadb.MariaDb, docker: Docker, lms_image: str, site_settings: dict[str, Any], scratch: Path
) -> str:
    """The name of a database with people and courses, of which sites get copies."""
    database = _database(mariadb_server)
    settings = {**site_settings, **database, "DOCKER_IMAGE_OPENEDX": lms_image}
    site_module.populate(site_module.new(scratch / "populated", docker, settings))
    return str(database["OPENEDX_MYSQL_DATABASE"])


def _sql(server: mariadb.MariaDb, statement: str, *values: str) -> list[Any]:
    with pymysql.connect(host="127.0.0.1", port=server.port, user="root", autocommit=True) as connection:
        cursor = connection.cursor()
        cursor.execute(statement, values)
        return list(cursor.fetchall())


def _database(server: mariadb.MariaDb, copy_of: str = "") -> dict[str, Any]:
    """Make a database; gives Tutor's settings for it."""
    made = server.new_database()["default"]
    listed = _sql(server, "SELECT table_name FROM information_schema.tables WHERE table_schema = %s", copy_of)
    for (table,) in listed:
        _sql(server, f"CREATE TABLE {made['NAME']}.{table} LIKE {copy_of}.{table}")
        _sql(server, f"INSERT INTO {made['NAME']}.{table} SELECT * FROM {copy_of}.{table}")
    return {"MYSQL_PORT": made["PORT"], "OPENEDX_MYSQL_DATABASE": made["NAME"]}


@pytest.fixture(scope="session")
def tutor_with_aspects(installed: Path) -> Program:
    """The ``tutor`` of an environment with Aspects and this plugin."""
    registry.register(f"Aspects {aspects.VERSION} (in Tutor {aspects.TUTOR_VERSION})")
    return Program(aspects.executables() / "tutor", {"PYTHONPATH": str(installed)})


@pytest.fixture
def new_site(
    docker: Docker,
    lms_image: str,
    site_settings: dict[str, Any],
    scratch: Path,
    mariadb_server: mariadb.MariaDb,
    populated: str,
    request: pytest.FixtureRequest,
) -> Iterator[MakeSite]:
    """Gives a new site with these settings over the usual ones, with people and courses in its database.

    ``erb_tables=False``: as if no LMS with ERB had ever been there.
    """
    made: list[DockerSite] = []

    def make(
        *,
        plugins: tuple[str, ...] = ("transform_logs",),
        erb_tables: bool = True,
        tutor: Program = USUAL,
        **settings: Any,
    ) -> DockerSite:
        folder = scratch / f"{request.node.name[:40]}-{len(made)}"
        usual = {**site_settings, "DOCKER_IMAGE_OPENEDX": lms_image, "DOCKER_IMAGE_OPENEDX_DEV": lms_image}
        database = _database(mariadb_server, copy_of=populated)
        if not erb_tables:
            name = database["OPENEDX_MYSQL_DATABASE"]
            _sql(mariadb_server, f"DROP TABLE {name}.event_routing_backends_routerconfiguration")
            _sql(mariadb_server, f"DELETE FROM {name}.django_migrations WHERE app = 'event_routing_backends'")
        site = site_module.new(folder, docker, {**usual, **database, **settings}, plugins, tutor)
        made.append(site)
        return site

    yield make
    for site in made:
        site.remove()
        shutil.rmtree(site.folder, ignore_errors=True)


def pytest_configure(config: pytest.Config) -> None:
    """Containers write as user 1000, and whoever runs this has to be able to look at that."""
    if os.geteuid() != 0:
        sys.stderr.write("e2e: not root: files of other users can't be made ready for the LMS\n")
    config.pluginmanager.register(FoundPrinter(config))
