"""Tests do not depend on each other, and those of ``tests/unit`` not on Django."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
# What the LMS image has and a plain Python with the development packages may lack.
OF_THE_LMS = ("django", "event_routing_backends", "eventtracking", "tincan")

IMPORT_WITHOUT_LMS = """
import importlib, sys
for name in {blocked!r}:
    sys.modules[name] = None
for name in {modules!r}:
    importlib.import_module(name)
"""


def modules_imported(path: Path) -> Iterator[str]:
    """The modules below ``tests`` that a module imports: names of modules, and of what is taken from them."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("tests."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "tests":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_test_modules_do_not_import_each_other() -> None:
    """What several of them need is in ``tests/harness``."""
    wrong = [
        f"{path.relative_to(TESTS)} imports {name}"
        for path in sorted(TESTS.rglob("*.py"))
        for name in modules_imported(path)
        if any(part.startswith(("test_", "scenario_")) or part == "conftest" for part in name.split("."))
    ]
    assert not wrong


def test_unit_tests_can_be_imported_without_an_lms() -> None:
    modules = [f"tests.unit.{path.stem}" for path in sorted((TESTS / "unit").glob("*.py")) if path.stem != "__init__"]
    program = IMPORT_WITHOUT_LMS.format(blocked=OF_THE_LMS, modules=modules)
    done = subprocess.run([sys.executable, "-c", program], cwd=TESTS.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
