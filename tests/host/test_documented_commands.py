"""Every ``tutor`` command that the documentation shows is taken by the real ``tutor``, page by page.

``docker`` is one that records (see conftest), so no container is started: what is checked is that commands, settings
and options are there, and that their values pass the checks.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.harness.doc_commands import REPOSITORY, Command, commands
from tests.harness.tutor_cli import Tutor

# What installs something, or needs what a page had before it.
LEFT_OUT = re.compile(r"tutor (local|k8s) (launch|start|do init)|tutor transform-logs (demo|report|preview)")
# Aspects' own commands: see test_aspects.
OF_ASPECTS = re.compile(r"tutor local do (dbt|dump-data-to-clickhouse) ")


def tutor_commands(path: Path) -> list[Command]:
    """The page's commands that run ``tutor``, without where their output goes."""
    found = [command for command in commands(path) if re.match(r"tutor ", command.text)]
    return [command for command in found if not LEFT_OUT.match(command.text) and not OF_ASPECTS.match(command.text)]


# The walk-through is run for real: see tests/e2e/scenario_walkthrough.py.
PAGES = [path for path in sorted((REPOSITORY / "docs").rglob("*.rst")) if path.stem != "walkthrough"]
PAGES = [path for path in PAGES if tutor_commands(path)]


@pytest.mark.parametrize("path", PAGES, ids=[str(path.relative_to(REPOSITORY)) for path in PAGES])
def test_commands_of_a_page(path: Path, tutor: Tutor) -> None:
    for command in tutor_commands(path):
        # What is different about a cluster is tried in tests/k8s.
        text = command.text.replace("tutor k8s do", "tutor local do")
        done = tutor.shell(text, "y\n")
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
