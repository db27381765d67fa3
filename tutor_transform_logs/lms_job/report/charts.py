"""Bar charts in SVG. Their axes are HTML, so that the labels stay readable at any width."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, timezone

from ..model.activity import LOST, MADE, NO_DAY, Activity, Throughput
from ..util.formatting import count, duration
from .html import Html, joined, tag

HEIGHT = 100
# A bar stands for a day in a chart of up to 100 days, for a week in one of up to 700 days, and otherwise for a month.
MOST_DAILY, MOST_WEEKLY = 100, 700
# A pause that is longer than this number of spans is drawn as a mark of this width, not to scale.
LONGEST_PAUSE = 3
GAP_HEIGHT = 4


@dataclass(frozen=True)
class Bar:
    """A bar of a chart: where it begins and how wide it is (in days or spans), and its parts from the bottom up."""

    start: float
    width: float
    counts: tuple[float, ...]
    title: str
    gap: bool = False
    """A mark for a gap, in place of a bar."""


@dataclass(frozen=True)
class Days:
    """A timeline: its first and last day, its bars, and the periods between them that have no events."""

    first: date
    last: date
    step: str
    """What a bar stands for: hour, day, week, month or year."""
    bars: tuple[Bar, ...]
    gaps: tuple[tuple[date, date], ...]
    """The first and last day of each period without events. Of a month or year that is one number, no day is known."""
    coarsest: str
    """What the coarsest number is of: a day, month or year."""
    without_day: tuple[int, int]
    """How many statements were made and how many events failed whose time can't be read."""


def days_of(table: Mapping[str, Sequence[int]]) -> Days | None:
    """The timeline of an activity's ``days``; ``None`` if there is no day in it."""
    without = table.get(NO_DAY, (0, 0))
    # Of several segments, some may have the month of a day that others have.
    dated = sorted((_date(key), key, counts) for key, counts in table.items() if key != NO_DAY)
    if not dated:
        return None
    first, last = dated[0][0], max(_last_of(key, at) for at, key, _ in dated)
    length = (last - first).days + 1
    coarsest = {4: "year", 7: "month"}.get(min(len(key) for _, key, _ in dated), "day")
    finest = "day" if length <= MOST_DAILY else "week" if length <= MOST_WEEKLY else "month"
    step = finest if coarsest == "day" else coarsest
    sums: dict[date, list[int]] = {}
    for at, _, counts in dated:
        sums[_begin(at, step)] = [a + b for a, b in zip(sums.get(_begin(at, step), (0, 0)), counts, strict=True)]
    bars = []
    for begin, numbers in sorted(sums.items()):
        start, end = max(begin, first), min(_next(begin, step), last + timedelta(1))
        bars.append(Bar((start - first).days, (end - start).days, tuple(numbers), _title(_label(begin, step), numbers)))
    gaps = tuple(_gaps_between([(at, _last_of(key, at)) for at, key, _ in dated]))
    return Days(first, last, step, tuple(bars), gaps, coarsest, (without[MADE], without[LOST]))


def timeline_of(activity: Activity) -> Days | None:
    """The timeline of an activity: of a single day by hours, if all of them are known."""
    days = days_of(activity.days)
    if days is None or days.first != days.last:
        return days
    known = {hour: counts for hour, counts in activity.hours.items() if len(hour) > len(str(days.first))}
    of_day = list(activity.days.get(str(days.first), []))
    if [sum(column) for column in zip(*known.values(), strict=True)] != of_day:
        return days
    bars = []
    for key, counts in sorted(known.items()):
        hour = int(key[-2:])
        bars.append(Bar(hour / 24, 1 / 24, tuple(counts), _title(f"{hour:02d}:00", counts)))
    return replace(days, step="hour", bars=tuple(bars))


def _title(label: str, counts: Sequence[int]) -> str:
    failed = f", {count(counts[LOST], 'failed event')}" if counts[LOST] else ""
    return f"{label}: {count(counts[MADE], 'statement')}{failed}"


def _date(key: str) -> date:
    """The first day of the day, month or year that a key stands for."""
    return date.fromisoformat(f"{key}-01-01"[:10] if len(key) < 10 else key)


def _begin(at: date, step: str) -> date:
    if step == "week":
        return at - timedelta(at.weekday())
    return at if step == "day" else at.replace(day=1) if step == "month" else at.replace(month=1, day=1)


def _next(begin: date, step: str) -> date:
    if step in ("day", "week"):
        return begin + timedelta(1 if step == "day" else 7)
    return (begin.replace(day=1) + timedelta(31 if step == "month" else 366)).replace(day=1)


def _label(begin: date, step: str) -> str:
    text = begin.isoformat()[: {"month": 7, "year": 4}.get(step)]
    return f"week of {text}" if step == "week" else text


def _last_of(key: str, at: date) -> date:
    step = {4: "year", 7: "month"}.get(len(key), "day")
    return _next(_begin(at, step), step) - timedelta(1)


def _gaps_between(periods: Sequence[tuple[date, date]]) -> Iterator[tuple[date, date]]:
    """What none of the periods holds. They are sorted, and may overlap."""
    known = periods[0][1]
    for begin, end in periods[1:]:
        if (begin - known).days > 1:
            yield known + timedelta(1), begin - timedelta(1)
        known = max(known, end)


def day_chart(days: Days) -> Html:
    """Statements by hour, day, week, month or year as bars; periods without events as marks."""
    width = (days.last - days.first).days + 1
    marks = [
        Bar((begin - days.first).days, (end - begin).days + 1, (), f"no events: {format_gap(begin, end)}", gap=True)
        for begin, end in days.gaps
    ]
    label = f"Statements by {days.step} from {days.first} to {days.last}"
    fails = any(bar.counts[LOST] for bar in days.bars)
    return _chart(
        [*days.bars, *marks], width, label, _labels(days), "statements and failed events" if fails else "statements"
    )


