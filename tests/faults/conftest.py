"""Fixtures of the fault suite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.demo_lms import DemoLms
from tests.harness.forked_site import ForkedSite
from tests.harness.job import local


def new_site(folder: Path, lms: DemoLms) -> ForkedSite:
    """A site whose logs become files, in many small batches."""
    site = ForkedSite(folder, lms)
    site.ledger.mkdir()
    site.settings = {
        **site.source(prefix=""),
        **site.to_files(),
        **local("ledger", site.ledger),
        "batch_size": 6,
        "lrs_timeout_secs": 5,
        "lrs_max_wait_secs": 10,
    }
    return site


@pytest.fixture
def world(demo_lms_template: DemoLms, tmp_path: Path) -> ForkedSite:
    """A source, a destination and a ledger of one's own, and jobs that work on them."""
    return new_site(tmp_path, demo_lms_template)


@pytest.fixture
def new_world(demo_lms_template: DemoLms, tmp_path: Path) -> Callable[..., ForkedSite]:
    """Gives a world of this name, in an LMS of its own if it gets one, for tests that compare two."""
    return lambda name, lms=demo_lms_template: new_site(tmp_path / name, lms)
