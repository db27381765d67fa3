"""The file for Prometheus: its format, and what it keeps of earlier runs and of other jobs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tutor_transform_logs.lms_job.report.metrics import LAST_SUCCESS, METRICS, write_metrics
from tutor_transform_logs.lms_job.util.run_summary import RunNumbers, summarise

NUMBERS = RunNumbers(
    "Done.",
    {"blank": 1, "transformed": 189, "untransformable": 6},
    {"LRS a": {"made": 189, "stored": 180, "duplicates": 9, "rejected": 0}, "LRS b": {"made": 2, "stored": 2}},
    6,
)

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def samples(path: Path) -> Samples:
    """What Prometheus' own parser reads."""
    families = list(text_string_to_metric_families(path.read_text(encoding="utf-8")))
    assert all(family.documentation and family.type == "gauge" for family in families)
    assert len({family.name for family in families}) == len(families)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def one(found: Samples, name: str, **labels: str) -> float:
    [value] = [value for (of, has), value in found.items() if of == name and labels.items() <= dict(has).items()]
    return value


def write(path: Path, status: int = 0, job: str = "k1", numbers: RunNumbers = NUMBERS) -> None:
    write_metrics(path, summarise(status, 12.34, numbers, job, "xapi"), numbers)


def test_a_run_is_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "replay.prom"
    write(path)
    found = samples(path)
    assert one(found, "transform_logs_last_run_lines", job_key="k1", type="xapi", outcome="transformed") == 189
    assert one(found, "transform_logs_last_run_statements", destination="LRS a", outcome="duplicates") == 9
    assert one(found, "transform_logs_last_run_statements", destination="LRS b", outcome="stored") == 2
    assert one(found, "transform_logs_last_run_dead_letters") == 6
    assert one(found, "transform_logs_last_run_duration_seconds") == 12.3
    assert one(found, "transform_logs_last_run_exit_status") == 0
    ended = one(found, "transform_logs_last_run_timestamp_seconds")
    assert one(found, LAST_SUCCESS) == ended > 1.7e9
    # Nothing beside it, and everybody can read it.
    assert [each.name for each in path.parent.iterdir()] == ["replay.prom"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_the_names_are_as_prometheus_wants_them() -> None:
    for name in METRICS:
        assert re.fullmatch(r"transform_logs(_[a-z]+)+", name)
        # https://prometheus.io/docs/practices/naming/: base units, and _total for counters alone.
        assert not re.search(r"_(total|count|sum|milliseconds|minutes|hours|ratio_percent)$", name)
        if "duration" in name or "timestamp" in name:
            assert name.endswith("_seconds")


@pytest.mark.parametrize("status", [1, 3, 4])
def test_the_last_success_outlives_a_run_that_failed(tmp_path: Path, status: int) -> None:
    path = tmp_path / "replay.prom"
    write(path, status)
    assert LAST_SUCCESS not in path.read_text()
    write(path)
    text = re.sub(rf"^({LAST_SUCCESS}.*) \d+$", r"\1 1700000000", path.read_text(), flags=re.MULTILINE)
    path.write_text(text)
    for _ in range(2):
        write(path, status, numbers=RunNumbers())
    found = samples(path)
    assert one(found, LAST_SUCCESS, job_key="k1") == 1700000000
    assert one(found, "transform_logs_last_run_exit_status") == status
    assert one(found, "transform_logs_last_run_dead_letters") == 0
    assert "last_run_lines" not in path.read_text()


def test_jobs_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "replay.prom"
    write(path, job="k1")
    write(path, 4, job="k2")
    write(path, 3, job="k1", numbers=RunNumbers(lines={"transformed": 5}))
    found = samples(path)
    assert one(found, "transform_logs_last_run_exit_status", job_key="k1") == 3
    assert one(found, "transform_logs_last_run_exit_status", job_key="k2") == 4
    assert one(found, "transform_logs_last_run_lines", job_key="k1") == 5
    assert one(found, LAST_SUCCESS, job_key="k1") > 0


def test_any_name_of_a_destination_is_a_label(tmp_path: Path) -> None:
    path, name = tmp_path / "replay.prom", 'LRS "x"\\y\nz {} é'
    for _ in range(2):
        write(path, numbers=RunNumbers(statements={name: {"made": 1, "stored": 1}}))
    assert one(samples(path), "transform_logs_last_run_statements", destination=name, outcome="stored") == 1


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85", "\r", "\f", "\v", "\x1c", "\n"])
def test_what_ends_a_line_elsewhere_is_kept_of_another_job(tmp_path: Path, end: str) -> None:
    path = tmp_path / "replay.prom"
    write(path, job="k1", numbers=RunNumbers(statements={f"LRS a{end}b": {"made": 1, "stored": 1}}))
    before = path.read_bytes()
    for _ in range(2):
        write(path, job="k2", numbers=RunNumbers())
    kept = path.read_bytes().split(b"\n")
    assert [line for line in before.split(b"\n") if line not in kept] == []


def test_what_is_not_of_this_job_in_the_file_goes(tmp_path: Path) -> None:
    path = tmp_path / "replay.prom"
    path.write_bytes(b"\xff\x00 garbage\nother_metric 1\ntransform_logs_last_run_lines{} x y\n")
    write(path)
    assert "garbage" not in path.read_text()
    assert one(samples(path), "transform_logs_last_run_dead_letters") == 6


def test_a_file_that_can_not_be_written_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "replay.prom"
    path.mkdir()
    with pytest.raises(OSError, match=r"."):
        write(path)
    assert [each.name for each in tmp_path.iterdir()] == ["replay.prom"]
