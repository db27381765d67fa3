"""Memory is flat in the size of the input, and bounded whatever the input is."""

from __future__ import annotations

import functools
import gzip
import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness import memory, tally
from tests.harness.clickhouse import ClickHouse
from tests.harness.forked_site import ForkedSite
from tests.harness.http_sinks import Answer, ScriptedLrs
from tests.harness.memory import peak_of, watched
from tutor_transform_logs.demo.log_writer import Mix
from tutor_transform_logs.lms_job.deliver.clickhouse import ClickHouse as ClickHouseTable
from tutor_transform_logs.lms_job.deliver.clickhouse import Table
from tutor_transform_logs.lms_job.util.errors import PermanentError

pytestmark = pytest.mark.usefixtures("lms")


def peak_memory(site: ForkedSite, folder: Path) -> int:
    """The most resident memory that a run on ``site``'s log into files takes, in bytes."""
    empty = ForkedSite(folder, site.lms.with_settings(XAPI_EVENT_LOGGING_ENABLED=False))
    return peak_of(empty.start(site.source(), empty.to_files(), batch_size=50))


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_ten_times_the_log_takes_no_more_memory(site: ForkedSite, suffix: str, tmp_path: Path) -> None:
    peaks = []
    for times in (1, 10):
        shutil.rmtree(site.logs)
        site.logs.mkdir()
        log = site.log(Mix(good=100 * times, page_view=4000 * times, broken=10 * times), name=f"tracking.log{suffix}")
        peaks.append(peak_memory(site, tmp_path / f"x{times}"))
    # The whole log would be a good part of what the process takes anyway.
    assert log.bytes > peaks[0] * 0.25
    assert peaks[1] < peaks[0] * 1.2


def test_more_batches_into_clickhouse_take_no_more_memory(
    site: ForkedSite, aspects_clickhouse: ClickHouse, tmp_path: Path
) -> None:
    """Once as many are in flight at the same time as ever will be, which a dozen are enough for."""
    peaks = []
    for batches in (12, 48):
        site.log(Mix(good=500 * batches))
        empty = ForkedSite(tmp_path / f"x{batches}", site.lms)
        target = aspects_clickhouse.destination()
        peaks.append(peak_of(empty.start(site.source(), target, batch_size=500, workers=1)))
        aspects_clickhouse.clear()
    assert peaks[1] < peaks[0] * 1.1


