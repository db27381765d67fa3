"""What a person at a terminal sees of a run."""

from __future__ import annotations

import gzip
import re

import pytest

from tests.harness.forked_site import ForkedSite
from tests.harness.terminal import run_on_a_terminal
from tutor_transform_logs.demo.log_writer import Mix

pytestmark = pytest.mark.usefixtures("lms")

MIX = Mix(good=30, page_view=20, unknown_user=1, broken=1)


def test_a_run_shows_its_progress_and_not_its_statements(site: ForkedSite) -> None:
    log = site.log(MIX)
    status, seen = run_on_a_terminal(site)
    assert status == 0, seen
    assert "\r" in seen
    assert "100%" in seen
    assert '{"id"' not in seen
    assert re.search(rf"transformed +{log.xapi.count('transformed')}  made into statements\n", seen)
    assert "Traceback" not in seen
    # The table fits a terminal of 80 columns, but for names and paths.
    table = seen[seen.rindex("object  ") :].splitlines()
    assert all(len(line) <= 80 for line in table if "/" not in line)


def test_status_and_verify_fit_a_narrow_terminal(site: ForkedSite) -> None:
    site.log(MIX)
    assert run_on_a_terminal(site, 40)[0] == 0
    next(site.out.glob("*_xapi_*-????????.log")).write_bytes(b"")
    for command, begins, status in (("status", "Plan 0001", 0), ("verify", "statements expected", 3)):
        ended, seen = run_on_a_terminal(site, 40, command)
        assert ended == status, seen
        shown = seen[seen.rindex(begins) :].splitlines()
        assert [line for line in shown if len(line) > 40 and "/" not in line] == []


def test_a_run_fits_a_narrow_terminal_and_breaks_no_word(site: ForkedSite) -> None:
    site.log(MIX)
    for _ in range(2):
        status, seen = run_on_a_terminal(site, 40)
        assert status == 0, seen
        shown = [line.rpartition("\r")[2] for line in seen.splitlines()]
        assert [line for line in shown if len(line) > 40 and "/" not in line] == []
    assert " ".join(seen.split()).count("Nothing new in 1 object: done before, or empty. To do it all again") == 1


def test_a_narrow_terminal_shows_whole_numbers_only_and_no_bar(site: ForkedSite) -> None:
    site.log(MIX)
    _, seen = run_on_a_terminal(site, 40)
    assert "% |" not in seen
    bars = re.findall(r"\d+% ([^\r\n\x1b]*)", seen)
    assert any(bars)
    whole = re.compile(r"[\d.]+( k?B)? of [\d.]+ k?B(, [\d,]+ events/s)?(, [\d.]+ \w+ left)? *")
    assert [bar for bar in bars if bar and not whole.fullmatch(bar)] == []


def test_a_dry_run_shows_a_sample(site: ForkedSite) -> None:
    site.log(MIX)
    status, seen = run_on_a_terminal(site, dry_run=True)
    assert status == 0, seen
    assert seen.count('"version": "1.0.3"') == 3


def test_statements_are_shown_where_they_are_asked_for(site: ForkedSite) -> None:
    log = site.log(MIX)
    status, seen = run_on_a_terminal(site, log_statements=True)
    assert status == 0, seen
    assert seen.count('"version": "1.0.3"') == log.xapi.statements


def test_names_in_the_source_say_nothing_to_the_terminal(site: ForkedSite) -> None:
    """A log whose name would set the terminal's title, and one that can't be read to its end."""
    whole = site.log(MIX, name="tracking.log-\x1b]0;gotcha\x07").path.read_bytes()
    site.place("tracking.log-\x9b2J.gz", gzip.compress(whole)[:-100])
    for command in ("check", "run", "status", "verify"):
        status, seen = run_on_a_terminal(site, command=command)
        assert status in (0, 3), seen
        assert "\x1b]" not in seen
        assert not set(seen) & {"\x07", "\x9b"}
    shown = run_on_a_terminal(site, command="check")[1]
    assert "tracking.log-\\x9b2J.gz " in shown
    # A long name is cut in the middle.
    assert ";gotcha\\x07 " in shown
