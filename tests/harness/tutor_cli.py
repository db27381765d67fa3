"""A real ``tutor`` with the plugin, of each supported version."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.harness.venvs import venv

TUTORS = (20, 21, 22)


@dataclass(frozen=True)
class Done:
    """A command that has ended, and the calls of ``docker`` that it made."""

    status: int
    output: str
    calls: list[dict[str, Any]]

    @property
    def job(self) -> dict[str, Any]:
        """The call that ran the job."""
        assert len(self.calls) == 1, self.output
        return self.calls[0]

    @property
    def config(self) -> dict[str, Any]:
        """What the job's config file held while the job ran."""
        config: dict[str, Any] = self.job["config"]
        return config

    @property
    def error(self) -> str:
        """The error's line, and a check that it is the only one."""
        lines = [line for line in self.output.splitlines() if line.strip()]
        assert self.status == 1, self.output
        assert not self.calls
        assert "Traceback" not in self.output
        assert lines[-1].startswith("Error: ")
        assert len(lines) == 1, self.output
        return lines[0]


@dataclass(frozen=True)
class Tutor:
    """A ``tutor`` command with its own root folder."""

    bin: Path
    root: Path
    environ: dict[str, str]

    def __call__(self, *args: str, **environ: str) -> Done:
        recording = self.root.parent / f"{self.root.name}-calls"
        recording.unlink(missing_ok=True)
        done = subprocess.run(
            [self.bin / "tutor", *args],
            env={**self.environ, "TUTOR_ROOT": str(self.root), "RECORDING": str(recording), **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        calls = recording.read_text().splitlines() if recording.exists() else []
        said = [line for line in done.stdout.splitlines(keepends=True) if "running Tutor as root" not in line]
        return Done(done.returncode, "".join(said), [json.loads(call) for call in calls])

    def shell(self, text: str, answers: str = "") -> subprocess.CompletedProcess[str]:
        """What a person types, in a shell that finds this ``tutor``; ``answers`` to what it asks, a line for each."""
        environ = {**self.environ, "TUTOR_ROOT": str(self.root), "RECORDING": str(self.root.parent / "calls")}
        environ["PATH"] = f"{self.bin}:{environ['PATH']}"
        return subprocess.run(
            ["bash", "-c", text], env=environ, capture_output=True, text=True, cwd=self.root, input=answers
        )

    def must(self, *args: str) -> str:
        """Run it, and see that it ends well."""
        done = self(*args)
        assert done.status == 0, done.output
        return done.output

    def save(self, **settings: str) -> None:
        """``config save`` with settings, as a user would set them."""
        self.must("config", "save", *(word for name, text in settings.items() for word in ("--set", f"{name}={text}")))

    def replay(self, *args: str, **environ: str) -> Done:
        """The command under test."""
        return self("local", "do", "transform-tracking-logs", *args, **environ)

    def compose(self, *files: str) -> dict[str, Any]:
        """The services of compose files below env/, merged as docker compose merges what is needed here."""
        services: dict[str, Any] = {}
        for name in files:
            text = (self.root / "env" / name).read_text(encoding="utf-8")
            for service, more in (yaml.safe_load(text)["services"] or {}).items():
                merged = services.setdefault(service, {})
                for key, value in more.items():
                    if isinstance(value, dict):
                        merged[key] = {**merged.get(key, {}), **value}
                    elif key == "volumes":
                        merged[key] = [*merged.get(key, []), *value]
                    else:
                        merged[key] = value
        return services


def tutor_environ(recorder: Path, folder: Path, plugin: Path | None) -> dict[str, str]:
    """Nothing of the user's own Tutor may be seen, and no variable of the tests' either."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("TUTOR_", "DJANGO_", "PYTHON"))}
    plugins = folder / "no-plugins"
    plugins.mkdir(exist_ok=True)
    environ = {
        **inherited,
        "PATH": f"{recorder}{os.pathsep}{inherited['PATH']}",
        "TUTOR_PLUGINS_ROOT": str(plugins),
        "COLUMNS": "100",
        "NO_COLOR": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return {**environ, "PYTHONPATH": str(plugin)} if plugin else environ


def tutor_bin(major: int) -> Path:
    """The latest Tutor of that major version, in its own cached environment."""
    return venv(f"tutor{major}", [f"tutor>={major},<{major + 1}"])


def fresh_tutor(
    major: int, roots: dict[int, Path], recorder: Path, installed: Path, factory: pytest.TempPathFactory
) -> Tutor:
    """A Tutor with the plugin enabled and its environment saved."""
    folder = factory.mktemp(f"tutor{major}")
    environ = tutor_environ(recorder, folder, installed)
    if major not in roots:
        first = Tutor(tutor_bin(major), folder / "first", environ)
        first.root.mkdir()
        first.must("plugins", "enable", "transform_logs")
        first.must("config", "save", "--set", "PLUGINS=['transform_logs']", "--set", "LMS_HOST=lms.test")
        roots[major] = first.root
    shutil.copytree(roots[major], folder / "root")
    return Tutor(tutor_bin(major), folder / "root", environ)
