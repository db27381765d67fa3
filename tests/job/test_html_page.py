"""The report's page: made of anything a run can leave, and looked at in a real browser."""

from __future__ import annotations

import html.parser
import json
import re
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness import pages
from tests.harness.browser import Browser, Page
from tests.harness.demo_lms import REPOSITORY
from tests.harness.forked_site import ForkedSite
from tests.harness.job import newest
from tutor_transform_logs.demo.log_writer import Mix
from tutor_transform_logs.lms_job.model.activity import Activity
from tutor_transform_logs.lms_job.model.counts import Counts
from tutor_transform_logs.lms_job.model.dead_letters import DELIVER_REASONS, DeadLetter
from tutor_transform_logs.lms_job.read.events import PARSE_REASONS
from tutor_transform_logs.lms_job.report.charts import compare_days, days_of, timeline_of
from tutor_transform_logs.lms_job.report.glossary import REASON_FIXES, REASON_MEANINGS
from tutor_transform_logs.lms_job.report.html_page import page
from tutor_transform_logs.lms_job.report.next_steps import REBUILD
from tutor_transform_logs.lms_job.report.result import ObjectResult

PICTURES = REPOSITORY / "build" / "report"
# Contrast as WCAG 2.2 computes it, of every text with what is behind it.
CONTRASTS = r"""
(() => {
  const light = rgb => rgb.map(c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);
  const numbers = text => text.match(/[\d.]+/g).map(Number);
  const behind = one => {
    for (; one; one = one.parentElement) {
      const [r, g, b, a] = numbers(getComputedStyle(one).backgroundColor);
      if (a === undefined || a > 0) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const found = {};
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const one = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || one.closest('svg')) continue;
    const [a, b] = [light(numbers(getComputedStyle(one).color).slice(0, 3)), light(behind(one))];
    found[one.tagName + '.' + one.className] = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  }
  return found;
})()
"""


# Of each text of a table's names: its characters, and where each is.
BROKEN_NAMES = r"""
(() => {
  const found = [];
  for (const name of document.querySelectorAll('.whole, .long')) {
    for (const node of name.childNodes) {
      if (node.nodeType !== Node.TEXT_NODE) continue;
      const range = document.createRange();
      range.selectNodeContents(node);
      if (range.getClientRects().length > 1) found.push(name.textContent);
    }
  }
  return found;
})()
"""