def test_batches_in_flight_take_no_more_than_the_bound(site: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    """Of the default size, to an LRS that takes all of them at the same time."""
    site.log(Mix(good=10_000))
    site.to_lrs({"url": scripted_lrs.url})
    scripted_lrs.latency_secs = 1.5
    memory.within_bound(peak_of(site.start(site.source(), workers=1)), "batches in flight")
    assert scripted_lrs.most_at_once >= 3


GOOD = Mix(good=20)
MB = 10**6
Event = dict[str, Any]


def blank(path: Path, _: Event) -> None:
    path.write_bytes(b"\n" * 700_000)


def blank_compressed(path: Path, _: Event) -> None:
    path.with_suffix(".gz").write_bytes(gzip.compress(b"\r\n" * 700_000))


def not_events(path: Path, _: Event) -> None:
    path.write_bytes(b"x\n" * 200_000)


def one_line(path: Path, _: Event) -> None:
    """Of zeros, which take no place on most disks."""
    with path.open("wb") as file:
        file.truncate((10_000 if tally.LONG else 300) * MB)


def one_line_compressed(path: Path, _: Event) -> None:
    path.write_bytes(compressed_zeros(10_000 if tally.LONG else 400))


def with_data(event: Event, data: str) -> bytes:
    """The line of an event with this JSON in place of its data."""
    return json.dumps({**event, "event": 0}).replace('"event": 0', f'"event": {data}').encode() + b"\n"


def deep(path: Path, event: Event) -> None:
    nested = "[" * 100_000 + "]" * 100_000
    path.write_bytes((with_data(event, nested) + with_data(event, json.dumps(nested))) * 20)


def many_values(path: Path, event: Event) -> None:
    """Each takes twenty times its text."""
    path.write_bytes(with_data(event, '{"a": [' + "{}," * 5_000_000 + "{}]}") * 2)


def many_values_in_many_lines(path: Path, event: Event) -> None:
    path.write_bytes(with_data(event, '{"a": [' + "{}," * 30_000 + "{}]}") * 400)


def long_texts(path: Path, event: Event) -> None:
    """As long as is parsed, and longer."""
    data = json.loads(event["event"])
    lines = [with_data(event, json.dumps({**data, "a": "x" * megabytes * MB})) for megabytes in (7, 7, 7, 15)]
    path.write_bytes(b"".join(lines * 2))


def long_texts_of_wide_characters(path: Path, event: Event) -> None:
    """One character in them makes each of the others take four bytes."""
    data = json.loads(event["event"])
    data_of = [{**data, "a": "x" * (size * MB // 10) + "\N{GRINNING FACE}"} for size in (18, 18, 18, 150)]
    lines = [with_data(event, json.dumps(each, ensure_ascii=plain)) for each in data_of for plain in (False, True)]
    path.write_bytes(b"".join(lines))


def long_lines_that_are_not_events(path: Path, event: Event) -> None:
    path.write_bytes((b"x" * 7 * MB + b"\n" + b"x" * 15 * MB + b"\n" + b"\xf0\x9f\x98\x80" * (MB // 2) + b"\n") * 4)


def large_statements(path: Path, event: Event) -> None:
    data = {**json.loads(event["event"]), "id": "x" * MB}
    lines = ({**event, "time": f"2026-01-01T00:00:{number:02d}+00:00"} for number in range(60))
    path.write_bytes(b"".join(with_data(line, json.dumps(json.dumps(data))) for line in lines))


LOGS: dict[str, Callable[[Path, Event], None]] = {
    "blank lines": blank,
    "blank lines, compressed": blank_compressed,
    "lines that are not events": not_events,
    "one line": one_line,
    "one line, compressed": one_line_compressed,
    "deep JSON": deep,
    "an event of millions of values": many_values,
    "many events of many values": many_values_in_many_lines,
    "long texts": long_texts,
    "long texts of wide characters": long_texts_of_wide_characters,
    "long lines that are not events": long_lines_that_are_not_events,
    "large statements": large_statements,
}


@pytest.mark.parametrize("name", LOGS)
def test_no_log_takes_more_than_the_bound(site: ForkedSite, name: str) -> None:
    [line] = site.log(Mix(good=1), names=["play_video"]).path.read_text().splitlines()
    LOGS[name](site.logs / "tracking.log.1", json.loads(line[line.index("{") :]))
    # Some are certainly not logs: here, they are read all the same.
    started = site.start(site.source(), site.to_files(), workers=1, max_invalid_ratio=1)
    memory.within_bound(peak_of(started), name)


LETTERS = 80_000
"""Of more than three kilobytes: together they would take more than the bound."""


@pytest.mark.parametrize("command", ["report", "verify"])
def test_no_number_of_dead_letters_takes_more_than_the_bound(site: ForkedSite, command: str) -> None:
    """In one segment. What WORK saved is made long by hand."""
    site.log(Mix(good=20, unknown_user=1))
    for phase in ("plan", "work"):
        assert site.run(site.source(), site.to_files(), command=phase, workers=1).status == 0
    [dead] = site.ledger.glob("*/0001/dead/*.jsonl")
    letter = dead.read_bytes()
    with dead.open("wb") as file:
        for number in range(LETTERS):
            file.write(letter.replace(b'"line": "', b'"line": "%d %s ' % (number, b"x" * 3000)))
    peak, ran = watched(site.start(site.source(), site.to_files(), command=command))
    assert ran.status == 0, ran.detail
    if command == "report":
        [joined] = site.ledger.glob("*/0001/dead-letters.jsonl")
        assert joined.read_bytes().count(b"\n") == LETTERS
    memory.within_bound(peak, f"{command}: {LETTERS:,} dead letters")


ZEROS = b"\0" * 10**6
ANSWER = 400


@functools.cache
def compressed_zeros(megabytes: int) -> bytes:
    """Zeros, in a thousandth of their size."""
    packer = zlib.compressobj(wbits=31)
    return b"".join(packer.compress(ZEROS) for _ in range(megabytes)) + packer.flush()


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("status", "said"), [(200, "more than 4 MiB"), (307, "redirects to http://elsewhere/"), (404, "answers 404")]
)
def test_no_answer_of_an_lrs_takes_more_than_the_bound(
    site: ForkedSite, scripted_lrs: ScriptedLrs, compressed: bool, status: int, said: str
) -> None:
    site.log(GOOD)
    site.to_lrs({"url": scripted_lrs.url})
    headers = {"Location": "http://elsewhere/"} if status == 307 else {}
    answer = Answer(status, ZEROS, headers, times=ANSWER)
    if compressed:
        answer = Answer(status, compressed_zeros(ANSWER), {**headers, "Content-Encoding": "gzip"})
    scripted_lrs.script = [answer]
    peak, ran = watched(site.start(site.source(), workers=1))
    assert ran.status == 1
    assert said in ran.detail
    memory.within_bound(peak, f"an answer {status} of {ANSWER} MB" + ", compressed" * compressed)


def test_no_answer_of_clickhouse_takes_more_than_its_bound(scripted_lrs: ScriptedLrs) -> None:
    clickhouse = ClickHouseTable(Table(scripted_lrs.url, "openedx", "xapi_events_all"), 5.0, 0.0, 2**20)
    scripted_lrs.script = [Answer(200, ZEROS, times=ANSWER)]
    with pytest.raises(PermanentError, match="it answers with more than 6 MiB, not as ClickHouse does"):
        clickhouse.probe()
