"""What the tests of the job share."""

from __future__ import annotations

from tests.harness.runs import site

__all__ = ["site"]
