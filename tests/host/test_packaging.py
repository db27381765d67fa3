"""A wheel, an sdist and an editable install show Tutor the same files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.tutor_cli import TUTORS, Tutor, tutor_bin, tutor_environ

pytestmark = pytest.mark.slow

# What Tutor sees of the plugin: its patches, and all templates below its roots that it would render.
SEEN = """
import hashlib, sys
from tutor import env, hooks, plugins
hooks.Actions.CORE_READY.do()
plugins.load_all(["transform_logs"])
def digest(content):
    return hashlib.sha256(content).hexdigest()[:12]
lines = [f"patch {name} {digest(text.encode())}" for name, text in hooks.Filters.ENV_PATCHES.iterate()]
renderer = env.JinjaEnvironment()
targets = hooks.Filters.ENV_TEMPLATE_TARGETS.iterate_from_context(hooks.Contexts.app("transform_logs").name)
prefixes = tuple(source for source, target in targets)
for name in renderer.loader.list_templates():
    if name.startswith(prefixes) and env.is_rendered(name):
        lines.append(f"template {name} {digest(renderer.read_bytes(name))}")
print("\\n".join(sorted(lines)))
"""


def pip(python: Path, *args: str) -> None:
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*pip, "install", "--no-deps", *args], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def distributions(checkout: Path, installed: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What to give to pip: the sdist, the wheel that is built from it, and the checkout."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(checkout)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return {"wheel": [str(wheel)], "sdist": [str(sdist)], "editable": ["--editable", str(checkout)]}


def test_every_kind_of_install_shows_tutor_the_same_files(
    distributions: dict[str, list[str]], checkout: Path, recorder: Path, tmp_path: Path
) -> None:
    seen: dict[str, str] = {}
    environ = tutor_environ(recorder, tmp_path, None)
    tutors = subprocess.check_output(
        [tutor_bin(TUTORS[-1]) / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
    )
    for kind, what in distributions.items():
        # A fresh environment that borrows Tutor, which would take a minute to install, from the cached one.
        folder = tmp_path / kind
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        python = folder / "bin/python"
        site = subprocess.check_output(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
        )
        (Path(site.strip()) / "tutor.pth").write_text(tutors)
        pip(python, *what)
        done = subprocess.run([python, "-c", SEEN], env=environ, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        seen[kind] = done.stdout

        (folder / "bin/tutor").write_text(f"#!{python}\nfrom tutor.commands.cli import main\nmain()\n")
        (folder / "bin/tutor").chmod(0o755)
        root = tmp_path / f"{kind}-root"
        root.mkdir()
        tutor = Tutor(folder / "bin", root, environ)
        tutor.must("plugins", "enable", "transform_logs")
        assert tutor.replay().status == 0

    names = [line.split()[1] for line in seen["wheel"].splitlines()]
    for patch in (checkout / "patches").iterdir():
        assert patch.name in names
    for template in (checkout / "templates").rglob("*.sh"):
        assert str(template.relative_to(checkout / "templates")) in names
    assert "lms_job/config/schema.py" in names
    assert seen["sdist"] == seen["wheel"]
    assert seen["editable"] == seen["wheel"]
