"""A site whose jobs the real ``tutor`` runs in Docker, and a look at what they left."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.docker import Docker
from tests.harness.process import wait_for
from tests.harness.site import files_below
from tests.harness.tutor_site import TUTOR, TutorSite

SERVICE = "transform-logs-job"
# Of compose, on local and on dev. Not those of a Tutor that may be in use here.
PROJECT, DEV_PROJECT = "transform_logs_e2e", "transform_logs_e2e_dev"


@dataclass(kw_only=True)
class DockerSite(TutorSite):
    """A site whose jobs are containers; they write as user 1000."""

    docker: Docker

    @property
    def data(self) -> Path:
        """The LMS's data directory: ``/openedx/data`` in the containers."""
        return self.root / "data" / "lms"

    @property
    def logs(self) -> Path:
        return self.data / "logs"

    @property
    def ledger(self) -> Path:
        return self.data / "transform-logs"

    def job_container(self, process: subprocess.Popen[str]) -> str:
        """The id of the job's container, once it runs."""
        found = wait_for(lambda: self.docker.containers(SERVICE, PROJECT) or process.poll() is not None, 60)
        if not isinstance(found, list):
            raise AssertionError(f"the job ended before its container was seen:\n{self.finish(process).output[-3000:]}")
        return str(found[0])

    def placed(self, path: Path) -> None:
        for owned in (path, path.parent):
            os.chown(owned, 1000, 1000)

    def folder_for_files(self, name: str) -> Path:
        """Make a folder in the data directory that the LMS's user may write to."""
        path = self.data / name
        path.mkdir(parents=True)
        os.chown(path, 1000, 1000)
        return path

    def files(self) -> list[Path]:
        """All files that the job wrote into the data directory: user 1000's, and such as can be read here."""
        found = [path for path in files_below(self.data) if path.parent.name != "logs"]
        for path in found:
            path.read_bytes()
            assert path.stat().st_uid == 1000, f"{path} belongs to {path.stat().st_uid}"
        assert found, "the job left no file"
        return found

    def remove(self) -> None:
        """Take all its containers and networks away."""
        for project in (PROJECT, DEV_PROJECT):
            label = f"--filter=label=com.docker.compose.project={project}"
            for thing, remove in (("ps", ("rm", "--force")), ("network", ("network", "rm"))):
                listed = self.docker(*((thing, "-aq") if thing == "ps" else (thing, "ls", "-q")), label).split()
                if listed:
                    self.docker(*remove, *listed)


@dataclass(frozen=True)
class Program:
    """A ``tutor`` and what its environment has beside the usual."""

    path: Path = TUTOR
    environment: Mapping[str, str] = field(default_factory=dict)


USUAL = Program()
MakeSite = Callable[..., DockerSite]


def new(
    folder: Path,
    docker: Docker,
    settings: Mapping[str, Any],
    plugins: Sequence[str] = ("transform_logs",),
    tutor: Program = USUAL,
) -> DockerSite:
    """Make a Tutor root with these plugins and settings.

    The containers share the machine's network, so that they reach the services that the tests start on its loopback
    address, where nobody else does; all else about them is Tutor's.
    """
    environment = {
        **docker.environment,
        **tutor.environment,
        "TUTOR_ROOT": str(folder / "root"),
        "TUTOR_PLUGINS_ROOT": str(folder / "plugins"),
        "PYTHONUNBUFFERED": "1",
    }
    site = DockerSite(folder, environment, tutor.path, docker=docker)
    site.root.mkdir(parents=True)
    (folder / "plugins").mkdir()
    site.tutor("plugins", "enable", *plugins)
    site.save(**settings)
    # In development mode, Tutor's own files give the service lms a network, and it is not used here.
    shared = {"": ("permissions",), "prod.": ("lms",), "jobs.": (SERVICE, "lms-job")}
    for name, services in shared.items():
        override(site, name, {service: {"network_mode": "host"} for service in services})
    return site


def override(site: DockerSite, name: str, services: Mapping[str, Mapping[str, Any]]) -> None:
    """Lay this over services of Tutor's compose file ``docker-compose.NAMEyml``, and over what was laid over it."""
    path = site.root / "env" / "local" / f"docker-compose.{name}override.yml"
    known = yaml.safe_load(path.read_text())["services"] if path.exists() else {}
    merged = {service: {**known.get(service, {}), **services.get(service, {})} for service in (*known, *services)}
    path.write_text(yaml.safe_dump({"services": merged}))


_ADD_ROUTER = """
import json, django
django.setup()
from event_routing_backends.models import RouterConfiguration
RouterConfiguration.objects.create(enabled=True, **json.loads({text!r}))
"""


def populate(site: DockerSite) -> None:
    """Do what has been done on a site for long: migrations, users, courses."""
    seed = "import django; django.setup(); from tutor_demo_lms import seed; seed.seed(50, 5)"
    site.tutor("local", "run", "--rm", "lms", "sh", "-e", "-c", f"./manage.py lms migrate -v 0 && python -c '{seed}'")


def add_router(site: DockerSite, url: str, **values: Any) -> None:
    """Add an enabled RouterConfiguration, as an admin does."""
    text = json.dumps({"route_url": url, "backend_name": "xAPI", "configurations": {}, **values})
    site.tutor("local", "run", "--rm", "lms", "python", "-c", _ADD_ROUTER.format(text=text))
