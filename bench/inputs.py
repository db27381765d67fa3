"""The logs that are read: made once, kept below the cache folder (or ``--cache``), never in the repository."""

from __future__ import annotations

import bz2
import gzip
import json
import shutil
from collections.abc import Callable, Iterable
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
        """Of a log that is not compressed."""
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


def few_events(cache: Path, lines: int) -> Log:
    """One line in 20 is transformed."""
    return log(cache, Mix(good=lines // 20, page_view=lines - lines // 20))


def only_page_views(cache: Path, lines: int) -> Log:
    """Nothing to transform."""
    return log(cache, Mix(page_view=lines), label="page-views")


def wrapped(cache: Path, plain: Log) -> Log:
    """The same lines as Docker's json-file has them."""

    def as_docker_keeps_it(number: int, line: str) -> str:
        time = f"2026-02-01T00:{number // 60 % 60:02}:{number % 60:02}.{number:09}Z"
        return json.dumps({"log": line, "stream": "stdout", "time": time}, separators=(",", ":"))

    folder = _rewritten(plain, cache / f"{plain.folder.name}-docker", as_docker_keeps_it)
    return Log(folder, plain.lines, plain.events, (folder / "tracking.log").stat().st_size)


def packed(cache: Path, plain: Log, suffix: str) -> Log:
    """The same log as logrotate packs it: with ``gzip``, or with ``bzip2``, as these do if nothing else is said."""
    folder = cache / f"{plain.folder.name}-{suffix}"
    target = folder / f"tracking.log.{suffix}"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / "partial"
        opened = bz2.open(partial, "wb") if suffix == "bz2" else gzip.open(partial, "wb", compresslevel=6)
        with plain.path.open("rb") as source, opened as sink:
            shutil.copyfileobj(source, sink, 1024**2)
        partial.rename(target)
    return Log(folder, plain.lines, plain.events, plain.bytes)


def of_size(cache: Path, size: int) -> Log:
    """A mixed log of about ``size`` bytes."""
    sample = mixed(cache, 20_000)
    return mixed(cache, size * sample.lines // sample.bytes)


def for_ralph(cache: Path, lines: int) -> Log:
    """Only what both transform, in the form that Ralph takes: ``event`` as an object, every field that it asks for."""
    made = log(cache, Mix(good=lines), SHARED_NAMES, label="shared")

    def as_ralph_takes_it(_: int, line: str) -> str:
        return json.dumps(_with_event_as_object(json.loads(line[line.index("{") :])))

    folder = _rewritten(made, cache / f"ralph-{lines}", as_ralph_takes_it)
    return Log(folder, lines, lines, (folder / "tracking.log").stat().st_size)


def _rewritten(made: Log, folder: Path, change: Callable[[int, str], str]) -> Path:
    """``folder`` with the lines of a log as ``change`` makes them of their numbers and texts, unless it is there."""
    target = folder / "tracking.log"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / "partial"
        with made.path.open(encoding="utf-8") as source, partial.open("w", encoding="utf-8") as sink:
            for number, line in enumerate(source):
                sink.write(change(number, line) + "\n")
        partial.rename(target)
    return folder


def _with_event_as_object(event: dict[str, object]) -> dict[str, object]:
    data = event["event"]
    if isinstance(data, str):
        event["event"] = json.loads(data)
    return event
