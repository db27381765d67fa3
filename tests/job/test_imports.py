"""The job's code stands alone: it is rendered by Jinja into a folder, and runs in the LMS image with what is there."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tutor_transform_logs.lms_job

FOLDER = Path(tutor_transform_logs.lms_job.__file__).parent
MODULES = sorted(FOLDER.rglob("*.py"))
IN_THE_IMAGE = {
    "boto3", "botocore", "django", "event_routing_backends", "eventtracking", "libcloud", "psutil", "requests",
    "tincan", "tqdm", "urllib3", "zstandard", "opaque_keys", "common", "openedx",
}  # fmt: skip


def imports(path: Path) -> set[str]:
    """The packages that a module imports, by statement or by name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level <= 1, f"{path.name} imports from outside its folder"
            if node.level == 0 and node.module:
                found.add(node.module)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            [name] = node.args
            # Where it is not text alone, it is text behind the name of ERB's package, or a module of tincan.
            text = re.sub(
                r"^(\{(\w+\.)?ERB\}|ERB$)", "event_routing_backends", ast.unparse(name).removeprefix("f").strip("'")
            )
            text = text.removesuffix(".{name}")
            if text.startswith("{__package__}."):
                continue
            assert re.fullmatch(r"[\w.]+", text), f"{path.name}: {ast.unparse(node)} imports something unknown"
            found.add(text)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_a_module_needs_only_what_the_image_has(path: Path) -> None:
    packages = {name.partition(".")[0] for name in imports(path)}
    assert packages <= set(sys.stdlib_module_names) | IN_THE_IMAGE | {"__future__"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_a_module_survives_jinja(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"\{[{%#]", text), "Jinja would take this for its own"
    assert text.endswith("\n") or not text
    assert not text.endswith("\n\n"), "Jinja drops one newline only"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_a_module_names_neither_the_demo_nor_a_database(path: Path) -> None:
    assert not re.search(r"tutor_demo|\bdemo\b|sqlite", path.read_text().lower())


def test_the_folder_is_flat_and_small_enough_for_a_configmap() -> None:
    files = [path for path in FOLDER.iterdir() if not path.name.startswith((".", "__pycache__"))]
    assert all(path.is_file() and path.suffix == ".py" for path in files)
    # A ConfigMap holds 1 MiB at most.
    assert sum(path.stat().st_size for path in files) < 500_000
    assert max(len(path.read_text().splitlines()) for path in files) <= 450


def test_the_config_module_needs_the_standard_library_alone() -> None:
    """The host has neither Django nor libcloud."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); before = set(sys.modules)\n"
        "import lms_job.config\n"
        "print({n.partition('.')[0] for n in set(sys.modules) - before} - set(sys.stdlib_module_names) - {'lms_job'})"
    )
    command = [sys.executable, "-S", "-c", code, str(FOLDER.parent)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "set()"
