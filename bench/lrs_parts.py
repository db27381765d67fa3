"""What is measured of LRSs that take their time: the parts ``latency`` and ``ralph``."""

from __future__ import annotations

import contextlib
import itertools
import statistics
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from bench import inputs
from bench.scenarios import BATCH_SIZE, Bench, Program, SlowSink, in_turn, median, per_minute, ratio, say, summed_up
from tests.harness import ralph

MOST_IN_FLIGHT = 16
# With batches of 1,000, those that work on several at once could take more than a worker can transform: it would be the
# transformation that is measured, and not how the requests follow each other. With these sizes, they take 2,000
# events a second.
SLOW_SINKS = {
    "0 s": SlowSink(0.0, 1000, BATCH_SIZE),
    "0.25 s": SlowSink(0.25, 1000, BATCH_SIZE),
    "0.25 s, 4 at once": SlowSink(0.25, 4, BATCH_SIZE // 8),
    "1 s, 16 at once": SlowSink(1.0, 16, BATCH_SIZE // 8, 2),
}
BY_OTHERS = "0.25 s"
"""The one to which the other programs send, too."""
BUSIEST = "0.25 s, 4 at once"
ONE_BY_ONE = ("0.25 s", "1 s, 16 at once")
"""Those to which the log is also sent with one request in flight."""
ONE_IN_FLIGHT = "one request in flight"
RALPH_PROCESSES = (1, 4)


def bench_latency(bench: Bench, cache: Path, lines: int, repeats: int) -> dict[str, Any]:
    """An LRS that takes its time: as many requests in flight as are of use, one request, and no log, for the start.

    Beside it ERB's command, and Ralph's client with the statements that this job has made of the log, in the same
    batches. A quarter of the lines is enough: with one request in flight, most of the time is spent waiting. A fifth of
    these is enough for ERB's command.
    """
    lines //= 4
    log, short, nothing = inputs.mixed(cache, lines), inputs.mixed(cache, lines // 5), inputs.only_page_views(cache, 1)
    logs = {name: inputs.mixed(cache, lines // slow.part) for name, slow in SLOW_SINKS.items()}
    statements = bench.statements(log, cache / f"statements-{log.events}" / "statements.log")
    say(f"{lines:,} lines to LRSs that take their time")
    with contextlib.ExitStack() as servers:
        programs: dict[str, Program] = {"1 line": partial(bench.job, nothing)}
        at = {name: replace(bench, sink_url=servers.enter_context(slow.start())) for name, slow in SLOW_SINKS.items()}
        for name, slow in SLOW_SINKS.items():
            job = partial(at[name].job, logs[name], batch_size=slow.batch_size)
            programs[name] = partial(job, max_requests_in_flight=MOST_IN_FLIGHT)
            if name in ONE_BY_ONE:
                programs[f"{name}, {ONE_IN_FLIGHT}"] = partial(job, max_requests_in_flight=1)
        other = at[BY_OTHERS]
        programs |= {
            "ralph write": partial(other.ralph_write, statements, 1),
            "ralph write, several requests": partial(other.ralph_write, statements, MOST_IN_FLIGHT),
            "short log": partial(other.job, short, max_requests_in_flight=MOST_IN_FLIGHT),
            "short log, ERB's command": partial(other.erb, short),
        }
        made = in_turn(programs, repeats)
    start = median(made["1 line"])
    least_secs = SLOW_SINKS[BUSIEST].least_secs(logs[BUSIEST].events)
    return {
        "lines": lines,
        "events": log.events,
        "lines_of_short_log": short.lines,
        "times_as_fast": {name: ratio(made[f"{name}, {ONE_IN_FLIGHT}"], made[name]) for name in ONE_BY_ONE},
        "times_of_no_latency": ratio(made["0.25 s"], made["0 s"]),
        # Of the time without the start of the process.
        "share_of_4_servers": [round(least_secs / max(run.secs - start, 1e-3), 3) for run in made[BUSIEST]],
        "times_as_fast_as_ralph_write": ratio(made["ralph write"], made[BY_OTHERS]),
        "times_as_fast_as_ralph_write_of_several": ratio(made["ralph write, several requests"], made[BY_OTHERS]),
        "times_as_fast_as_erb": ratio(made["short log, ERB's command"], made["short log"]),
        "programs": summed_up(
            made, lines, {"1 line": 1, "short log": short.lines, **{name: each.lines for name, each in logs.items()}}
        ),
    }


def bench_ralph(bench: Bench, cache: Path, lines: int, repeats: int) -> dict[str, Any]:
    """Beside Ralph's ``convert``, what both can transform; and from the log into Ralph, in one process and in four.

    Into Ralph, a fifth of the lines, of which half are made into statements.
    """
    log, shorter = inputs.for_ralph(cache, lines), inputs.mixed(cache, max(lines // 5, 2))
    say(f"{lines:,} lines that Ralph can transform, to files, and {shorter.lines:,} lines into Ralph")
    with _ralphs(bench) as accounts:
        programs: dict[str, Program] = {
            "this job": partial(bench.job, log, to_files=True),
            "ralph convert": partial(bench.ralph, log),
        }
        # On a site that nothing was added to, statements go to no other place.
        sender = replace(bench, loggers_have_handlers=False)
        for count, of_server in accounts.items():
            for in_flight in (MOST_IN_FLIGHT, 1):
                name = _into(count, in_flight)
                programs[name] = partial(_into_next, sender, shorter, of_server, in_flight)
        made = in_turn(programs, repeats)
    return {
        "lines": lines,
        "statements_into_ralph": shorter.events,
        "times_as_fast": ratio(made["ralph convert"], made["this job"]),
        "times_as_fast_as_one_in_flight": {
            count: ratio(made[_into(count, 1)], made[_into(count, MOST_IN_FLIGHT)]) for count in RALPH_PROCESSES
        },
        "per_minute": {
            name: per_minute(runs, shorter.events) for name, runs in made.items() if name.startswith("into")
        },
        "programs": summed_up(made, lines, {"into Ralph": shorter.lines}),
    }


def _into(processes: int, in_flight: int) -> str:
    name = f"into Ralph, {processes} process{'es' * (processes > 1)}"
    return name if in_flight > 1 else f"{name}, {ONE_IN_FLIGHT}"


def _into_next(bench: Bench, log: inputs.Log, accounts: Iterator[ralph.Lrs], in_flight: int) -> Any:
    return bench.into_ralph(log, next(accounts), batch_size=BATCH_SIZE, max_requests_in_flight=in_flight)


@contextlib.contextmanager
def _ralphs(bench: Bench) -> Iterator[dict[int, Iterator[ralph.Lrs]]]:
    """Start Ralph with each number of processes; gives the LRSs of each."""
    with contextlib.ExitStack() as servers:
        accounts: dict[int, Iterator[ralph.Lrs]] = {}
        for count in RALPH_PROCESSES:
            folder = bench.folder / f"ralph-{count}"
            folder.mkdir()
            server = servers.enter_context(ralph.start(folder, count))
            accounts[count] = map(server.account, itertools.count())
        yield accounts


def latency_rows(found: dict[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """For the table: what it is, the ratio or the text, and what is aimed at."""
    for name in ONE_BY_ONE:
        least = "8x, aim 12x" if name == "1 s, 16 at once" else ""
        yield f"LRS that takes {name}: vs {ONE_IN_FLIGHT}", found["times_as_fast"][name], least
    yield "  time with 0.25 s a batch vs none", found["times_of_no_latency"], "1.2x, aim 1.05x"
    shares = found["share_of_4_servers"]
    text = f"{statistics.median(shares)} ({min(shares)} to {max(shares)})"
    yield "  share of 4 servers that is used", text, "0.9, aim 0.97"
    yield "  0.25 s: vs ralph write, of statements made before", found["times_as_fast_as_ralph_write"], ""
    yield f"  the same with {MOST_IN_FLIGHT} requests in flight", found["times_as_fast_as_ralph_write_of_several"], ""
    yield "  0.25 s: vs ERB's command, a short log", found["times_as_fast_as_erb"], ""


def ralph_rows(found: dict[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """For the table."""
    yield "vs ralph convert, shared types, to files", found["times_as_fast"], "2x, aim 4x"
    for count, by_flight in found["times_as_fast_as_one_in_flight"].items():
        yield f"into Ralph, {count} process{'es' * (int(count) > 1)}: vs {ONE_IN_FLIGHT}", by_flight, ""
        yield "  statements stored a minute", f"{found['per_minute'][_into(int(count), MOST_IN_FLIGHT)]:,}", ""
