"""Fixtures of the fault suite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.job import DemoLms
from tests.harness.world import World


@pytest.fixture
def world(demo_lms_template: DemoLms, tmp_path: Path) -> World:
    """A source, a destination and a ledger of one's own, and jobs that work on them."""
    return World(tmp_path, demo_lms_template)


@pytest.fixture
def new_world(demo_lms_template: DemoLms, tmp_path: Path) -> Callable[[str], World]:
    """Gives a world of this name, for tests that compare two."""
    return lambda name: World(tmp_path / name, demo_lms_template)
