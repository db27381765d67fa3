"""The report as one HTML page for screens, phones and paper. It loads nothing and runs no scripts."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from ..config.schema import JobConfig
from ..model.dead_letters import DeadLetter
from ..read.filters import TAKE_ALL, Filters
from ..util.errors import ExitStatus
from ..util.formatting import duration, size
from . import masking
from .breakdowns import breakdowns
from .charts import (
    Days,
    compare_days,
    comparison_chart,
    day_chart,
    days_of,
    format_gap,
    throughput_chart,
    timeline_of,
)
from .deleted_users import describe
from .ending import Ending, ending
from .glossary import OUTCOMES, REASON_FIXES, REASON_MEANINGS
from .html import Html, joined, tag
from .result import STATEMENT_NAMES, ObjectResult, Result, reasons
from .stylesheet import STYLE
from .tables import bar_cell, percentage, section, table, wide

OBJECTS_SHOWN = 500
SLOWEST_SHOWN = 10
GAPS_SHOWN = 20
WORK_PARTS = ("part2", "part0", "part3")
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

ExamplesByReason = Mapping[str, Sequence[DeadLetter]]


def page(config: JobConfig, result: Result, examples: ExamplesByReason) -> str:
    """The whole page. ``examples``: a few dead letters for each reason. Personal data in them is masked here."""
    how = ending(config, result)
    kind = "xAPI" if config.transformer_type == "xapi" else "Caliper"
    title = f"Tracking logs to {kind}{' (dry run)' if config.dry_run else ''}: {how.outcome}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Html(STYLE)),
    )
    sections = (
        _headline(config, result, how, kind),
        _next_steps(result),
        _by_day(result),
        _intable(result),
        _outcomes(result, examples),
        _destinations(result),
        *breakdowns(result, kind),
        _throughput(result),
        _workers(result),
        _slowest(result),
        _objects(result),
    )
    body = tag("body", tag("main", *(section for section in sections if section is not None)))
    return "<!DOCTYPE html>\n" + tag("html", head, body, lang="en") + "\n"


def _headline(config: JobConfig, result: Result, how: Ending, kind: str) -> Html:
    good = "fair"
    if result.status == ExitStatus.FAILED or result.accounting_errors:
        good = "bad"
    elif result.status == ExitStatus.DONE and not result.dead_share:
        good = "good"
    rows = [
        ("From", str(config.source)),
        ("To", ", ".join(destination.name for destination in result.destinations)),
        *([("Filters", str(filters))] if (filters := Filters.of(config)) is not TAKE_ALL else []),
        ("Started", _moment(result.plan.created)),
        ("Reported", _moment(result.reported)),
    ]
    if result.activity.secs >= 1:
        rows.append(("Work", f"{duration(result.activity.secs)}, over all workers"))
    rows.append(("Plan", f"{result.plan.name} of job {result.job_key}"))
    rows += result.site.items()
    arrived = sum(to.counts.stored + to.counts.duplicates for to in result.destinations)
    numbers = (
        (result.counts.lines, "lines read"),
        (result.counts.transformed, "events made into statements"),
        (arrived, "statements arrived"),
        (sum(reasons(result).values()), f"dead letters: {result.dead_share}" if result.dead_share else "dead letters"),
    )
    cards = tag("dl", *(tag("div", tag("dt", name), tag("dd", f"{n:,}")) for n, name in numbers), class_="numbers")
    facts = tag("dl", *(tag("div", tag("dt", name), tag("dd", text)) for name, text in rows), class_="facts")
    notes = [*result.problems, *(f"NOT accounted for: {error}" for error in result.accounting_errors)]
    notes += [destination.stopped for destination in result.destinations if destination.stopped]
    notes += [result.aborted] if result.aborted else []
    return tag(
        "header",
        tag("h1", f"Tracking logs to {kind}"),
        tag("p", " ".join(how.sentences), class_=f"status {good}"),
        tag("ul", *(tag("li", note) for note in notes), class_="notes") if notes else "",
        cards,
        facts,
    )


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))


def _next_steps(result: Result) -> Html | None:
    if not result.next_steps:
        return None
    steps = (tag("li", tag("p", step.reason), tag("code", step.command)) for step in result.next_steps)
    note = "Aspects' charts need more than statements. Run these in order; on Kubernetes, with k8s in place of local."
    return section("Next: Aspects' charts", tag("p", note), tag("ol", *steps, class_="examples"))


def _by_day(result: Result) -> Html | None:
    days = timeline_of(result.activity)
    if days is None:
        return None
    legend = tag(
        "p",
        tag("span", "statements made", class_="key part0"),
        tag("span", "failed events", class_="key part1"),
        tag("span", "no events at all", class_="key mark") if days.gaps else "",
        class_="legend",
    )
    rows = ([bar.title.partition(": ")[0], f"{bar.counts[0]:,.0f}", f"{bar.counts[1]:,.0f}"] for bar in days.bars)
    by_step = table(f"Statements by {days.step}", (days.step, "statements", "failed events"), rows)
    return section(
        "Statements over time",
        tag("p", *_gap_notes(days)),
        day_chart(days),
        legend,
        tag("details", tag("summary", "As a table"), by_step),
    )


def _intable(result: Result) -> Html | None:
    days = days_of(result.activity.days)
    if days is None or result.rows_by_day is None:
        return None
    pairs = compare_days(days, result.rows_by_day)
    note = (
        f"Statements in these logs, by {days.step} (UTC), beside the rows that the table in ClickHouse has of the same "
        "time. The table may have more, from other logs and from live events, and fewer, where a line is in the logs "
        "twice. The option --gaps finds what is missing."
    )
    legend = tag(
        "p",
        tag("span", "statements in the logs", class_="key part0"),
        tag("span", "rows in the table", class_="key part2"),
        class_="legend",
    )
    rows = ([pair.label, f"{pair.in_logs:,}", f"{pair.in_table:,}"] for pair in pairs)
    by_step = table(f"Logs and table by {days.step}", (days.step, "in the logs", "in the table"), rows)
    return section(
        "In the table",
        tag("p", note),
        comparison_chart(days, pairs),
        legend,
        tag("details", tag("summary", "As a table"), by_step),
    )


def _gap_notes(days: Days) -> Iterator[str]:
    period = str(days.first) if days.first == days.last else f"{days.first} to {days.last}"
    yield f"The time of the events, by {days.step} (UTC): {period}. "
    if days.gaps:
        missing = sum((end - begin).days + 1 for begin, end in days.gaps)
        least = "" if days.coarsest == "day" else "at least "
        yield f"No events on {least}{missing:,} of these days: "
        yield "; ".join(format_gap(*gap) for gap in days.gaps[:GAPS_SHOWN])
        yield f"; and {len(days.gaps) - GAPS_SHOWN:,} more times. " if len(days.gaps) > GAPS_SHOWN else ". "
        yield "Perhaps nobody used the site, or a log is missing. "
    if days.coarsest != "day":
        yield f"So long a time is counted by {days.coarsest}: of one with events, the days without any are not known. "
    made, failed = days.without_day
    if made or failed:
        yield f"{made + failed:,} more have no time that can be read."


def _outcomes(result: Result, examples: ExamplesByReason) -> Html:
    lines = result.counts.lines
    numbers = [(name, meaning, getattr(result.counts, name)) for name, meaning in OUTCOMES]
    rows = [
        [joined((tag("span", name.replace("_", " ")), tag("small", meaning))), f"{number:,}", percentage(number, lines)]
        for name, meaning, number in numbers
        if number or name in ("transformed", "unknown_event")
    ]
    content = [table("Lines by outcome", ("outcome", "lines", "share"), rows)]
    failed = reasons(result)
    if failed:
        content.append(tag("h3", "Dead letters by reason"))
        note = "Names, values and addresses are masked in the examples."
        if result.dead_letters:
            note += f" The lines themselves are in {result.dead_letters}, which holds personal data."
        content.append(tag("p", note))
        most_first = sorted(failed.items(), key=lambda row: -row[1])
        content += [_reason(reason, count, examples.get(reason, ())) for reason, count in most_first]
    content += [tag("p", f"Not delivered: {each}.") for each in describe(result.deleted_users or {})]
    return section("By outcome", *content)


def _reason(reason: str, count: int, letters: Sequence[DeadLetter]) -> Html:
    shown = []
    for letter in letters:
        where = f"{letter.object}, line {letter.line:,}, byte {letter.offset:,}"
        detail = masking.mask_detail(letter.detail, letter.raw, letter.event)
        shown.append(
            tag("li", tag("p", where), tag("p", detail), tag("code", masking.mask_line(letter.raw, letter.event)))
        )
    summary = tag("summary", tag("b", f"{count:,}"), " ", tag("code", reason), f" {REASON_MEANINGS.get(reason, '')}")
    fix = tag("p", tag("b", "What to do: "), REASON_FIXES[reason]) if reason in REASON_FIXES else ""
    kept = tag("ul", *shown, class_="examples") if shown else tag("p", "No example is kept.")
    return tag("details", summary, fix, kept)


def _destinations(result: Result) -> Html:
    rows = [
        [
            destination.name,
            *(f"{getattr(destination.counts, name):,}" for name in STATEMENT_NAMES),
            "done" if destination.done else "stopped" if destination.stopped else "not finished",
        ]
        for destination in result.destinations
    ]
    columns = ("destination", *(name.replace("_", " ") for name in STATEMENT_NAMES), "state")
    content = [wide(table("Statements by destination", columns, rows))]
    if result.outputs:
        content.append(tag("ul", *(tag("li", output) for output in result.outputs), class_="notes"))
    return section("Destinations", *content)


def _throughput(result: Result) -> Html | None:
    chart = throughput_chart(result.activity.throughput)
    if chart is None:
        return None
    span = duration(result.activity.throughput.span_secs)
    note = f"Lines per second in spans of {span}. Long pauses are not drawn to scale."
    return section("Speed over the run", tag("p", note), chart)


def _workers(result: Result) -> Html | None:
    if result.activity.secs < 1 or not result.activity.workers:
        return None
    rows = []
    longest = max(sum(times) for times in result.activity.workers.values()) or 1.0
    for number, times in enumerate(result.activity.workers.values(), 1):
        parts = [(part, secs / longest) for part, secs in zip(WORK_PARTS, times, strict=True)]
        rows.append([bar_cell(f"{number}", parts), *map(duration, times)])
    sums = [sum(column) for column in zip(*result.activity.workers.values(), strict=True)]
    most = ("reading", "transforming", "delivering")[sums.index(max(sums))]
    note = (
        f"What the workers waited for: {percentage(max(sums), sum(sums))} of the time for {most}. A batch is read and "
        "transformed while the one before it is delivered, so that only what takes longer shows. Pauses of a throttle "
        "are not counted, and each run has workers of its own."
    )
    names = ("read", "transform", "deliver")
    legend = tag(
        "p", *(tag("span", name, class_=f"key {part}") for name, part in zip(names, WORK_PARTS, strict=True)),
        class_="legend",
    )  # fmt: skip
    return section("Where the time went", tag("p", note), table("Time by worker", ("worker", *names), rows), legend)


def _slowest(result: Result) -> Html | None:
    slow = sorted((obj for obj in result.objects if obj.activity.secs >= 1), key=lambda obj: -obj.activity.secs)
    if len(slow) < 2:
        return None
    rows = (
        [
            obj.name,
            duration(obj.activity.secs),
            size(obj.size),
            f"{obj.counts.lines:,}",
            f"{obj.counts.lines / obj.activity.secs:,.0f}",
        ]
        for obj in slow[:SLOWEST_SHOWN]
    )
    columns = ("object", "time", "size", "lines", "lines/s")
    return section("Slowest files", wide(table("The files that took longest", columns, rows)))


def _objects(result: Result) -> Html:
    shown = result.objects[:OBJECTS_SHOWN]
    columns = ("object", "from", "to", "size", "lines", "transformed", "dead")
    objects = wide(table("Source objects", columns, (_object(obj) for obj in shown), texts=3))
    left_out = len(result.objects) - len(shown)
    more = [tag("p", f"{left_out:,} more objects are in the result file.")] if left_out else []
    return section("Objects", objects, *more)


def _object(obj: ObjectResult) -> list[str]:
    days = sorted(day for day in obj.activity.days if day)
    notes = [*obj.notes, *([] if obj.done else ["not finished"])]
    name = joined((tag("span", obj.name), *(tag("small", note) for note in notes)))
    dead = obj.counts.unparsable + obj.counts.untransformable
    counts = (f"{obj.counts.lines:,}", f"{obj.counts.transformed:,}", f"{dead:,}")
    return [name, *(days[:1] or [""]), *(days[-1:] or [""]), size(obj.size), *counts]
