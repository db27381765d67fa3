"""The days on which the table has fewer statements than the logs, for people and for programs. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from ..util.formatting import count, printable, wrapped

# At most this many days, and this many commands, are printed; the JSON has all.
SHOWN_DAYS = 40
MOST_COMMANDS = 10
# Of a column of numbers, at least; a busy site has more than ten million events on a day.
COLUMN = 10
ONE_DAY = timedelta(days=1)


@dataclass(frozen=True)
class DayCount:
    """A day (UTC) and its statements."""

    day: date
    in_logs: int
    in_table: int

    @property
    def missing(self) -> int:
        """How many more there are in the logs."""
        return max(0, self.in_logs - self.in_table)


@dataclass(frozen=True)
class Gaps:
    """The comparison: every day that the logs have events of."""

    table: str
    days: tuple[DayCount, ...]
    dead: int
    """Events that are dead letters, and so are not expected in the table."""
    undated: int
    out_of_range: int
    """Events of times that no table can hold."""
    problems: tuple[str, ...]
    """What of the logs could not be read, for people."""
    done: frozenset[tuple[date, date]] = frozenset()
    """Those of :attr:`ranges` and :attr:`to_send` that a run has finished before: one more needs ``--restart``."""

    @property
    def missing(self) -> int:
        return sum(day.missing for day in self.days)

    @property
    def ranges(self) -> tuple[tuple[date, date], ...]:
        """Runs of days with something missing: the first and the last, as ``since`` and ``until`` take them."""
        runs: list[tuple[date, date]] = []
        for day in (entry.day for entry in self.days if entry.missing):
            if runs and runs[-1][1] + ONE_DAY == day:
                runs[-1] = (runs[-1][0], day)
            else:
                runs.append((day, day))
        return tuple(runs)

    @property
    def to_send(self) -> tuple[tuple[date, date], ...]:
        """The dates of the runs that send what is missing: :attr:`ranges`, or one over all, if they are many."""
        ranges = self.ranges
        return ((ranges[0][0], ranges[-1][1]),) if len(ranges) > MOST_COMMANDS else ranges

    def to_json(self) -> dict[str, object]:
        return {
            "table": self.table,
            "missing": self.missing,
            "dead_letters": self.dead,
            "undated": self.undated,
            "out_of_range": self.out_of_range,
            "ranges": [
                {"since": dates[0].isoformat(), "until": dates[1].isoformat(), "restart": dates in self.done}
                for dates in self.ranges
            ],
            "days": [
                {"day": entry.day.isoformat(), "logs": entry.in_logs, "table": entry.in_table, "missing": entry.missing}
                for entry in self.days
            ],
            "not_read": list(self.problems),
        }


def compare(in_logs: Mapping[date, int], in_table: Mapping[date, int]) -> tuple[DayCount, ...]:
    """Every day of the logs, in order."""
    return tuple(DayCount(day, logged, in_table.get(day, 0)) for day, logged in sorted(in_logs.items()))


def describe(gaps: Gaps, width: int | None = None) -> str:
    """The comparison for people, with sentences in lines of at most ``width`` columns.

    Neither the table, which usually has 40 columns, nor the options to copy are wrapped.
    """
    sentences = (wrapped(line, width, "    ") for line in (*_notes(gaps), *_advice(gaps)))
    return "\n".join([*_table(gaps), *sentences, *_commands(gaps)])


def _table(gaps: Gaps) -> Iterator[str]:
    short = [entry for entry in gaps.days if entry.missing]
    if not short:
        return
    column = max(COLUMN, *(len(f" {max(entry.in_logs, entry.in_table):,}") for entry in short))
    yield f"{'day (UTC)':<10}{'in logs':>{column}}{'in table':>{column}}{'missing':>{column}}"
    for entry in short[:SHOWN_DAYS]:
        yield f"{entry.day}{entry.in_logs:>{column},}{entry.in_table:>{column},}{entry.missing:>{column},}"
    if len(short) > SHOWN_DAYS:
        yield f"... and {count(len(short) - SHOWN_DAYS, 'more day')}"
    yield ""


def _notes(gaps: Gaps) -> Iterator[str]:
    if gaps.dead:
        yield f"Dead letters, not expected in the table: {count(gaps.dead, 'event')}."
    if gaps.undated:
        yield f"Not counted, because their time can't be read: {count(gaps.undated, 'event')}."
    if gaps.out_of_range:
        events = count(gaps.out_of_range, "event")
        yield f"Not counted, because ClickHouse holds times from 1900 to 2299 only: {events}."
    more = sum(entry.in_table > entry.in_logs for entry in gaps.days)
    if more:
        yield f"More in the table than in these logs on {count(more, 'day')}: it has events of other logs, too."
    yield from (f"not read: {printable(problem)}" for problem in gaps.problems)


def _advice(gaps: Gaps) -> Iterator[str]:
    if not gaps.missing:
        nothing = "Nothing that could be read is missing" if gaps.problems else "Nothing is missing"
        statements = count(sum(day.in_logs for day in gaps.days), "statement")
        yield f"{nothing}: the logs have {statements}, and on no day more than {printable(gaps.table)}."
        return
    days = sum(1 for entry in gaps.days if entry.missing)
    yield (
        f"{count(gaps.missing, 'statement')} missing on {days:,} of {count(len(gaps.days), 'day')}. "
        f"{_how_to_send(gaps)}:"
    )


def _how_to_send(gaps: Gaps) -> str:
    options = "these options" if len(gaps.to_send) == 1 else "each line of these options"
    what = "them" if gaps.to_send == gaps.ranges else "all of them at once, from the first day to the last"
    send = f"Run again with {options}, in place of --gaps, to send {what}"
    if gaps.done.isdisjoint(gaps.to_send):
        return send
    return f"{send} (--restart: a run with these dates has finished before, and would find nothing new without it)"


def _commands(gaps: Gaps) -> Iterator[str]:
    for dates in gaps.to_send:
        yield f"  --since {dates[0]} --until {dates[1]}" + (" --restart" if dates in gaps.done else "")