class Tags(html.parser.HTMLParser):
    """Every element and attribute, and a check that what opens is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in ("meta", "wbr"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


odd = st.text(st.characters(codec=None), max_size=20) | st.sampled_from(
    ["<script>", "</style>", '" onload="x', "\udcff"]
)
numbers = st.integers(0, 10**9)


@given(odd, odd, odd, numbers, st.dictionaries(odd, st.lists(numbers, min_size=3, max_size=3), max_size=5))
def test_any_result_makes_a_page_that_is_sound(
    name: str, detail: str, reason: str, count: int, types: dict[str, list[int]]
) -> None:
    activity = Activity(types=types, days={"2026-01-01": [count, 1], "": [1, 1]}, secs=5.0)
    one = ObjectResult(name, count, Counts(lines=count, reasons={reason: count}), activity, done=False, notes=[detail])
    result = pages.result([one], activity, problems=[detail], outputs=[name], dead_letters=name, aborted=detail)
    letter = DeadLetter(name, 1, 1, "transform", reason, detail, name, detail.encode("utf-8", "surrogatepass"))
    made = page(pages.job_config(source_prefix=""), result, {reason: [letter]})
    made.encode("utf-8")
    tags = Tags(made)
    assert not tags.names & {"script", "link", "img", "iframe", "a", "object", "embed", "form"}
    assert not [name for name in tags.attributes if name.startswith("on") or name in ("src", "href")]


dates = st.dates(date(2010, 1, 1), date(2030, 1, 1))


@given(st.dictionaries(dates, st.tuples(numbers, numbers), min_size=1, max_size=40))
def test_a_time_line_holds_every_day_and_names_every_hole(table: dict[date, tuple[int, int]]) -> None:
    found = days_of({day.isoformat(): list(counts) for day, counts in table.items()})
    assert found is not None
    assert (found.first, found.last) == (min(table), max(table))
    for place in range(2):
        assert sum(bar.counts[place] for bar in found.bars) == sum(counts[place] for counts in table.values())
    width = (found.last - found.first).days + 1
    ends = [(bar.start, bar.start + bar.width) for bar in found.bars]
    assert ends == sorted(ends)
    assert all(0 <= begin < end <= width for begin, end in ends)
    assert all(before[1] <= after[0] for before, after in zip(ends[:-1], ends[1:], strict=True))
    missing = {begin + timedelta(n) for begin, end in found.gaps for n in range((end - begin).days + 1)}
    every = {found.first + timedelta(n) for n in range(width)}
    assert missing == every - table.keys()


@given(
    st.dictionaries(dates, st.integers(0, 10**6), min_size=1, max_size=40),
    st.dictionaries(dates, st.integers(0, 10**6), max_size=40),
)
def test_a_comparison_loses_no_row_and_no_day_is_there_twice(
    in_logs: dict[date, int], in_table: dict[date, int]
) -> None:
    timeline = days_of({day.isoformat(): [count, 0] for day, count in in_logs.items()})
    assert timeline is not None
    rows = {day: count for day, count in in_table.items() if timeline.first <= day <= timeline.last}
    pairs = compare_days(timeline, rows)
    assert sum(pair.in_logs for pair in pairs) == sum(in_logs.values())
    assert sum(pair.in_table for pair in pairs) == sum(rows.values())
    ends = [0, *(pair.start + pair.width for pair in pairs)]
    assert all(before <= pair.start and pair.width > 0 for before, pair in zip(ends, pairs, strict=False))
    assert ends[-1] <= (timeline.last - timeline.first).days + 1


def test_months_and_years_are_as_coarse_as_they_are() -> None:
    found = days_of({"2020": [5, 0], "2024-02": [3, 1], "2024-12-24": [2, 0], "": [1, 2]})
    assert found is not None
    assert (found.first, found.last, found.step) == (date(2020, 1, 1), date(2024, 12, 24), "year")
    assert [bar.counts for bar in found.bars] == [(5, 0), (5, 1)]
    days = [(date(2021, 1, 1), date(2024, 1, 31)), (date(2024, 3, 1), date(2024, 12, 23))]
    assert list(found.gaps) == days
    assert found.without_day == (1, 2)


def test_a_month_and_its_first_day_are_added() -> None:
    found = days_of({"2024-02": [3, 1], "2024-02-01": [2, 0], "2024-02-28": [1, 0], "2024-03-02": [1, 0]})
    assert found is not None
    assert [bar.counts for bar in found.bars] == [(6, 1), (1, 0)]
    assert found.gaps == ((date(2024, 3, 1), date(2024, 3, 1)),)


def test_a_log_of_many_days_has_its_gaps_named() -> None:
    activity = Activity()
    for number in range(480):
        day = date(2024, 1, 1) + timedelta(number)
        if day.month != 7 and day.day != 3:
            activity.transformed("a", f"{day}T10:00:00Z", 1)
    text = made({}, activity.bounded())
    assert "No events on at least 31 of these days: 2024-07-01 to 2024-07-31 (31 days). " in text
    assert "So long a time is counted by month: of one with events, the days without any are not known. " in text
    activity = Activity(days={"2024-01-01": [1, 0], "2024-01-03": [1, 0]})
    assert "No events on 1 of these days: 2024-01-02. " in made({}, activity)
    assert "are not known" not in made({}, activity)


def made(types: dict[str, list[int]], activity: Activity | None = None, **values: Any) -> str:
    """The page of a log with events of these types."""
    activity = activity or Activity()
    activity.types |= types
    sums = [sum(column) for column in zip([0, 0, 0], *types.values(), strict=True)]
    skipped = sum(number for (number,) in activity.skipped.values())
    counts = Counts(lines=sum(sums) + skipped, transformed=sums[0], untransformable=sums[1], unknown_event=skipped)
    counts.reasons = {"erb_error": sums[1]} if sums[1] else {}
    one = ObjectResult("tracking.log", 9, counts, activity, done=True)
    return page(pages.job_config(), pages.result([one], activity, **values), {})


def test_types_that_fail_come_first() -> None:
    text = re.sub("<[^>]+>", " ", made({"often": [90, 0, 0], "fails2": [3, 2, 0], "fails4": [0, 4, 0]}))
    assert "Events by type, those that fail first" in text
    assert text.index(" fails4 ") < text.index(" fails2 ") < text.index(" often ")
    assert "most frequent first" in re.sub("<[^>]+>", " ", made({"often": [90, 0, 0]}))


def test_skipped_events_have_counts_and_shares() -> None:
    activity = Activity()
    activity.skip("/courses/x", 46)
    activity.skip("page_close", 4)
    text = " ".join(re.sub("<[^>]+>", " ", made({"a": [50, 0, 0]}, activity)).split())
    assert "50 lines, 50 % of all, are events that are not transformed to xAPI: they are skipped." in text
    assert "(page views) 46 46 % page_ close 4 4.0 %" in text


def test_what_is_counted_together_is_last_and_says_of_what_it_is() -> None:
    activity = Activity(courses={"(other courses)": [900, 0], "a": [5, 0]}, verbs={"(other verbs)": [90], "b/c": [5]})
    text = " ".join(re.sub("<[^>]+>", " ", made({"a": [905, 0, 0]}, activity)).split())
    assert text.index("a 5 0") < text.index("(other courses) 900 0")
    assert text.index("c 5") < text.index("(other verbs) 90")


def test_a_single_day_is_shown_by_hours() -> None:
    activity = Activity()
    for hour in (0, 9, 9, 23):
        activity.transformed("a", f"2026-02-01T{hour:02d}:30:00Z", 1)
    activity.failed("a", "2026-02-01T09:00:00Z")
    text = made({}, activity)
    assert "The time of the events, by hour (UTC): 2026-02-01. " in text
    assert "09:00: 2 statements, 1 failed event<" in text
    assert "3 statements and failed events" in text
    found = timeline_of(activity)
    assert found is not None
    assert [(round(bar.start * 24), bar.counts) for bar in found.bars] == [(0, (1, 0)), (9, (2, 1)), (23, (1, 0))]
    # What an earlier version has counted has no hours.
    activity.days["2026-02-01"][0] += 1
    found = timeline_of(activity)
    assert found is not None
    assert found.step == "day"


def test_the_axis_says_what_its_bars_are() -> None:
    activity = Activity(days={"2026-02-01": [189, 6], "2026-02-02": [5, 0]})
    assert "195 statements and failed events<" in made({}, activity)
    assert "189 statements<" in made({}, Activity(days={"2026-02-01": [189, 0], "2026-02-02": [5, 0]}))


def test_the_axis_of_one_statement() -> None:
    assert "1 statement<" in made({}, Activity(days={"2026-02-01": [1, 0], "2026-02-02": [1, 0]}))


def test_a_long_path_fits_on_a_phone(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    activity = Activity(days={"2026-02-01": [1, 0]})
    long = f"/openedx/data/transform-logs/{'0123456789abcdef' * 3}/0001/dead-letters.jsonl"
    path.write_text(made({"a": [1, 1, 0]}, activity, dead_letters=long), encoding="utf-8")
    opened = browser.open(path, width=390)
    assert "holds personal data" in shown_text(opened)
    assert opened.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize(
    ("types", "status", "colour"),
    [
        ({"a": [1000, 5, 0]}, 0, "good"),
        ({"a": [1000, 50, 0]}, 0, "fair"),
        ({"a": [1000, 0, 0]}, 3, "fair"),
        ({"a": [1000, 0, 0]}, 4, "fair"),
        ({"a": [1000, 0, 0]}, 1, "bad"),
    ],
)
def test_the_colour_is_that_of_the_ending(types: dict[str, list[int]], status: int, colour: str) -> None:
    assert f'class="status {colour}"' in made(types, status=status)


def test_every_reason_has_a_meaning_and_a_fix() -> None:
    assert REASON_FIXES.keys() == REASON_MEANINGS.keys()
    assert {*PARSE_REASONS, *DELIVER_REASONS} <= REASON_FIXES.keys()


@pytest.fixture(scope="module")
def big_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run of some hours over months of logs."""
    result, examples = pages.big_result()
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page(pages.job_config(), result, examples), encoding="utf-8")
    return path


