"""A site as an operator has it: a fresh Tutor root, ``tutor`` commands, and a look at what they left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.docker import Docker
from tests.harness.job import newest

SERVICE = "transform-logs-job"
TUTOR = Path(sys.executable).with_name("tutor")


@dataclass(frozen=True)
class Done:
    """A command that has ended. ``output`` is all it printed, both streams."""

    status: int
    output: str


@dataclass
class Site:
    """A Tutor root below ``folder``. All that ``tutor`` printed so far is in ``printed``."""

    folder: Path
    docker: Docker
    tutor_program: Path = TUTOR
    printed: list[str] = field(default_factory=list)

    @property
    def root(self) -> Path:
        """The Tutor root."""
        return self.folder / "root"

    @property
    def data(self) -> Path:
        """The LMS's data directory: ``/openedx/data`` in the containers."""
        return self.root / "data" / "lms"

    def environment(self) -> dict[str, str]:
        """The environment for ``tutor``."""
        return {
            **self.docker.environment,
            "TUTOR_ROOT": str(self.root),
            "TUTOR_PLUGINS_ROOT": str(self.folder / "plugins"),
            "PYTHONUNBUFFERED": "1",
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start ``tutor ARGUMENTS`` with no terminal."""
        return subprocess.Popen(
            [self.tutor_program, *arguments],
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self, process: subprocess.Popen[str], timeout_secs: float = 300) -> Done:
        """Wait for a command to end."""
        try:
            output, _ = process.communicate(timeout=timeout_secs)
        finally:
            process.kill()
        self.printed.append(output)
        return Done(process.returncode, output)

    def tutor(self, *arguments: str, status: int = 0) -> str:
        """Run ``tutor ARGUMENTS``, which must end with ``status``; gives what it printed."""
        done = self.finish(self.start(*arguments))
        shown = " ".join(arguments)
        assert done.status == status, f"tutor {shown} ended with {done.status}, not {status}:\n{done.output[-6000:]}"
        return done.output

    def save(self, **settings: Any) -> None:
        """``tutor config save --set ...``, values other than text as JSON."""
        pairs = [f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in settings.items()]
        self.tutor("config", "save", *(word for pair in pairs for word in ("--set", pair)))

    def replay(self, *options: str, status: int = 0, mode: str = "local") -> str:
        """``tutor local do transform-tracking-logs OPTIONS``."""
        return self.tutor(mode, "do", "transform-tracking-logs", *options, status=status)

    def start_replay(self, *options: str) -> subprocess.Popen[str]:
        """Start ``tutor local do transform-tracking-logs OPTIONS``."""
        return self.start("local", "do", "transform-tracking-logs", *options)

    def project(self) -> str:
        """The name of the compose project."""
        return "transform_logs_e2e"

    def config(self, name: str) -> Any:
        """The value of a setting, as Tutor has it."""
        return yaml.safe_load(self.tutor("config", "printvalue", name).splitlines()[-1])

    def job_container(self, process: subprocess.Popen[str]) -> str:
        """The id of the job's container, once it runs."""
        project = self.project()
        found = wait_for(lambda: self.docker.containers(SERVICE, project) or process.poll() is not None)
        if not isinstance(found, list):
            raise AssertionError(f"the job ended before its container was seen:\n{self.finish(process).output[-3000:]}")
        return str(found[0])

    def log(self, name: str, content: bytes) -> Path:
        """Put a file among the LMS's logs, as the LMS would: with its user as owner."""
        path = self.data / "logs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        for one in (path, path.parent):
            os.chown(one, 1000, 1000)
        return path

    def folder_for_files(self, name: str) -> Path:
        """Make a folder in the data directory that the LMS's user may write to."""
        path = self.data / name
        path.mkdir(parents=True)
        os.chown(path, 1000, 1000)
        return path

    def result(self) -> dict[str, Any]:
        """What the latest report says."""
        path = newest(self.data / "transform-logs", "result.json")
        assert path is not None, "the job left no result"
        result: dict[str, Any] = json.loads(path.read_text())
        return result

    def files(self) -> list[Path]:
        """All files that the job wrote into the data directory: user 1000's, and such as can be read here."""
        found = [path for path in self.data.rglob("*") if path.is_file() and path.parent.name != "logs"]
        for path in found:
            path.read_bytes()
            assert path.stat().st_uid == 1000, f"{path} belongs to {path.stat().st_uid}"
        assert found, "the job left no file"
        return found

    def remove(self) -> None:
        """Take all its containers and networks away."""
        for project in ("transform_logs_e2e", "transform_logs_e2e_dev"):
            label = f"--filter=label=com.docker.compose.project={project}"
            for thing, remove in (("ps", ("rm", "--force")), ("network", ("network", "rm"))):
                listed = self.docker(*((thing, "-aq") if thing == "ps" else (thing, "ls", "-q")), label).split()
                if listed:
                    self.docker(*remove, *listed)


MakeSite = Callable[..., Site]


def wait_for(condition: Callable[[], Any], timeout_secs: float = 60) -> Any:
    """Ask until the answer is true, and give it."""
    deadline = time.monotonic() + timeout_secs
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"still not so after {timeout_secs:g} s"
        time.sleep(0.1)
    return answer


def new(
    folder: Path,
    docker: Docker,
    settings: Mapping[str, Any],
    plugins: Sequence[str] = ("transform_logs",),
    tutor_program: Path = TUTOR,
) -> Site:
    """Make a Tutor root with these plugins and settings.

    The containers share the machine's network, so that they reach the services that the tests start on its loopback
    address, where nobody else does; all else about them is Tutor's.
    """
    site = Site(folder, docker, tutor_program)
    site.root.mkdir(parents=True)
    (folder / "plugins").mkdir()
    site.tutor("plugins", "enable", *plugins)
    site.save(**settings)
    # In development mode, Tutor's own files give the service lms a network, and it is not used here.
    shared = {"": ("permissions",), "prod.": ("lms",), "jobs.": (SERVICE, "lms-job")}
    for name, services in shared.items():
        text = yaml.safe_dump({"services": {service: {"network_mode": "host"} for service in services}})
        (site.root / "env" / "local" / f"docker-compose.{name}override.yml").write_text(text)
    return site


_ADD_ROUTER = """
import json, django
django.setup()
from event_routing_backends.models import RouterConfiguration
RouterConfiguration.objects.create(enabled=True, **json.loads({text!r}))
"""


def populate(site: Site) -> None:
    """Do what has been done on a site for long: migrations, users, courses."""
    seed = "import django; django.setup(); from tutor_demo_lms import seed; seed.seed(50, 5)"
    site.tutor("local", "run", "--rm", "lms", "sh", "-e", "-c", f"./manage.py lms migrate -v 0 && python -c '{seed}'")


def add_router(site: Site, url: str, **values: Any) -> None:
    """Add an enabled RouterConfiguration, as an admin does."""
    text = json.dumps({"route_url": url, "backend_name": "xAPI", "configurations": {}, **values})
    site.tutor("local", "run", "--rm", "lms", "python", "-c", _ADD_ROUTER.format(text=text))
