"""The tests here need neither Django nor servers nor processes of the job."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def no_django() -> Iterator[None]:
    """Fail a test that imports Django. (In a run of all tests, other tests have imported it before.)"""
    imported_before = "django" in sys.modules
    yield
    assert imported_before or "django" not in sys.modules, "a test of tests/unit must not need Django"
