"""The logs that are read: made once, kept below the cache folder (or ``--cache``), never in the repository."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tutor_transform_logs.demo.log_writer import GOOD_NAMES, Mix, write_log

USERS, COURSES = 5000, 20
# What both this job and Ralph transform.
SHARED_NAMES = (
    "edx.course.enrollment.activated",
    "edx.course.enrollment.deactivated",
    "load_video",
    "pause_video",
    "play_video",
    "seek_video",
    "stop_video",
)


@dataclass(frozen=True)
class Log:
    """A folder with one ``tracking.log``."""

    folder: Path
    lines: int
    events: int
    """Lines that are transformed."""
    bytes: int

    @property
    def path(self) -> Path:
        return self.folder / "tracking.log"


def log(cache: Path, mix: Mix, names: Iterable[str] = GOOD_NAMES, *, label: str = "") -> Log:
    """The log of this mix, written if it is not there yet."""
    folder = cache / f"{label or 'mixed'}-{mix.good}-{mix.page_view}"
    path = folder / "tracking.log"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / "partial"
        write_log(partial, mix, users=USERS, courses=COURSES, names=names)
        partial.rename(path)
    return Log(folder, mix.lines, mix.good, path.stat().st_size)


def mixed(cache: Path, lines: int) -> Log:
    """Half of the lines are transformed, by the demo's mix of events; the others are page views."""
    return log(cache, Mix(good=lines // 2, page_view=lines - lines // 2))


def only_page_views(cache: Path, lines: int) -> Log:
    """Nothing to transform."""
    return log(cache, Mix(page_view=lines), label="page-views")


def wrapped(cache: Path, plain: Log) -> Log:
    """The same lines as Docker's json-file has them."""
    folder = cache / f"{plain.folder.name}-docker"
    target = folder / "tracking.log"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / "partial"
        with plain.path.open(encoding="utf-8") as source, partial.open("w", encoding="utf-8") as sink:
            for number, line in enumerate(source):
                time = f"2026-02-01T00:{number // 60 % 60:02}:{number % 60:02}.{number:09}Z"
                sink.write(json.dumps({"log": line, "stream": "stdout", "time": time}, separators=(",", ":")) + "\n")
        partial.rename(target)
    return Log(folder, plain.lines, plain.events, target.stat().st_size)


def of_size(cache: Path, size: int) -> Log:
    """A mixed log of about ``size`` bytes."""
    sample = mixed(cache, 20_000)
    return mixed(cache, size * sample.lines // sample.bytes)


def for_ralph(cache: Path, lines: int) -> Log:
    """Only what both transform, in the form that Ralph takes: ``event`` as an object, every field that it asks for."""
    made = log(cache, Mix(good=lines), SHARED_NAMES, label="shared")
    folder = cache / f"ralph-{lines}"
    target = folder / "tracking.log"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / "partial"
        with made.path.open(encoding="utf-8") as source, partial.open("w", encoding="utf-8") as sink:
            for line in source:
                sink.write(json.dumps(_as_ralph_takes_it(json.loads(line[line.index("{") :]))) + "\n")
        partial.rename(target)
    return Log(folder, lines, lines, target.stat().st_size)


def _as_ralph_takes_it(event: dict[str, object]) -> dict[str, object]:
    data = event["event"]
    if isinstance(data, str):
        event["event"] = json.loads(data)
    return event
