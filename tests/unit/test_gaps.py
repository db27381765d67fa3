"""The pure parts of GAPS: distinct statements by day, the comparison, and what it prints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from tutor_transform_logs.lms_job.gaps.distinct import DistinctByDay, number_of
from tutor_transform_logs.lms_job.gaps.result import Gaps, compare, describe

FIRST = date(2025, 2, 27)
COUNTS = st.dictionaries(st.integers(0, 40).map(lambda days: FIRST + timedelta(days)), st.integers(0, 5))


@settings(max_examples=20)  # it opens 256 files each time
@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 3))))
def test_a_statement_counts_once_a_day(added: list[tuple[int, int]]) -> None:
    with DistinctByDay() as statements:
        for number, days in added * 2:
            statements.add(number, FIRST + timedelta(days))
        counted = statements.counts()
    expected = {FIRST + timedelta(days): len({n for n, other in added if other == days}) for _, days in added}
    assert counted == expected


def test_a_number_stands_for_all_its_parts() -> None:
    assert len({number_of("a", "b"), number_of("ab", ""), number_of("a", None), number_of("\ud800", "b")}) == 4


def gaps(in_logs: dict[date, int], in_table: dict[date, int]) -> Gaps:
    return Gaps("http://clickhouse:8123 openedx.xapi_events_all", compare(in_logs, in_table), 0, 0, 0, ())


def days_between(found: Gaps) -> Iterator[date]:
    for first, last in found.ranges:
        yield from (first + timedelta(days) for days in range((last - first).days + 1))


@given(COUNTS, COUNTS)
def test_the_ranges_are_the_days_with_something_missing(in_logs: dict[date, int], in_table: dict[date, int]) -> None:
    found = gaps(in_logs, in_table)
    assert list(days_between(found)) == sorted(day for day in in_logs if in_logs[day] > in_table.get(day, 0))
    assert all(
        last + timedelta(1) < first for (_, last), (first, _) in zip(found.ranges, found.ranges[1:], strict=False)
    )
    assert found.missing == sum(max(0, logged - in_table.get(day, 0)) for day, logged in in_logs.items())


@given(COUNTS, COUNTS)
def test_the_table_fits_a_narrow_terminal(in_logs: dict[date, int], in_table: dict[date, int]) -> None:
    lines = describe(gaps(in_logs, in_table)).splitlines()
    assert all(len(line) <= 40 for line in lines if line.startswith("2025-"))


@given(COUNTS, COUNTS, st.sampled_from([80, 50, 40, 30]))
def test_sentences_are_wrapped_and_options_are_not(
    in_logs: dict[date, int], in_table: dict[date, int], width: int
) -> None:
    found = Gaps("http://c:8123 openedx.t", compare(in_logs, in_table), 1, 2, 3, ("a: deleted, or replaced", "b: gone"))
    lines, whole = describe(found, width).splitlines(), describe(found).splitlines()
    table = [line for line in whole if line.startswith(("2025-", "day (UTC)"))]
    options = [line for line in whole if "--since" in line]
    assert all(len(line) <= width for line in lines if line not in (*table, *options))
    assert [line for line in lines if "--since" in line] == options
    assert " ".join(" ".join(lines).split()) == " ".join(" ".join(whole).split())


def test_large_numbers_do_not_touch() -> None:
    head, row, *_ = describe(gaps({FIRST: 98_765_432}, {FIRST: 12_345_678})).splitlines()
    assert row.split() == ["2025-02-27", "98,765,432", "12,345,678", "86,419,754"]
    assert len(head) == len(row) == 43


def test_what_is_missing_is_printed_with_the_commands_that_send_it() -> None:
    day = timedelta(days=1)
    in_logs = {FIRST: 1500, FIRST + day: 7, FIRST + 2 * day: 8, FIRST + 9 * day: 4}
    found = gaps(in_logs, {FIRST: 1000, FIRST + 2 * day: 9})
    assert describe(found) == (
        "day (UTC)    in logs  in table   missing\n"
        "2025-02-27     1,500     1,000       500\n"
        "2025-02-28         7         0         7\n"
        "2025-03-08         4         0         4\n"
        "\n"
        "More in the table than in these logs on 1 day: it has events of other logs, too.\n"
        "511 statements missing on 3 of 4 days. "
        "Run again with each line of these options, in place of --gaps, to send them:\n"
        "  --since 2025-02-27 --until 2025-02-28\n"
        "  --since 2025-03-08 --until 2025-03-08"
    )
    assert found.to_json()["ranges"] == [
        {"since": "2025-02-27", "until": "2025-02-28", "restart": False},
        {"since": "2025-03-08", "until": "2025-03-08", "restart": False},
    ]


def test_days_that_a_run_has_done_are_sent_by_starting_over() -> None:
    day = timedelta(days=1)
    found = gaps({FIRST: 2, FIRST + 2 * day: 3}, {})
    found = replace(found, done=frozenset([found.ranges[1]]))
    assert describe(found).splitlines()[-3:] == [
        "5 statements missing on 2 of 2 days. "
        "Run again with each line of these options, in place of --gaps, to send them "
        "(--restart: a run with these dates has finished before, and would find nothing new without it):",
        "  --since 2025-02-27 --until 2025-02-27",
        "  --since 2025-03-01 --until 2025-03-01 --restart",
    ]
    assert [dates["restart"] for dates in json.loads(json.dumps(found.to_json()))["ranges"]] == [False, True]


def test_nothing_missing_is_said_in_one_line() -> None:
    found = gaps({FIRST: 2}, {FIRST: 2})
    assert describe(found).startswith("Nothing is missing: the logs have 2 statements")
    assert found.ranges == ()


def test_of_many_gaps_one_command_covers_all() -> None:
    found = gaps({FIRST + timedelta(2 * n): 1 for n in range(60)}, {})
    text = describe(found)
    assert "... and 20 more days" in text
    assert text.endswith(
        "60 statements missing on 60 of 60 days. Run again with these options, in place of --gaps, to send all of them "
        "at once, from the first day to the last:\n  --since 2025-02-27 --until 2025-06-25"
    )
    again = replace(found, done=frozenset(found.to_send))
    assert describe(again).endswith("\n  --since 2025-02-27 --until 2025-06-25 --restart")


def test_nothing_is_said_of_what_could_not_be_read() -> None:
    found = replace(gaps({FIRST: 2}, {FIRST: 2}), problems=("tracking.log-1.gz: damaged",))
    assert describe(found).splitlines() == [
        "not read: tracking.log-1.gz: damaged",
        "Nothing that could be read is missing: the logs have 2 statements, and on no day more than "
        "http://clickhouse:8123 openedx.xapi_events_all.",
    ]
