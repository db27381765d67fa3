"""Images without a registry: a Debian of debootstrap's, and on it an LMS as edx-platform's looks from outside.

What takes long is kept: images in the Docker daemon, wheels in the cache folder, both named after what goes in.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.e2e.docker import Docker, key_of
from tests.harness.process import ServiceError
from tests.harness.venvs import cache_folder

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
DEMO_LMS = REPOSITORY / "tutor_transform_logs" / "demo" / "lms"
NAME = "transform-logs-e2e"
PACKAGES = ("python3", "python3-venv")
# What the images that this plugin builds take from the package index, and what pip would rather have.
NEEDED = ("edx-event-routing-backends>=9.3,<11", "apache-libcloud>=3.8,<4")
TEMPTING = ("Django>=5.2,<6", "django-redis>=7")


@dataclass(frozen=True)
class Images:
    """The images, by tag, and a folder that is a package index (PEP 503) with all that they may install."""

    base: str
    lms_without_erb: str
    index: Path


def ensure(docker: Docker) -> Images:
    """Build what is not there yet."""
    base = _base(docker)
    wheels = _wheels(docker, base)
    lms = _lms(docker, base, wheels)
    for tag in docker("images", "--format", "{{.Repository}}:{{.Tag}}", f"{NAME}/*").split():
        # Older ones, whose ingredients have changed since.
        if tag.split(":")[0] in (f"{NAME}/base", f"{NAME}/lms-without-erb") and tag not in (base, lms):
            docker("rmi", "--force", tag)
    return Images(base, lms, wheels / "index")


def _say(text: str, begun: float) -> None:
    print(f"e2e: {text} in {time.monotonic() - begun:.0f} s", flush=True)


def _release() -> tuple[str, str]:
    """The name of this Debian's release, and where its packages come from."""
    template = "$(CREATED_BY) $(COMPONENT) $(CODENAME) $(RELEASE) $(REPO_URI)"
    listed = subprocess.run(["apt-get", "indextargets", "--format", template], capture_output=True, text=True)
    match = re.search(r"^PRETTY_NAME|^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.MULTILINE)
    names = re.findall(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.MULTILINE)
    for line in listed.stdout.splitlines():
        kind, component, codename, release, uri = line.split(" ")
        if match and kind == "Packages" and component == "main" and names[0] in (codename, release):
            return names[0], uri
    raise ServiceError("apt-get knows no source of this Debian's packages (main)")


def _base(docker: Docker) -> str:
    suite, mirror = _release()
    tag = f"{NAME}/base:{key_of(suite, *PACKAGES)}"
    if docker.has_image(tag):
        return tag
    begun = time.monotonic()
    debootstrap = shutil.which("debootstrap", path=docker.environment["PATH"])
    if debootstrap is None:
        raise ServiceError("debootstrap is missing: install the Debian package of this name")
    # Not below /tmp, which may be mounted so that no device can be made in it.
    with tempfile.TemporaryDirectory(prefix="base-", dir=cache_folder()) as folder:
        root, log = Path(folder, "root"), Path(folder, "log")
        command = [debootstrap, "--variant=minbase", f"--include={','.join(PACKAGES)}", suite, root, mirror]
        with log.open("wb") as output:
            done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise ServiceError(f"debootstrap failed:\n{log.read_text(errors='replace')[-2000:]}")
        skipped = [f"--exclude=./{path}" for path in ("var/cache/*", "var/lib/apt/*", "usr/share/doc", "usr/share/man")]
        pack = ["tar", f"--directory={root}", "--create", *skipped, "."]
        with subprocess.Popen(pack, stdout=subprocess.PIPE) as tar:
            subprocess.run(
                ["docker", "import", "-", tag],
                stdin=tar.stdout,
                env=docker.environment,
                check=True,
                capture_output=True,
            )
    _say(f"made a base image ({suite})", begun)
    return tag


def _pip_settings() -> tuple[dict[str, str], list[str]]:
    """The pip settings of this machine for a container: environment variables, and files and folders to mount."""
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
    variables: dict[str, str] = {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        name = "PIP_" + key.split(".")[-1].upper().replace("-", "_")
        variables[name] = str(ast.literal_eval(value))
    variables |= {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    detail = " ".join(variables.values()).split()
    # The pages of an index that is a folder may point to files beside it.
    folders = [str(Path(word.removeprefix("file://")).parent) for word in detail if word.startswith("file:///")]
    return variables, [
        word for word in (*folders, *detail) if word.startswith("/") and len(word) > 1 and Path(word).exists()
    ]


def _wheels(docker: Docker, base: str) -> Path:
    """A folder with ``wheels`` (edx-platform's requirements) and ``index`` (those, ERB's and more)."""
    requirements = HERE / "lms" / "requirements.txt"
    folder = cache_folder() / f"wheels-{key_of(base, requirements, *NEEDED, *TEMPTING)}"
    if (folder / "complete").exists():
        return folder
    begun = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copy(requirements, folder)
    quoted = {name: " ".join(f"'{item}'" for item in items) for name, items in (("n", NEEDED), ("t", TEMPTING))}
    # In the container's Python, for which wheels have to be.
    script = f"""
        set -eu
        python3 -m venv /pip && PATH=/pip/bin:$PATH && cd /wheels
        pip wheel --quiet --wheel-dir wheels --requirement requirements.txt
        pip install --quiet --no-index --find-links wheels --requirement requirements.txt
        pip list --format=freeze > constraints.txt
        pip wheel --quiet --wheel-dir more --find-links wheels --constraint constraints.txt {quoted["n"]}
        pip wheel --quiet --wheel-dir more --no-deps {quoted["t"]}
        chmod -R a+rwX .
    """
    variables, paths = _pip_settings()
    command = ["run", "--rm", "--network=host", f"--volume={folder}:/wheels"]
    command += [f"--volume={path}:{path}:ro" for path in dict.fromkeys(paths)]
    command += [f"--env={name}={value}" for name, value in variables.items()]
    docker(*command, base, "sh", "-c", script)
    for wheel in (*folder.glob("wheels/*.whl"), *folder.glob("more/*.whl")):
        project = folder / "index" / re.sub(r"[-_.]+", "-", wheel.name.split("-")[0]).lower()
        project.mkdir(parents=True, exist_ok=True)
        (project / wheel.name).unlink(missing_ok=True)
        os.link(wheel, project / wheel.name)
    (folder / "complete").touch()
    _say("downloaded packages for the images", begun)
    return folder


def _lms(docker: Docker, base: str, wheels: Path) -> str:
    # What changes with each version of the plugin is no part of the image: the job's code is mounted.
    tag = f"{NAME}/lms-without-erb:{key_of(base, str(wheels), HERE / 'lms', DEMO_LMS)}"
    if docker.has_image(tag):
        return tag
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lms-", dir=cache_folder()) as name:
        context = Path(name)
        shutil.copytree(wheels / "wheels", context / "wheels", copy_function=os.link)
        leave = shutil.ignore_patterns("__pycache__")
        shutil.copytree(HERE / "lms", context, ignore=leave, dirs_exist_ok=True)
        shutil.copytree(DEMO_LMS, context / "edx-platform", ignore=leave, dirs_exist_ok=True)
        docker.build(context, tag, f"--build-arg=BASE={base}")
    _say("made an LMS image without ERB", begun)
    return tag


def build_on(docker: Docker, base: str, tag: str, instructions: str, files: Mapping[str, Path], *options: str) -> None:
    """Build an image of ``instructions`` on ``base``; ``files`` are what they may copy."""
    with tempfile.TemporaryDirectory(prefix="build-", dir=cache_folder()) as name:
        context = Path(name)
        (context / "Dockerfile").write_text(f"FROM {base}\n{instructions}\n", encoding="utf-8")
        for target, source in files.items():
            shutil.copy(source, context / target)
        docker.build(context, tag, *options)


@contextlib.contextmanager
def served(index: Path) -> Iterator[str]:
    """Serve a folder as a package index on the loopback address; gives its URL."""
    handler = functools.partial(_Quiet, directory=str(index))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nobody needs pip's requests."""
