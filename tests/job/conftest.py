"""What the tests of the job share."""

from __future__ import annotations

from tests.job.runs import site

__all__ = ["site"]
