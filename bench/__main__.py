"""``make bench``: how fast this job is, beside ERB's own command, and Ralph's ``convert`` and ``write``, in one run.

Everything runs on one machine with one MariaDB (5,000 users, 20 courses) and sends to one LRS that answers at once; in
the part ``latency`` to LRSs that take their time, in ``ralph`` to a real LRS, Ralph, in one process and in four, in
``clickhouse`` to ClickHouse (its engine, with Aspects' tables and views) and to Ralph; in ``objects`` from an object
store. Each program is measured several times, in turn; what counts are the medians, and ratios within this run. Times
are those of the whole process, from its start to its end. ``--quick`` is for development: small inputs, one turn.

Writes ``results.json``, ``results.png`` and ``profile.txt`` into this folder.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench import inputs
from bench.compressed import bench_compressed, compressed_rows
from bench.lrs_parts import bench_latency, bench_ralph, latency_rows, ralph_rows
from bench.objects import LINES_EACH, REQUEST_SECS, objects_of
from bench.plotting import plot
from bench.scenarios import (
    Bench,
    in_turn,
    median,
    opened,
    per_minute,
    ratio,
    say,
    stores,
    summed_up,
)
from tests.harness.venvs import cache_folder

HERE = Path(__file__).parent
PARTS = ("lrs", "latency", "skip", "ralph", "compressed", "clickhouse", "objects", "workers", "sizes", "profile")
MIB = 1024**2


def bench_lrs(bench: Bench, cache: Path, lines: int, repeats: int) -> dict[str, Any]:
    """Half of the lines are made into statements, and sent."""
    log = inputs.mixed(cache, lines)
    say(f"{lines:,} lines to an LRS")
    made = in_turn({"this job": lambda: bench.job(log), "ERB's command": lambda: bench.erb(log)}, repeats)
    found = ratio(made["ERB's command"], made["this job"])
    return {"lines": lines, "events": log.events, "times_as_fast": found, "programs": summed_up(made, lines)}


def bench_skip(bench: Bench, cache: Path, lines: int, repeats: int) -> dict[str, Any]:
    """Lines that are all skipped, also without what it takes to start a program that does nothing.

    Twenty times as many as elsewhere, which are 3 GB: of fewer, it is the start of the programs that would be measured.
    """
    lines *= 20
    log, nothing = inputs.only_page_views(cache, lines), inputs.only_page_views(cache, 1)
    docker = inputs.wrapped(cache, log)
    say(f"{lines:,} lines to pass over")
    made = in_turn(
        {
            "this job": lambda: bench.job(log),
            "this job, wrapped by Docker": lambda: bench.job(docker),
            "this job, 1 line": lambda: bench.job(nothing),
            "ERB's command": lambda: bench.erb(log),
            "ERB's command, 1 line": lambda: bench.erb(nothing),
        },
        repeats,
    )
    net = {name: median(made[name]) - median(made[f"{name}, 1 line"]) for name in ("this job", "ERB's command")}
    wrapped = median(made["this job, wrapped by Docker"]) - median(made["this job, 1 line"])
    return {
        "lines": lines,
        "wrapped_as_fast_as_plain": round(net["this job"] / max(wrapped, 1e-3), 2),
        "times_as_fast": ratio(made["ERB's command"], made["this job"]),
        "times_as_fast_once_started": round(net["ERB's command"] / max(net["this job"], 1e-3), 2),
        "programs": summed_up(made, lines),
    }


def bench_clickhouse(bench: Bench, cache: Path, lines: int, repeats: int) -> dict[str, Any]:
    """From the log to the stored row: into ClickHouse, and into Ralph; then what compares the table with the log."""
    log = inputs.mixed(cache, lines)
    say(f"{lines:,} lines into ClickHouse, and into Ralph")
    with stores(bench) as into:
        made = in_turn(
            {
                "into ClickHouse, workers by CPUs": lambda: into.into_clickhouse(log, workers=os.cpu_count() or 1),
                "into ClickHouse": lambda: into.into_clickhouse(log, workers=1),
                # These compare with what the one before has stored.
                "--verify, 1 worker": lambda: into.verify(1),
                "--verify, 2 workers": lambda: into.verify(2),
                "--gaps": into.bench.gaps,
                "into Ralph": lambda: into.into_ralph(log),
            },
            repeats,
        )
        statements = into.clickhouse.count()
    return {
        "lines": lines,
        "statements": statements,
        "times_as_fast": ratio(made["into Ralph"], made["into ClickHouse"]),
        "times_as_fast_workers_by_cpus": ratio(made["into Ralph"], made["into ClickHouse, workers by CPUs"]),
        "verify_times_as_fast_as_1_worker": ratio(made["--verify, 1 worker"], made["--verify, 2 workers"]),
        "per_minute": {name: per_minute(runs, statements) for name, runs in made.items()},
        "programs": summed_up(made, lines),
    }


def bench_objects(bench: Bench, cache: Path, lines: int, repeats: int) -> dict[str, Any]:
    """Small logs in an object store, 200 lines each, of which one in 20 is an event; each request takes 30 ms.

    Twice as many lines as elsewhere, which are 2,000 logs. What is read ahead can't be turned off, but workers can.
    """
    log = inputs.few_events(cache, 2 * lines)
    say(f"{log.lines // LINES_EACH:,} logs in an object store that takes {REQUEST_SECS} s for a request")
    with objects_of(bench, log) as objects:
        made = in_turn({"auto": partial(objects.run, workers="auto"), "1": partial(objects.run, workers=1)}, repeats)
        requests = objects.requests
    return {
        "lines": log.lines,
        "logs": objects.count,
        "requests_per_log": {**requests, "all": round(sum(requests.values()), 3)},
        "times_as_fast_as_1_worker": ratio(made["1"], made["auto"]),
        "programs": summed_up({f"workers: {name}": runs for name, runs in made.items()}, log.lines),
    }


def bench_workers(bench: Bench, cache: Path, lines: int, repeats: int) -> dict[str, Any]:
    """The same log with 1, 2 and 4 workers."""
    log = inputs.mixed(cache, lines)
    segment = max(64 * 1024, log.bytes // 16)
    say(f"{lines:,} lines by 1, 2 and 4 workers")
    made = in_turn(
        {
            f"{count} workers": lambda count=count: bench.job(log, workers=count, segment_bytes=segment)  # type: ignore[misc]
            for count in (1, 2, 4)
        },
        repeats,
    )
    by_count = {count: ratio(made["1 workers"], made[f"{count} workers"]) for count in (2, 4)}
    return {"lines": lines, "times_as_fast_as_1": by_count, "programs": summed_up(made, lines)}


def bench_sizes(bench: Bench, cache: Path, sizes: list[int], repeats: int) -> dict[str, Any]:
    """Throughput and memory of one worker, by the size of the input."""
    made: dict[str, Any] = {}
    for size in sizes:
        log = inputs.of_size(cache, size)
        say(f"{log.bytes / MIB:,.0f} MiB, {log.lines:,} lines")
        # The biggest takes long, and its memory does not vary.
        runs = in_turn({"this job": lambda log=log: bench.job(log)}, repeats if size <= 100 * MIB else 1)  # type: ignore[misc]
        made[f"{size // MIB} MiB"] = {
            "bytes": log.bytes,
            "lines": log.lines,
            **summed_up(runs, log.lines)["this job"],
        }
    first, last = (list(made.values())[at]["median_peak_bytes"] for at in (0, -1))
    made["memory_of_biggest_by_smallest"] = round(last / first, 3)
    return made


def bench_profile(bench: Bench, cache: Path, lines: int) -> dict[str, Any]:
    """Where the time goes in one process."""
    log = inputs.mixed(cache, lines)
    say(f"A profile of {lines:,} lines")
    environment = {**bench.lms.environment(), "DEMO_LMS_LOG": "/dev/null"}
    done = subprocess.run(
        [sys.executable, "-m", "bench.profiling", str(log.path)],
        env=environment,
        cwd=HERE.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    (HERE / "profile.txt").write_text(found.pop("text"))
    return found


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    names = ("edx-event-routing-backends", "tincan", "Django", "PyMySQL")
    return {
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
        "packages": {name: version(name) for name in names},
    }


PART_ROWS = {"latency": latency_rows, "ralph": ralph_rows, "compressed": compressed_rows}


def written(found: dict[str, Any] | str) -> str:
    """A ratio with its spread, or what is a text already."""
    return found if isinstance(found, str) else f"{found['ratio']}x ({found['least']} to {found['most']})"


def table(results: dict[str, Any]) -> str:
    """The ratios that were asked for, in a few lines."""
    rows: list[tuple[str, str, str]] = []

    def row(what: str, found: dict[str, Any], least: str) -> None:
        rows.append((what, written(found), least))

    if "lrs" in results:
        row("vs ERB's command, LRS, whole process", results["lrs"]["times_as_fast"], "10x, aim 25x")
    for name, part_rows in PART_ROWS.items():
        if name in results:
            rows += ((what, written(found), least) for what, found, least in part_rows(results[name]))
    if "skip" in results:
        row("passing lines over vs ERB's command", results["skip"]["times_as_fast"], "50x, aim 100x")
        once = results["skip"]["times_as_fast_once_started"]
        rows.append(("  the same without the start of the programs", f"{once}x", ""))
        if "wrapped_as_fast_as_plain" in results["skip"]:
            rows.append(("  wrapped by Docker vs plain", f"{results['skip']['wrapped_as_fast_as_plain']}x", "0.33x"))
    if "clickhouse" in results:
        found = results["clickhouse"]
        row("into ClickHouse vs into Ralph, 1 worker each", found["times_as_fast"], "5x")
        row("  the same, one worker for each CPU", found["times_as_fast_workers_by_cpus"], "5x")
        rate = results["clickhouse"]["per_minute"]
        rows.append(("  statements stored a minute", f"{rate['into ClickHouse']:,}", ""))
        row("  --verify, 2 workers vs 1", found["verify_times_as_fast_as_1_worker"], "")
        for name in ("--verify, 1 worker", "--verify, 2 workers"):
            cpu = found["programs"][name]["median_cpu_secs"]
            rows.append((f"  a minute by {name}", f"{rate[name]:,} ({cpu} s of CPU)", "aim 1,000,000"))
        rows.append(("  counted a minute by --gaps", f"{rate['--gaps']:,}", ""))
    if "objects" in results:
        found = results["objects"]
        for name, runs in found["programs"].items():
            what = f"{found['logs']:,} logs in an object store, {name}"
            rows.append((what, f"{runs['median_secs']} s", "60 s, aim 30 s"))
        each = found["requests_per_log"]
        rows.append(("  requests for each log and its entry", f"{each['all']} ({each['log']} for the log)", "6 (2)"))
        row("  workers: auto vs 1", found["times_as_fast_as_1_worker"], "")
    if "workers" in results:
        row("2 workers vs 1", results["workers"]["times_as_fast_as_1"][2], "1.8x, aim 1.95x")
    if "sizes" in results:
        rows.append(
            ("peak memory, biggest input vs smallest", f"{results['memory_of_biggest_by_smallest']}x", "1.1x, aim 1.0x")
        )
    if "profile" in results:
        rows.append(
            ("queries per 1,000 events, warm", str(results["profile"]["queries_per_1000_events_warm"]), "3, aim 1")
        )
    width = max((len(what) for what, _, _ in rows), default=0)
    return "\n".join(f"{what:<{width}}  {found:<26}  {least}" for what, found, least in rows)


def _results_before() -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((HERE / "results.json").read_text())
    except (OSError, ValueError):
        return {}
    return found


def main() -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser(prog="bench", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="small inputs and one turn, for development")
    parser.add_argument("--lines", type=int, help="lines of the inputs (default: 200,000; quick: 4,000)")
    parser.add_argument("--repeat", type=int, help="turns (default: 3; quick: 1)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="measure these parts only")
    parser.add_argument("--cache", type=Path, help="where inputs are kept (default: the cache folder)")
    arguments = parser.parse_args()
    lines = arguments.lines or (4_000 if arguments.quick else 200_000)
    repeats = arguments.repeat or (1 if arguments.quick else 3)
    sizes = [MIB, 4 * MIB] if arguments.quick else [10 * MIB, 100 * MIB, 1024 * MIB]
    cache = arguments.cache or cache_folder() / "bench"
    results: dict[str, Any] = {
        "machine": machine(),
        "repeats": repeats,
        "at": time.strftime("%Y-%m-%d"),
    }
    with tempfile.TemporaryDirectory(prefix="transform-logs-bench-") as folder, opened(Path(folder)) as bench:
        # The first run makes the external ids that users lack; it is none of those that count.
        bench.job(inputs.mixed(cache, min(lines, 20_000)))
        if "lrs" in arguments.only:
            results["lrs"] = bench_lrs(bench, cache, lines, repeats)
        if "latency" in arguments.only:
            results["latency"] = bench_latency(bench, cache, lines, repeats)
        if "skip" in arguments.only:
            results["skip"] = bench_skip(bench, cache, lines, repeats)
        if "ralph" in arguments.only:
            results["ralph"] = bench_ralph(bench, cache, lines, repeats)
        if "compressed" in arguments.only:
            results["compressed"] = bench_compressed(bench, cache, lines, repeats)
        if "clickhouse" in arguments.only:
            results["clickhouse"] = bench_clickhouse(bench, cache, lines, repeats)
        if "objects" in arguments.only:
            results["objects"] = bench_objects(bench, cache, lines, repeats)
        if "workers" in arguments.only:
            results["workers"] = bench_workers(bench, cache, lines, repeats)
        if "sizes" in arguments.only:
            sized = bench_sizes(bench, cache, sizes, repeats)
            results["memory_of_biggest_by_smallest"] = sized.pop("memory_of_biggest_by_smallest")
            results["sizes"] = sized
        if "profile" in arguments.only:
            results["profile"] = bench_profile(bench, cache, min(lines, 50_000))
    print(table(results))
    if set(arguments.only) != set(PARTS):
        # What is not measured now stays as it was.
        results = {**_results_before(), **results}
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    plot(results, HERE / "results.png")
    say(f"Written: {', '.join(name for name in ('results.json', 'results.png', 'profile.txt'))} in {HERE.name}/")


if __name__ == "__main__":
    main()
