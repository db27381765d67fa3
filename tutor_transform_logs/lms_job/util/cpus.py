"""How many workers to start: as many as there are CPUs for, or more of them where they mostly wait."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

AUTO_WORKERS = "auto"
# A worker that waits for an object store does nothing else meanwhile.
WAITING_WORKERS_PER_CPU = 4
# More than one of them takes, whatever it reads.
WORKER_BYTES = 250 * 10**6
_CGROUPS = Path("/sys/fs/cgroup")


def worker_count(wanted: int | str) -> int:
    """The number of workers; ``"auto"``: the CPUs that this process may use, by affinity and cgroup quota."""
    if wanted != AUTO_WORKERS:
        return int(wanted)
    cpus = len(os.sched_getaffinity(0))
    return max(1, min([cpus, *(int(quota) for quota in _cgroup_quotas())]))


def waiting_worker_count(wanted: int | str) -> int:
    """The number of workers for work that is mostly waiting: ``"auto"`` is several for each CPU, as memory allows."""
    cpus = worker_count(wanted)
    if wanted != AUTO_WORKERS:
        return cpus
    most = int(min(_free_bytes(), default=0)) // WORKER_BYTES
    return max(cpus, min(WAITING_WORKERS_PER_CPU * cpus, most))


def _free_bytes(root: Path = _CGROUPS, meminfo: Path = Path("/proc/meminfo")) -> Iterator[int]:
    """What may still be taken of the machine's memory and, if it has a limit, of the container's (cgroup v2 and v1).

    Of what a container has taken, the pages of files are given back when they are needed.
    """
    with contextlib.suppress(OSError, ValueError, KeyError):
        yield 1024 * _fields(meminfo)["MemAvailable:"]
    for folder, limit, used, cached in (
        (root, "memory.max", "memory.current", "inactive_file"),
        (root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        with contextlib.suppress(OSError, ValueError, KeyError):
            taken = int((folder / used).read_text()) - _fields(folder / "memory.stat")[cached]
            # Where there is no limit, it says "max" (v2), or a very large number (v1).
            yield max(0, int((folder / limit).read_text()) - taken)


def _fields(path: Path) -> dict[str, int]:
    """The numbers in a file of the kernel, by the names before them."""
    lines = (line.split() for line in path.read_text().splitlines())
    return {parts[0]: int(parts[1]) for parts in lines if len(parts) > 1}


def _cgroup_quotas(root: Path = _CGROUPS) -> Iterator[float]:
    """CPUs that the container may use by its quota: cgroup v2's cpu.max, v1's cfs quota and period."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = (root / "cpu.max").read_text().split()
        if quota != "max":
            yield max(1.0, int(quota) / int(period))
    with contextlib.suppress(OSError, ValueError):
        quota_us = int((root / "cpu" / "cpu.cfs_quota_us").read_text())
        if quota_us > 0:
            yield max(1.0, quota_us / int((root / "cpu" / "cpu.cfs_period_us").read_text()))
