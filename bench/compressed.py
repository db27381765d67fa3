"""What is measured of a compressed log, which one worker reads: the part ``compressed``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from bench import inputs
from bench.scenarios import Bench, Program, in_turn, ratio, say, summed_up

PACKED = {
    "few events, gzip": ("few events", "gz"),
    "half events, gzip": ("half events", "gz"),
    "half events, bzip2": ("half events", "bz2"),
}
BY_THE_PARSER = "unpacked by the thread that parses"


def bench_compressed(bench: Bench, cache: Path, lines: int, repeats: int) -> dict[str, Any]:
    """One worker, one log, plain and packed; and without the thread that unpacks it ahead.

    Of the log with few events, five times as many lines.
    """
    logs = {"few events": inputs.few_events(cache, lines * 5), "half events": inputs.mixed(cache, lines)}
    say(f"{lines * 5:,} lines of which one in 20 is an event, and {lines:,} of which half are, packed")
    alone = replace(bench, program="bench.without_unpack_ahead")
    programs: dict[str, Program] = {name: partial(bench.job, log, workers=1) for name, log in logs.items()}
    for name, (plain, suffix) in PACKED.items():
        log = inputs.packed(cache, logs[plain], suffix)
        programs[name] = partial(bench.job, log, workers=1)
        programs[f"{name}, {BY_THE_PARSER}"] = partial(alone.job, log, workers=1)
    made = in_turn(programs, repeats)
    return {
        "lines": {name: log.lines for name, log in logs.items()},
        "times_of_plain": {name: ratio(made[name], made[plain]) for name, (plain, _) in PACKED.items()},
        "times_as_fast": {name: ratio(made[f"{name}, {BY_THE_PARSER}"], made[name]) for name in PACKED},
        "programs": summed_up(made, lines, {"few events": lines * 5}),
    }


def compressed_rows(found: dict[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """For the table: what it is, the ratio, and what is aimed at."""
    for name in PACKED:
        yield f"{name}: time vs the plain log", found["times_of_plain"][name], ""
        yield f"  vs {BY_THE_PARSER}", found["times_as_fast"][name], ""
