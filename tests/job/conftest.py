"""What the tests of the job share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.demo_lms import DemoLms
from tests.harness.forked_site import ForkedSite


@pytest.fixture
def site(demo_lms: DemoLms, tmp_path: Path) -> ForkedSite:
    """An LMS with an empty folder of logs; each test says where they go."""
    return ForkedSite(tmp_path, demo_lms, {"lrs_max_wait_secs": 5})
