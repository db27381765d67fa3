"""Where the time of one core goes, and how many queries a batch takes: ``python -m bench.profiling LOG``.

Runs in the embedded LMS that the environment names; prints JSON with the profile's text and the counts.
"""

from __future__ import annotations

import cProfile
import io
import json
import pstats
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django

# What a function belongs to, by where it is; the first that fits.
PARTS = (
    ("reading and skipping lines", ("lms_job/read/lines.py", "lms_job/read/prefilter.py", "lms_job/read/segment.py")),
    ("parsing JSON", ("lms_job/read/events.py", "json/decoder.py", "json/__init__.py", "json/scanner")),
    ("writing JSON", ("json/encoder.py",)),
    (
        "statements (in place of tincan)",
        ("lms_job/fast_path/tincan.py", "lms_job/fast_path/interning.py", "lms_job/fast_path/encoder.py"),
    ),
    ("tincan", ("/tincan/",)),
    ("ERB's transformers", ("event_routing_backends/",)),
    ("ERB's helpers, replaced", ("lms_job/fast_path/patches.py",)),
    (
        "look-ups",
        ("lms_job/fast_path/lookups.py", "lms_job/util/bounded_dict.py", "/django/db/", "/pymysql/", "/opaque_keys/"),
    ),
    ("Django's settings", ("django/utils/functional.py", "django/conf/")),
    ("batches", ("lms_job/",)),
)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(1024**2):
            yield chunk


def main() -> None:
    """Make batches of the log: once to fill the caches, once more counted, once more under the profiler."""
    log = Path(sys.argv[1])
    django.setup()
    from django.db import connection

    from tutor_transform_logs.lms_job.read.lines import split_lines
    from tutor_transform_logs.lms_job.transform.transformer import Transformer
    from tutor_transform_logs.lms_job.work.batches import Limits, Section, batches
    from tutor_transform_logs.lms_job.work.lookahead import look_ahead
    from tutor_transform_logs.lms_job.work.parse import parse_lines

    transformer = Transformer("xapi", True, 5.0)
    section, limits = Section("log"), Limits(1000, 8 * 1024**2, 16 * 1024**2)

    def work() -> tuple[int, int]:
        lines = events = 0
        split = split_lines(_chunks(log), limit=limits.line_bytes, prefilter=transformer.prefilter)
        for batch in batches(look_ahead(parse_lines(split, transformer), transformer), transformer, section, limits):
            lines += batch.counts.lines
            events += batch.counts.transformed
        return lines, events

    queries = 0

    def count(execute: Any, *arguments: Any) -> Any:
        nonlocal queries
        queries += 1
        return execute(*arguments)

    with connection.execute_wrapper(count):
        _, events = work()
        cold, queries = queries, 0
        start = time.process_time()
        lines, events = work()
        secs = time.process_time() - start
    profiler = cProfile.Profile()
    profiler.enable()
    work()
    profiler.disable()
    head = (
        f"{lines:,} lines, {events:,} of them made into statements, in {secs:.2f} s of one core without the profiler\n"
        f"({secs / max(events, 1) * 1e6:.0f} microseconds for each event, with the line that is skipped beside it).\n"
        "Delivery is not in it. The shares are those of the profiler, which makes calls dearer than they are.\n"
    )
    print(
        json.dumps(
            {
                "text": head + _text(profiler),
                "queries_per_1000_events_cold": round(cold / max(events, 1) * 1000, 2),
                "queries_per_1000_events_warm": round(queries / max(events, 1) * 1000, 2),
                "microseconds_per_event": round(secs / max(events, 1) * 1e6, 1),
            }
        )
    )


def _part_of(file: str, name: str) -> str:
    if file == "~":
        return "built-in functions (of all of them)"
    for part, places in PARTS:
        if any(place in file for place in places):
            return part
    return "the rest"


def _text(profiler: cProfile.Profile) -> str:
    out = io.StringIO()
    stats = pstats.Stats(profiler, stream=out)
    entries: dict[tuple[str, int, str], tuple[int, int, float, float, Any]] = stats.stats  # type: ignore[attr-defined]
    total = sum(entry[2] for entry in entries.values())
    shares: dict[str, float] = {}
    for (file, _, name), (_, _, own, _, callers) in entries.items():
        if file != "~":
            shares[_part_of(file, name)] = shares.get(_part_of(file, name), 0.0) + own
            continue
        # A built-in function's time belongs to the code that called it.
        for (caller, _, caller_name), (_, _, part, _) in callers.items():
            shares[_part_of(caller, caller_name)] = shares.get(_part_of(caller, caller_name), 0.0) + part
    lines = [f"{share / total:7.1%}  {part}" for part, share in sorted(shares.items(), key=lambda pair: -pair[1])]
    top = sorted(entries.items(), key=lambda pair: -pair[1][2])[:30]
    calls = [
        f"{own / total:7.1%}  {count:>9,} calls  {_short(file)}:{line} {name}"
        for (file, line, name), (_, count, own, _, _) in top
    ]
    return "\n".join(["", "By part:", *lines, "", "By function, without what it calls:", *calls, ""])


def _short(file: str) -> str:
    for mark in ("site-packages/", "tutor_transform_logs/"):
        if mark in file:
            return file.rpartition(mark)[2]
    return "/".join(file.split("/")[-2:])


if __name__ == "__main__":
    main()
