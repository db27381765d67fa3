"""How many workers ``auto`` is: by CPUs, and where they mostly wait, more of them, as far as there is memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tutor_transform_logs.lms_job.util import cpus
from tutor_transform_logs.lms_job.util.cpus import (
    WAITING_WORKERS_PER_CPU,
    WORKER_BYTES,
    _free_bytes,
    waiting_worker_count,
    worker_count,
)

MEMINFO = "MemTotal:       16000000 kB\nMemFree:         100000 kB\nMemAvailable:    8000000 kB\nHugePages_Total: 0\n"
AVAILABLE = 8_000_000 * 1024
V2 = {"memory.max": "1000000000\n", "memory.current": "700000000\n", "memory.stat": "anon 5\ninactive_file 300000000\n"}
V1 = {
    "memory/memory.limit_in_bytes": "2000000000\n",
    "memory/memory.usage_in_bytes": "900000000\n",
    "memory/memory.stat": "cache 5\ninactive_file 1\ntotal_inactive_file 400000000\n",
}


def free(folder: Path, files: dict[str, str], meminfo: str = MEMINFO) -> list[int]:
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    (folder / "meminfo").write_text(meminfo)
    return list(_free_bytes(folder, folder / "meminfo"))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, [AVAILABLE]),
        (V2, [AVAILABLE, 600_000_000]),
        (V1, [AVAILABLE, 1_500_000_000]),
        ({**V2, "memory.max": "max\n"}, [AVAILABLE]),
        ({**V2, "memory.max": "100\n"}, [AVAILABLE, 0]),
        ({**V2, "memory.stat": "anon 5\n"}, [AVAILABLE]),
        ({**V2, "memory.current": "?"}, [AVAILABLE]),
    ],
)
def test_what_is_free_is_known_from_the_machine_and_the_container(
    tmp_path: Path, files: dict[str, str], expected: list[int]
) -> None:
    assert free(tmp_path, files) == expected


def test_a_machine_that_says_nothing_is_not_asked_for_more(tmp_path: Path) -> None:
    assert free(tmp_path, {}, "") == []


@pytest.mark.parametrize(
    ("wanted", "bytes_free", "expected"),
    [
        ("auto", [10**12], WAITING_WORKERS_PER_CPU * 3),
        ("auto", [10**12, 5 * WORKER_BYTES], 5),
        ("auto", [5 * WORKER_BYTES - 1, 10**12], 4),
        ("auto", [0], 3),
        ("auto", [], 3),
        (1, [10**12], 1),
        (20, [0], 20),
    ],
)
def test_more_workers_than_cpus_only_as_memory_allows(
    monkeypatch: pytest.MonkeyPatch, wanted: int | str, bytes_free: list[int], expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    monkeypatch.setattr(cpus, "_cgroup_quotas", lambda: iter(()))
    monkeypatch.setattr(cpus, "_free_bytes", lambda: iter(bytes_free))
    assert worker_count(wanted) == (3 if wanted == "auto" else wanted)
    assert waiting_worker_count(wanted) == expected
