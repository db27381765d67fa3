"""A file of metrics in Prometheus' text format, which node_exporter's textfile collector reads.

Several jobs may share a file: each replaces its own samples, and keeps those of the others. The names follow
https://prometheus.io/docs/practices/naming/, the format is that of
https://prometheus.io/docs/instrumenting/exposition_formats/.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ..util.errors import ExitStatus
from ..util.run_summary import RunNumbers, Summary

LAST_SUCCESS = "transform_logs_last_success_timestamp_seconds"
# Prometheus has a label "job" of its own, and would rename one of this name.
KEY_LABEL = "job_key"
METRICS = {
    "transform_logs_last_run_lines": "Lines of the last run's plan, by outcome.",
    "transform_logs_last_run_statements": "Statements of the last run's plan, by destination and outcome.",
    "transform_logs_last_run_dead_letters": "Dead letters of the last run's plan.",
    "transform_logs_last_run_duration_seconds": "How long the last run took.",
    "transform_logs_last_run_exit_status": "Exit status of the last run; 0 is success.",
    "transform_logs_last_run_timestamp_seconds": "When the last run ended, in seconds since 1970.",
    LAST_SUCCESS: "When the last run ended that had the exit status 0, in seconds since 1970.",
}
_SAMPLE = re.compile(r"(\w+)(\{.*\}) (\S+)")

Samples = dict[str, list[str]]
"""Name of the metric -> what follows it in each line: labels and value."""
Sample = tuple[str, str, str]
"""Name of the metric, labels, value."""


def write_metrics(path: Path, summary: Summary, numbers: RunNumbers) -> None:
    """Write ``path``, whole or not at all. Raises ``OSError``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.parent):
        old = list(_old(path))
        kept = _of_others(old, str(summary["job_key"]))
        labels = {KEY_LABEL: str(summary["job_key"]), "type": str(summary["type"])}
        last_success = _old_success(old, labels)
        if summary["status"] == ExitStatus.DONE:
            last_success = f"{time.time():.0f}"
        for name, sample in _samples(labels, summary, numbers):
            kept[name].append(sample)
        if last_success:
            kept[LAST_SUCCESS].append(f"{_labels(labels)} {last_success}")
        new = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
        try:
            new.write_text("".join(_lines(kept)), encoding="utf-8")
            # Others read it: node_exporter has a user of its own.
            new.chmod(0o644)
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)


def _samples(labels: Mapping[str, str], summary: Summary, numbers: RunNumbers) -> Iterator[tuple[str, str]]:
    run = "transform_logs_last_run"
    for outcome, lines in numbers.lines.items():
        yield f"{run}_lines", f"{_labels({**labels, 'outcome': outcome})} {lines}"
    for destination, counts in numbers.statements.items():
        for outcome in (name for name in counts if name != "made"):
            of_it = _labels({**labels, "destination": destination, "outcome": outcome})
            yield f"{run}_statements", f"{of_it} {counts[outcome]}"
    yield f"{run}_dead_letters", f"{_labels(labels)} {numbers.dead_letters}"
    yield f"{run}_duration_seconds", f"{_labels(labels)} {summary['duration_secs']}"
    yield f"{run}_exit_status", f"{_labels(labels)} {summary['status']}"
    yield f"{run}_timestamp_seconds", f"{_labels(labels)} {time.time():.0f}"


def _labels(labels: Mapping[str, str]) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{pairs}}}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _lines(samples: Samples) -> Iterator[str]:
    for name, found in samples.items():
        if found:
            yield f"# HELP {name} {METRICS[name]}\n# TYPE {name} gauge\n"
            yield from (f"{name}{sample}\n" for sample in found)


def _old(path: Path) -> Iterator[Sample]:
    """The samples in the file. What another program has written there is left out."""
    with contextlib.suppress(FileNotFoundError):
        # A label's value may hold any other character that ends a line for Python; "\r" would become "\n" as well.
        for line in path.read_bytes().decode("utf-8", "replace").split("\n"):
            found = _SAMPLE.fullmatch(line)
            if found and found[1] in METRICS:
                yield found[1], found[2], found[3]


def _of_others(old: Iterable[Sample], job_key: str) -> Samples:
    samples: Samples = {name: [] for name in METRICS}
    for name, labels, value in old:
        if f'{KEY_LABEL}="{job_key}"' not in labels:
            samples[name].append(f"{labels} {value}")
    return samples


def _old_success(old: Iterable[Sample], labels: Mapping[str, str]) -> str:
    """When the job had its last success, as the file has it; ``""`` if it had none."""
    return next((value for name, of_it, value in old if (name, of_it) == (LAST_SUCCESS, _labels(labels))), "")


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One job after the other: each reads what the others have written."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # not every network file system can
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