def shown_text(opened: Page) -> str:
    """What a person reads, with everything unfolded."""
    opened.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    text: str = opened.evaluate("document.body.innerText")
    return text


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360], ids=["wide", "narrow"])
def test_it_is_readable_in_a_browser(browser: Browser, big_page: Path, width: int, dark: bool) -> None:
    opened = browser.open(big_page, width=width, dark=dark)
    opened.screenshot(PICTURES / f"{'dark' if dark else 'light'}-{width}.png")
    text = shown_text(opened)
    for detail in (
        "Done. Every line and every statement is accounted for.",
        "Statements over time",
        "No events on 29 of these days: 2024-10-12; 2024-11-21 to 2024-11-27 (7 days); ",
        "Next: Aspects' charts",
        REBUILD,
        "In the table",
        "week of 2024-10-07",
        "Speed over the run",
        "edx.course.tool_9.accessed",
        "the LMS's database has no such user",
        "tracking.log-20250124-1738368000.gz",
        "Where the time went",
        "openedx.course.student_notes.viewed_in_a_new_window",
        "course-v1:University+Subject7+2024_T1",
        "paused",
        "What to do: Nothing, for visitors who were not logged in",
        "plugin 1.2.3, event-routing-backends 10.1.0, LMS verawood",
    ):
        assert detail in text
    assert "ann" not in re.findall(r"\w+", text)
    # No scrolling sideways, folded or unfolded.
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    # Columns that stand for nothing would be none.
    areas: list[float] = opened.evaluate(
        "[...document.querySelectorAll('svg rect')].map(one => one.getBoundingClientRect().width)"
    )
    assert len(areas) > 100
    assert min(areas) > 0
    contrasts: dict[str, float] = opened.evaluate(CONTRASTS)
    assert len(contrasts) > 10
    assert {name: ratio for name, ratio in contrasts.items() if ratio < 4.5} == {}
    background = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") is not dark


