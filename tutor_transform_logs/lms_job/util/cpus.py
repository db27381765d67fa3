"""How many workers to start."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

AUTO_WORKERS = "auto"


def worker_count(wanted: int | str) -> int:
    """The number of workers; ``"auto"``: the CPUs that this process may use, by affinity and cgroup quota."""
    if wanted != AUTO_WORKERS:
        return int(wanted)
    cpus = len(os.sched_getaffinity(0))
    return max(1, min([cpus, *(int(quota) for quota in _cgroup_quotas())]))


def _cgroup_quotas(root: Path = Path("/sys/fs/cgroup")) -> Iterator[float]:
    """CPUs that the container may use by its quota: cgroup v2's cpu.max, v1's cfs quota and period."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = (root / "cpu.max").read_text().split()
        if quota != "max":
            yield max(1.0, int(quota) / int(period))
    with contextlib.suppress(OSError, ValueError):
        quota_us = int((root / "cpu" / "cpu.cfs_quota_us").read_text())
        if quota_us > 0:
            yield max(1.0, quota_us / int((root / "cpu" / "cpu.cfs_period_us").read_text()))
