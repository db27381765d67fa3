"""The ClickHouse of a stock Aspects site: a container that compose starts, with chDB in it and Aspects' users."""

from __future__ import annotations

import json
import resource
import time

from tests.e2e import images as image_module
from tests.e2e import site as sites
from tests.e2e.docker import Docker, key_of
from tests.e2e.images import NAME, Images
from tests.e2e.site import DockerSite
from tests.harness import aspects, clickhouse
from tests.harness.clickhouse import ClickHouse
from tests.harness.process import answers_http, wait_for

# What Aspects' settings say; on the network of this machine, which the containers share.
HOST, PORT = "clickhouse", 8123
COMMAND = ["/chdb/bin/python", "/clickhouse_server.py", "/var/lib/clickhouse/chdb", str(PORT), "/users.json"]


def image(docker: Docker, images: Images) -> str:
    """The tag of an image that runs the server; built if need be."""
    with_chdb = f"{NAME}/chdb:{key_of(images.base, clickhouse.VERSION)}"
    if not docker.has_image(with_chdb):
        begun = time.monotonic()
        container = f"{NAME}-chdb"
        docker("rm", "--force", container, check=False)
        script = f"python3 -m venv /chdb && /chdb/bin/pip install --quiet --no-cache-dir chdb=={clickhouse.VERSION}"
        image_module.run_with_pip(docker, images.base, script, f"--name={container}")
        docker("commit", container, with_chdb)
        docker("rm", container)
        image_module.say("made an image with chDB", begun)
    tag = f"{NAME}/clickhouse-server:{key_of(with_chdb, clickhouse.PROGRAM, *COMMAND)}"
    if not docker.has_image(tag):
        steps = f"COPY clickhouse_server.py /\nCMD {json.dumps(COMMAND)}"
        image_module.build_on(docker, with_chdb, tag, steps, {"clickhouse_server.py": clickhouse.PROGRAM})
    image_module.keep_only(docker, with_chdb, tag)
    return tag


def prepare(site: DockerSite) -> ClickHouse:
    """Do what ``tutor local do init`` does for ClickHouse: users, databases and tables. It is stopped in the end."""
    users = aspects.users(aspects.init_script_of(site.environment)) | clickhouse.ADMIN
    server = ClickHouse(site.folder, PORT, users)
    file = site.folder / "users.json"
    file.write_text(json.dumps(users))
    # Where the containers have a network of their own, each finds the others by name.
    here = {"network_mode": "host", "extra_hosts": [f"{HOST}:127.0.0.1"]}
    # Aspects asks for more open files than a machine may allow.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 262_144 if most == resource.RLIM_INFINITY else min(most, 262_144)
    limits = {"nofile": {"soft": most, "hard": most}}
    mine = {"network_mode": "host", "volumes": [f"{file}:/users.json:ro"], "ulimits": limits}
    sites.override(site, "", {"clickhouse": mine})
    sites.override(site, "jobs.", {sites.SERVICE: here})
    site.tutor("local", "start", "--detach", "clickhouse")
    wait_for(lambda: answers_http(f"{server.url}/ping"), 60)
    server.make_schema()
    site.tutor("local", "stop", "clickhouse")
    return server