def broken_names(opened: Page) -> list[str]:
    """Names that are broken within a part: two of its characters are on two lines."""
    found: list[str] = opened.evaluate(BROKEN_NAMES)
    return found


@pytest.mark.parametrize("width", [1200, 390])
def test_names_are_broken_at_dots_and_the_like_alone(browser: Browser, big_page: Path, width: int) -> None:
    opened = browser.open(big_page, width=width)
    shown_text(opened)
    # One without a dot has to break somewhere.
    assert [name for name in broken_names(opened) if "aaaa" not in name] == []


def test_it_prints_with_its_bars_and_in_light_colours(browser: Browser, big_page: Path) -> None:
    opened = browser.open(big_page, width=794, dark=True)
    opened.print(PICTURES / "print.pdf")
    opened.emulate_print()
    opened.screenshot(PICTURES / "print.png")
    assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert opened.evaluate("getComputedStyle(document.querySelector('.bar span')).printColorAdjust") == "exact"
    assert opened.evaluate("document.documentElement.scrollWidth") <= 794
    contrasts: dict[str, float] = opened.evaluate(CONTRASTS)
    assert {name: ratio for name, ratio in contrasts.items() if ratio < 4.5} == {}


def test_it_asks_for_nothing_and_breaks_no_rule(browser: Browser, big_page: Path) -> None:
    opened = browser.open(big_page, width=1200)
    opened.screenshot(PICTURES / "check.png")
    assert opened.requests() == [big_page.as_uri()]
    assert opened.complaints() == []
    # The page's policy is in force: what it does not allow is not done.
    opened.evaluate("document.body.append(Object.assign(new Image(), {src: 'http://192.0.2.1/x.png'}))")
    opened.screenshot(PICTURES / "check.png")
    assert any("violates" in complaint for complaint in opened.complaints())


def test_it_has_headings_captions_and_names(browser: Browser, big_page: Path) -> None:
    opened = browser.open(big_page, width=1200)
    levels: list[str] = opened.evaluate("[...document.querySelectorAll('h1,h2,h3')].map(one => one.tagName)")
    assert levels[0] == "H1"
    assert levels.count("H1") == 1
    assert all(int(after[1]) <= int(before[1]) + 1 for before, after in zip(levels[:-1], levels[1:], strict=True))
    tables = "[...document.querySelectorAll('table')]"
    assert opened.evaluate(f"{tables}.every(one => one.caption && one.querySelector('th[scope=col]'))")
    assert opened.evaluate("[...document.querySelectorAll('svg')].every(one => one.getAttribute('aria-label'))")
    assert opened.evaluate("document.documentElement.lang") == "en"
    assert opened.evaluate("document.title") == (
        "Tracking logs to xAPI: Done. Every line and every statement is accounted for."
    )


def embedded(text: str) -> Iterator[str]:
    """Text that only a person's data has: of the log writer's users and places."""
    return (word for word in ("learner00", "@example.com", "203.0.113.", "Mozilla") if word in text)


def test_a_run_leaves_its_page_beside_its_result(site: ForkedSite, browser: Browser) -> None:
    log = site.log(Mix(good=40, page_view=20, unknown_user=3, type_error=2, broken=2))
    run = site.run(site.source(), site.to_files())
    assert run.status == 0, run.stderr
    assert run.ledger is not None
    path = newest(run.ledger, "report.html")
    assert path is not None
    assert path.parent == newest(run.ledger, "result.json").parent  # type: ignore[union-attr]  # it is there
    assert f"Report: {path}\n" in run.stdout
    result: Mapping[str, Any] = json.loads((path.parent / "result.json").read_text())
    assert result["page"] == str(path)
    expected = log.xapi
    assert sum(counts["transformed"] for counts in result["event_types"].values()) == expected.count("transformed")
    assert result["days"] == {
        "2026-02-01": {
            "statements": expected.statements,
            "failed_events": expected.untransformable + expected.count("no_transformer"),
        }
    }
    text = shown_text(browser.open(path, width=1200))
    assert "unknown_user" in text
    assert '"username": ‹text›' in text
    assert list(embedded(text)) == []


def test_a_report_made_again_still_has_its_examples(site: ForkedSite) -> None:
    site.log(Mix(good=5, unknown_user=3))
    first = site.run(site.source(), site.to_files())
    assert first.ledger is not None
    path = newest(first.ledger, "report.html")
    assert path is not None
    before = path.read_text()
    again = site.run(site.source(), site.to_files(), command="report")
    assert again.status == 0, again.stderr
    assert path.read_text().count("‹text›") == before.count("‹text›") > 0
    assert first.result is not None
    assert again.result is not None
    assert again.result["dead_letters"] == first.result["dead_letters"] != ""
