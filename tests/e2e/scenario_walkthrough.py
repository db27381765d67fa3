"""``docs/walkthrough.rst``, command by command: each is run as it stands there, and prints what the page says.

In a home of its own, so that ``tutor`` uses its usual folders. What is not available here is replaced, and nothing
else is:

* this plugin comes from this checkout, not from PyPI;
* ``tutor local launch`` would pull and build images that there is no registry for: it leaves a site of ``new_site``;
* the backlog is the demo's sample logs, the LRS is Ralph at an address of this machine, with a password of its own;
* the site is live: its own log is there, and has an event that is not in the backlog;
* the image is built from the packages that there are here;
* root needs no ``sudo``.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e import images as image_module
from tests.e2e.docker import Docker
from tests.e2e.images import Images
from tests.e2e.site import DockerSite, MakeSite
from tests.harness.doc_commands import REPOSITORY, Command, commands, missing
from tests.harness.ralph import Lrs
from tutor_transform_logs.demo import samples
from tutor_transform_logs.demo.log_writer import Mix

Say = Callable[[str], None]

PAGE = REPOSITORY / "docs" / "walkthrough.rst"
ENDED = "the command has ended with"
# What a command is asked for goes to standard output.
RESULTS = ("Done. ", "Nothing new ", "Nothing was changed", "Plan ", "lines ", "dead letters ")


@dataclass(frozen=True)
class Printed:
    """What a command has printed, each stream by itself."""

    status: int
    stdout: str
    stderr: str

    def lacks(self, command: Command) -> list[str]:
        """The lines of the page that are in neither stream, in the order of the page.

        A result that comes on standard error would be lost to who keeps it (``> result.txt``): it counts as missing.
        """
        # A path here is longer than that of the page: what follows it may be on a line of its own.
        joined = re.sub(r":\n +", ": ", self.stdout)
        elsewhere = missing(command.output, "\n".join((self.stdout, joined)))
        return [*missing(tuple(elsewhere), self.stderr), *(line for line in elsewhere if line.startswith(RESULTS))]

    def __str__(self) -> str:
        return f"{self.stdout[-5000:]}\n--- standard error ---\n{self.stderr[-5000:]}"


class Shell:
    """One bash for all the commands, as a reader of the page has it."""

    def __init__(self, home: Path, environment: dict[str, str], streams: Path) -> None:
        """``streams``: a folder for what the commands print."""
        self._out, self._err = streams / "stdout", streams / "stderr"
        self._process = subprocess.Popen(
            ["bash"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**environment, "HOME": str(home)},
            cwd=home,
            text=True,
        )

    def __call__(self, command: str) -> Printed:
        """Run a command; gives its exit status and all that it printed."""
        assert self._process.stdin
        assert self._process.stdout
        files = f">{shlex.quote(str(self._out))} 2>{shlex.quote(str(self._err))}"
        self._process.stdin.write(f"{{ {command}\n}} </dev/null {files}\necho {shlex.quote(ENDED)} $?\n")
        self._process.stdin.flush()
        _, found, status = self._process.stdout.readline().partition(ENDED)
        assert found, f"bash has ended: {self._err.read_text()[-2000:]}"
        return Printed(int(status), self._out.read_text(), self._err.read_text())

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def _checkout(folder: Path) -> Path:
    """What is packaged, so that building leaves nothing behind in the repository."""
    for name in ("tutor_transform_logs", "patches", "templates"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "LICENSE", "README.rst"):
        shutil.copy(REPOSITORY / name, folder)
    return folder


def _launch(site: DockerSite, root: Path) -> None:
    """What ``tutor local launch`` leaves: a configured site, its database, the LMS's folders and the log it writes."""
    shutil.copy(site.root / "config.yml", root)
    for override in (site.root / "env" / "local").glob("*.override.yml"):
        shutil.copy(override, root / "env" / "local")
    shutil.copytree(site.data, root / "data" / "lms", dirs_exist_ok=True)
    shutil.chown(root / "data" / "lms" / "logs", 1000, 1000)


@pytest.mark.timeout(1200)
def test_every_command_of_the_page(
    new_site: MakeSite, lrs: Lrs, docker: Docker, images: Images, tmp_path: Path, found: Say
) -> None:
    site = new_site(DOCKER_IMAGE_OPENEDX=images.lms_without_erb, erb_tables=False)
    live = site.log(Mix(good=1))
    event = live.path.read_bytes()
    home, checkout = tmp_path / "home", tmp_path / "checkout"
    (home / "backlog").mkdir(parents=True)
    samples.write(home / "backlog")
    _checkout(checkout)
    variables, _ = image_module._pip_settings()
    cache = subprocess.check_output([sys.executable, "-m", "pip", "cache", "dir"], text=True).strip()
    path = f"{Path(sys.executable).parent}:{docker.environment['PATH']}"
    shell = Shell(home, {**docker.environment, **variables, "PIP_CACHE_DIR": cache, "PATH": path}, tmp_path)
    done = []
    with image_module.served(images.index) as index:
        in_place_of = {
            "'tutor-contrib-transform-logs[demo]'": shlex.quote(f"{checkout}[demo]"),
            "https://lrs.example.com/xAPI": lrs.url,
            '"username": "openedx", "password": "..."': f'"username": "{lrs.username}", "password": "{lrs.password}"',
            "images build transform-logs": f"images build transform-logs -a PIP_INDEX_URL={index} "
            "--docker-arg=--network=host",
            "tutor local launch --non-interactive": "tutor config save",
            "sudo ": "",
        }
        try:
            for command in commands(PAGE):
                text = command.text
                if "local launch" in text:
                    _launch(site, home / ".local/share/tutor")
                for theirs, ours in in_place_of.items():
                    text = text.replace(theirs, ours)
                printed = shell(text)
                wanted = 1 if any("PROBLEM" in line for line in command.output) else 0
                assert printed.status == wanted, f"{command} ended with {printed.status}\n{printed}"
                gone = printed.lacks(command)
                assert not gone, f"{command} does not print {gone}\n{printed}"
                done.append(command)
        finally:
            shell.close()
    count = lrs.count()
    assert count == samples.expected("xapi").distinct_statements + live.xapi.statements
    data = home / ".local/share/tutor/data/lms"
    assert {path.name: path.read_bytes() for path in (data / "logs").glob("tracking.log*")} == {"tracking.log": event}
    assert not list((home / ".local/share/tutor/data").rglob("dead-letters.jsonl"))
    found(f"{len(done)} commands of the page as they are; Ralph has {count} statements")
