"""Images without a registry: a Debian of debootstrap's, on it a Python, and an LMS as edx-platform's from outside.

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
from tests.harness import pythons
from tests.harness.process import ServiceError
from tests.harness.venvs import cache_folder

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
DEMO_LMS = REPOSITORY / "tutor_transform_logs" / "demo" / "lms"
NAME = "transform-logs-e2e"
PACKAGES = ("python3", "python3-venv")
# Of what a Python of this machine has, what no program in a container needs.
NOT_COPIED = ("test", "idlelib", "tkinter", "turtledemo", "site-packages/*", "config-*", "lib-dynload/_tkinter*")
# Part of every Debian, and to be the image's own.
LIBC = re.compile(r"/(?:libc|libm|libdl|libpthread|librt|libutil|libresolv|ld-linux[-\w]*)\.so")
# What the images that this plugin builds take from the package index, and what pip would rather have.
NEEDED = ("edx-event-routing-backends>=9.3,<11", "apache-libcloud>=3.8,<4", "zstandard>=0.22,<1")
TEMPTING = ("Django>=5.2,<6", "django-redis>=7")


@dataclass(frozen=True)
class Images:
    """The images, by tag, and a folder that is a package index (PEP 503) with all that they may install."""

    python: str
    base: str
    lms_without_erb: str
    index: Path


def ensure(docker: Docker, version: str) -> Images:
    """Build what is missing for an LMS on this Python; on Debian's own if this machine does not have it."""
    debian = _debian(docker)
    base = _with_python(docker, debian, version)
    python = docker("run", "--rm", "--network=none", base, "python3", "--version").split()[-1]
    wheels = _wheels(docker, base)
    lms = _lms(docker, base, wheels, version)
    keep_only(docker, debian, base, lms)
    return Images(python, base, lms, wheels / "index")


def keep_only(docker: Docker, *tags: str) -> None:
    """Remove older images of the same names, whose ingredients have changed since."""
    for tag in tags:
        for found in docker("images", "--format", "{{.Repository}}:{{.Tag}}", tag.split(":")[0]).split():
            if found != tag:
                docker("rmi", "--force", found)


def say(text: str, begun: float) -> None:
    """Print what was made, and how long it took."""
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


def _debian(docker: Docker) -> str:
    suite, mirror = _release()
    tag = f"{NAME}/debian:{key_of(suite, *PACKAGES)}"
    if docker.has_image(tag):
        return tag
    begun = time.monotonic()
    debootstrap = shutil.which("debootstrap", path=docker.environment["PATH"])
    if debootstrap is None:
        raise ServiceError("debootstrap is missing: install the Debian package of this name")
    # Not below /tmp, which may be mounted so that no device can be made in it.
    with tempfile.TemporaryDirectory(prefix="base-", dir=cache_folder()) as folder:
        root, log = Path(folder, "root"), Path(folder, "log")
        command = [debootstrap, "--variant=minbase", f"--include={','.join(PACKAGES)}", suite, str(root), mirror]
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
    say(f"made a base image ({suite})", begun)
    return tag


def _with_python(docker: Docker, debian: str, version: str) -> str:
    """Debian with the Python of this version that this machine has, where it is not Debian's own."""
    own = docker("run", "--rm", "--network=none", debian, "python3", "-c", _VERSION).strip()
    python = pythons.find(version) if own != version else None
    if python is None:
        return debian
    prefix = python.parents[1]
    tag = f"{NAME}/python-{version}:{key_of(debian, str(prefix), *NOT_COPIED)}"
    if docker.has_image(tag):
        return tag
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="python-", dir=cache_folder()) as name:
        context = Path(name)
        libraries = _libraries(prefix, version)
        (context / "lib").mkdir()
        for library in libraries:
            shutil.copy(library, context / "lib")
        left_out = [f"--exclude=lib/python{version}/{pattern}" for pattern in (*NOT_COPIED, "**/__pycache__")]
        parts = ("bin", f"lib/python{version}")
        pack = ["tar", f"--directory={prefix}", "--create", f"--file={context / 'python.tar'}", *left_out, *parts]
        subprocess.run(pack, check=True)
        steps = f"""FROM {debian}
            ADD python.tar /usr/local/
            COPY lib /usr/local/lib/
            RUN ldconfig && ln -sf python{version} /usr/local/bin/python3 && python3 -m ensurepip --version
            """
        (context / "Dockerfile").write_text(steps)
        docker.build(context, tag)
    say(f"made a base image with {python}", begun)
    return tag


_VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


def _libraries(prefix: Path, version: str) -> set[Path]:
    """What the Python below ``prefix`` is linked with, but the C library."""
    modules = (prefix / f"lib/python{version}/lib-dynload").glob("*.so")
    linked = [prefix / f"bin/python{version}", *(path for path in modules if "_tkinter" not in path.name)]
    listed = subprocess.run(["ldd", *linked], capture_output=True, text=True, check=True).stdout
    found = set(re.findall(r"=> (/\S+)", listed))
    return {Path(path) for path in found if not LIBC.search(path)}


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


def run_with_pip(docker: Docker, image: str, script: str, *options: str) -> None:
    """Run a shell script in a container that has the network, and this machine's settings of pip."""
    variables, paths = _pip_settings()
    command = ["run", "--network=host", *options]
    command += [f"--volume={path}:{path}:ro" for path in dict.fromkeys(paths)]
    command += [f"--env={name}={value}" for name, value in variables.items()]
    docker(*command, image, "sh", "-e", "-c", script)


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
    run_with_pip(docker, base, script, "--rm", f"--volume={folder}:/wheels")
    for wheel in (*folder.glob("wheels/*.whl"), *folder.glob("more/*.whl")):
        project = folder / "index" / re.sub(r"[-_.]+", "-", wheel.name.split("-")[0]).lower()
        project.mkdir(parents=True, exist_ok=True)
        (project / wheel.name).unlink(missing_ok=True)
        os.link(wheel, project / wheel.name)
    (folder / "complete").touch()
    say("downloaded packages for the images", begun)
    return folder


def _lms(docker: Docker, base: str, wheels: Path, version: str) -> str:
    # What changes with each version of the plugin is not in the image: the job's code is mounted.
    tag = f"{NAME}/lms-without-erb-{version}:{key_of(base, str(wheels), HERE / 'lms', DEMO_LMS)}"
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
    say(f"made an LMS image with Python {version} and without ERB", begun)
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