def _labels(days: Days) -> list[str]:
    """What is written below a timeline."""
    if days.step == "hour":
        return ["00:00", "12:00", "24:00"]
    width = (days.last - days.first).days + 1
    middle = days.first + timedelta(width // 2)
    labels = (days.first, *([middle] if width > 2 else []), *([days.last] if width > 1 else []))
    return [str(text) for text in labels]


@dataclass(frozen=True)
class DayPair:
    """A day, week, month or year of a timeline: statements in the logs and rows in the table."""

    start: int
    """In days since the beginning of the timeline."""
    width: int
    label: str
    in_logs: int
    in_table: int


def compare_days(days: Days, rows: Mapping[date, int]) -> list[DayPair]:
    """The statements of a timeline beside ``rows``, both in its steps."""
    in_logs = {days.first + timedelta(int(bar.start)): int(bar.counts[MADE]) for bar in days.bars}
    in_table: Counter[date] = Counter()
    for day, number in rows.items():
        in_table[max(_begin(day, days.step), days.first)] += number
    pairs = []
    for start in sorted(in_logs.keys() | in_table.keys()):
        begin = _begin(start, days.step)
        end = min(_next(begin, days.step), days.last + timedelta(1))
        label = _label(begin, days.step)
        offset, width = (start - days.first).days, (end - start).days
        pairs.append(DayPair(offset, width, label, in_logs.get(start, 0), in_table[start]))
    return pairs


def comparison_chart(days: Days, pairs: Sequence[DayPair]) -> Html:
    """Two bars side by side for each pair."""
    bars: list[Bar] = []
    for pair in pairs:
        title = f"{pair.label}: {pair.in_logs:,} in the logs, {pair.in_table:,} in the table"
        half = pair.width / 2
        bars.append(Bar(pair.start, half, (pair.in_logs,), title))
        bars.append(Bar(pair.start + half, half, (0, 0, pair.in_table), title))
    label = f"Statements in the logs and rows in the table by {days.step} from {days.first} to {days.last}"
    return _chart(bars, (days.last - days.first).days + 1, label, _labels(days), "statements")


def format_gap(begin: date, end: date) -> str:
    """A period of days as text for people."""
    length = (end - begin).days + 1
    return str(begin) if length == 1 else f"{begin} to {end} ({length:,} days)"


def throughput_chart(throughput: Throughput) -> Html | None:
    """Lines per second over the time of the run; ``None`` if the run was too short for a chart."""
    if len(throughput.spans) < 3:
        return None
    bars: list[Bar] = []
    at, before = 0.0, min(throughput.spans) - 1
    for number, (lines, events) in sorted(throughput.spans.items()):
        missing = number - before - 1
        if missing > LONGEST_PAUSE:
            paused = f"nothing was done for {duration(missing * throughput.span_secs)}"
            bars.append(Bar(at, LONGEST_PAUSE, (), paused, gap=True))
        at += min(missing, LONGEST_PAUSE)
        secs = throughput.span_secs
        speed = lines / secs
        title = f"{_clock(number * secs)}: {speed:,.0f} lines/s, {events / secs:,.0f} events/s"
        bars.append(Bar(at, 1, (speed,), title))
        at, before = at + 1, number
    ends = (min(throughput.spans) * throughput.span_secs, (max(throughput.spans) + 1) * throughput.span_secs)
    label = f"Lines per second, in spans of {duration(throughput.span_secs)}"
    return _chart(bars, at, label, [_clock(end) for end in ends], "lines/s")


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def _chart(bars: Sequence[Bar], width: float, label: str, labels: Sequence[str], unit: str) -> Html:
    top = max((sum(bar.counts) for bar in bars), default=0) or 1
    shapes = joined(shape for bar in bars for shape in _shapes(bar, top, width))
    svg = tag(
        "svg",
        shapes,
        viewBox=f"0 0 {width:g} {HEIGHT + GAP_HEIGHT + 1}",
        preserveAspectRatio="none",
        role="img",
        aria_label=f"{label}; at most {top:,.0f}",
    )
    axis = tag("div", *(tag("span", text) for text in labels), class_="axis", aria_hidden="true")
    # One statement, but 1 statements and failed events together.
    of_one = unit.removesuffix("s") if top == 1 and unit == "statements" else unit
    return tag("div", tag("div", f"{top:,.0f} {of_one}", class_="top"), svg, axis, class_="chart")


def _shapes(bar: Bar, top: float, width: float) -> Iterable[Html]:
    if bar.gap:
        title = tag("title", bar.title)
        yield _rect(bar, 0, HEIGHT + GAP_HEIGHT + 1, "gap", title)
        # In a chart of years, a single day is less than a pixel wide, so the mark below it has a minimum width.
        wide = replace(bar, width=max(bar.width, width / 250))
        yield _rect(wide, HEIGHT + 1, GAP_HEIGHT, "mark", title)
        return
    margin = bar.width * 0.1 if width <= 2 * MOST_DAILY else 0.0
    narrow = replace(bar, start=bar.start + margin / 2, width=bar.width - margin)
    base = float(HEIGHT)
    for number, part in enumerate(bar.counts):
        if part:
            # A minimum height, so that even the smallest count is visible.
            height = max(part / top * HEIGHT, 0.7)
            yield _rect(narrow, max(base - height, 0), height, f"part{number}", tag("title", bar.title))
            base -= height


def _rect(bar: Bar, y: float, height: float, class_: str, title: Html) -> Html:
    place = {"x": f"{bar.start:g}", "y": f"{y:.2f}", "width": f"{bar.width:g}", "height": f"{height:.2f}"}
    return tag("rect", title, class_=class_, **place)
