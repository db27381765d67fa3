"""What of an object store is read ahead gives the same plans as what is read one after the other, in less time."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import signal
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pytest

from tests.harness.echo_job import line_of
from tests.harness.faulty_store import HANG, Fault, faulty
from tests.harness.forked_site import ForkedSite
from tests.harness.object_store import Bucket
from tests.harness.oracle.places import BUSY
from tutor_transform_logs.demo.log_writer import Mix
from tutor_transform_logs.lms_job.config.schema import StorageConfig, load
from tutor_transform_logs.lms_job.ledger.entries import Entry
from tutor_transform_logs.lms_job.ledger.ledger import Ledger
from tutor_transform_logs.lms_job.model.delivery import KnownDestination
from tutor_transform_logs.lms_job.model.plan import ContentIndex, OutputFormat, Plan, Segment
from tutor_transform_logs.lms_job.plan.discovery import identify_objects
from tutor_transform_logs.lms_job.read.archives import Archives
from tutor_transform_logs.lms_job.storage import cloud
from tutor_transform_logs.lms_job.storage.base import AT_ONCE, StoredObject
from tutor_transform_logs.lms_job.storage.cloud import CloudStorage
from tutor_transform_logs.lms_job.storage.cloud_source import FIRST_BYTES_KEPT, CloudSource
from tutor_transform_logs.lms_job.util.backoff import retrying
from tutor_transform_logs.lms_job.util.errors import JobError

OBJECTS = 40


def lines(*numbers: int, count: int = 30) -> bytes:
    return b"".join(
        line_of(str(1000 * number + each), 300).encode() + b"\n" for number in numbers for each in range(count)
    )


def in_tar(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def in_zip(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def objects() -> dict[str, bytes]:
    """Small and large, plain and packed, copies, beginnings of others, odd names, what is not a log."""
    made = {f"many/{number:02}.gz": gzip.compress(lines(number)) for number in range(24)}
    long = lines(*range(50, 80))
    assert len(long) > 2 * FIRST_BYTES_KEPT
    return made | {
        "copy.gz": made["many/03.gz"],
        "copy": lines(3),
        "empty": b"",
        "encrypted": b"Salted__" + bytes(100),
        "grown": lines(5, 6),
        "large": long,
        "large.gz": gzip.compress(long, 0),
        "odd name é.gz": gzip.compress(lines(31)),
        "shorter": lines(5),
        "a.tar": in_tar(one=lines(41), two=lines(3)),
        "a.tar.gz": gzip.compress(in_tar(three=lines(42), four=lines(43))),
        "a.zip": in_zip(five=lines(44), six=lines(4)),
        "truncated.gz": gzip.compress(lines(45))[:-20],
    }


def put_all(bucket: Bucket, contents: dict[str, bytes]) -> list[StoredObject]:
    """Store them, over one connection; gives their listing."""
    client = bucket.store.client()
    for key, content in contents.items():
        client.put_object(Bucket=bucket.name, Key=key, Body=content)
    return list(CloudSource(config_of(bucket), 1.0).listing(""))


def config_of(bucket: Bucket, **more: Any) -> StorageConfig:
    return load({**bucket.settings("source"), "destination_provider": "LRS", **more}).source


class Sequential(CloudSource):
    """Reads nothing ahead."""

    @contextlib.contextmanager
    def reading_ahead(self, names: Sequence[str], at_once: int = AT_ONCE) -> Iterator[None]:
        yield


def plan_of(source: CloudSource, entries: list[StoredObject]) -> object:
    """All that PLAN learns of these objects, or why it ends."""
    index = ContentIndex(())
    try:
        return identify_objects(Archives(source), entries, index), dict(index.contents)
    except JobError as error:
        return type(error), str(error)


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud, "retrying", partial(retrying, sleep=lambda secs: None))


def every(count: int, fault: Fault) -> Callable[[int, str], Fault]:
    return lambda number, _: fault if number % count == 0 else None


FAULTS: dict[str, Callable[[int, str], Fault]] = {
    "none": lambda *_: None,
    "busy": every(3, BUSY),
    "no answer": every(4, b""),
    "cut within the headers": every(5, 60),
    "cut within the body": every(3, 900),
    "one log busy": lambda _, line: BUSY if "/many/07.gz" in line else None,
    "slow": every(7, 0.2),
    "all busy": lambda *_: BUSY,
    "no such key": every(
        6,
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_plan_is_that_of_one_request_after_the_other(nanio_bucket: Bucket, name: str) -> None:
    entries = put_all(nanio_bucket, objects())
    before = set(threading.enumerate())
    made: list[object] = []
    for kind in (Sequential, CloudSource):
        with faulty(nanio_bucket, FAULTS[name]) as (bucket, _):
            made.append(plan_of(kind(config_of(bucket), 60.0 if name != "all busy" else 0.0), entries))
    if name == "no such key":
        # Which request it is that is refused depends on their order.
        assert all(isinstance(each, tuple) and issubclass(each[0], JobError) for each in made)
    elif isinstance(made[0], tuple) and isinstance(made[0][1], str):
        assert [str(each)[:60] for each in made] == [str(made[0])[:60]] * 2
    else:
        assert made[0] == made[1]
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name.endswith("(_work)")]


def test_the_same_of_what_has_changed_since_it_was_listed(nanio_bucket: Bucket) -> None:
    entries = put_all(nanio_bucket, objects())
    client = nanio_bucket.store.client()
    for number, key in enumerate(entry.name for entry in entries):
        if number % 4 == 1:
            client.delete_object(Bucket=nanio_bucket.name, Key=key)
        elif number % 4 == 2:
            nanio_bucket.put(key, [gzip.compress(lines(90 + number)), lines(3), b"", lines(number)[:500]][number % 3])
    config = config_of(nanio_bucket)
    assert plan_of(CloudSource(config, 1.0), entries) == plan_of(Sequential(config, 1.0), entries)


def test_the_same_with_a_wrong_secret(nanio_bucket: Bucket) -> None:
    entries = put_all(nanio_bucket, objects())
    config = config_of(nanio_bucket, source_secret="another secret")
    found = plan_of(CloudSource(config, 1.0), entries)
    assert found == plan_of(Sequential(config, 1.0), entries)
    assert "refuses the credentials" in str(found)


def test_many_objects_are_asked_for_at_the_same_time(nanio_bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of them would be read without the others."""
    together, read, asked = threading.Barrier(AT_ONCE), CloudSource._read_early, list[str]()

    def wait_and_read(self: CloudSource, name: str) -> Any:
        asked.append(name)
        together.wait(timeout=20)
        return read(self, name)

    monkeypatch.setattr(CloudSource, "_read_early", wait_and_read)
    entries = put_all(nanio_bucket, {f"{number}.gz": gzip.compress(lines(number)) for number in range(2 * AT_ONCE)})
    plan_of(CloudSource(config_of(nanio_bucket), 1.0), entries)
    assert sorted(asked) == sorted(entry.name for entry in entries)


def test_many_entries_are_asked_for_at_the_same_time(nanio_bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    together, read = threading.Barrier(AT_ONCE), CloudStorage._read_early

    def wait_and_read(self: CloudStorage, name: str) -> Any:
        together.wait(timeout=20)
        return read(self, name)

    monkeypatch.setattr(CloudStorage, "_read_early", wait_and_read)
    segments = tuple(Segment(number, number, f"log{number}", 0, None, 1, "gzip") for number in range(2 * AT_ONCE))
    plan = Plan(1, 0.0, (), (), segments, OutputFormat("batches", "none", 1), uuid="a")
    with faulty(nanio_bucket, lambda *_: None) as (bucket, proxy):
        ledger = Ledger(CloudStorage(config_of(bucket), 1.0), "ledger", "key")
        for segment in segments[::3]:
            ledger.save_entry(plan, segment, "files", Entry(segment.id, batches=segment.id))
        proxy.requests.clear()
        entries = ledger.load_entries(plan, [KnownDestination("files", "files")])
        assert len(proxy.requests) == len(segments)
    for number, segment in enumerate(segments):
        expected = Entry(segment.id, batches=segment.id) if number % 3 == 0 else Entry(0)
        assert entries[segment.id] == {"files": expected}


def write_objects(site: ForkedSite, bucket: Bucket) -> int:
    """Small logs, far more than are read at the same time; returns how many lines they have."""
    contents, count = {}, 0
    for number in range(OBJECTS):
        log = site.log(Mix(good=3, page_view=3), name=f"log{number}", seed=number)
        contents[f"logs/tracking.log-{number:02}.gz"] = gzip.compress(log.path.read_bytes())
        count += log.xapi.lines
    put_all(bucket, contents)
    return count


@pytest.fixture
def run(site: ForkedSite) -> Iterator[Callable[..., Any]]:
    def start(bucket: Bucket, **more: Any) -> Any:
        parts = (bucket.settings("source", prefix="logs/"), bucket.settings("ledger", prefix="ledger/"))
        return site.start(*parts, site.to_files(), **more)

    yield start


@pytest.mark.usefixtures("lms")
def test_ctrl_c_while_objects_are_read_ahead(site: ForkedSite, nanio_bucket: Bucket, run: Callable[..., Any]) -> None:
    """No request is answered; nothing is asked for after it."""
    write_objects(site, nanio_bucket)
    with faulty(nanio_bucket, lambda _, line: HANG if "/logs/tracking" in line else None) as (bucket, proxy):
        process = run(bucket)
        deadline = time.monotonic() + 30
        while sum("/logs/tracking" in line for line in proxy.requests) < AT_ONCE and time.monotonic() < deadline:
            time.sleep(0.01)
        began = time.monotonic()
        process.send(signal.SIGINT)
        ran = process.wait(timeout_secs=15)
        assert time.monotonic() - began < 6
        assert ran.status == 4, ran.detail
        assert "Interrupted (SIGINT)" in ran.detail
        assert "Traceback" not in ran.detail
        assert sum("/logs/tracking" in line for line in proxy.requests) == AT_ONCE
    again = run(nanio_bucket).wait()
    assert again.status == 0, again.detail


@pytest.mark.usefixtures("lms")
@pytest.mark.parametrize("at", [1, AT_ONCE, OBJECTS])
def test_a_kill_while_objects_are_read_ahead(
    site: ForkedSite, nanio_bucket: Bucket, run: Callable[..., Any], at: int
) -> None:
    count = write_objects(site, nanio_bucket)
    killed = threading.Event()

    def fault(_: int, line: str) -> Fault:
        if "/logs/tracking" in line and not killed.is_set():
            seen.append(line)
            if len(seen) == at:
                killed.set()
                process.send(signal.SIGKILL)
        return None

    seen: list[str] = []
    with faulty(nanio_bucket, fault) as (bucket, _):
        process = run(bucket)
        assert process.wait().status == -signal.SIGKILL
    again = run(nanio_bucket).wait()
    assert again.status == 0, again.detail
    [result] = [key for key in nanio_bucket.keys("ledger/") if key.endswith("/result.json")]
    assert json.loads(nanio_bucket.get(result))["lines"]["lines"] == count


def asked_for(requests: list[str], method: str, part: str) -> list[int]:
    """The places of these requests."""
    return [place for place, line in enumerate(requests) if line.startswith(f"{method} ") and part in line]


@pytest.mark.usefixtures("lms")
def test_one_worker_reads_the_next_logs_while_it_delivers_one(
    site: ForkedSite, nanio_bucket: Bucket, run: Callable[..., Any]
) -> None:
    """Each log and each entry is still asked for once. A run that was killed reads nothing ahead."""
    count = write_objects(site, nanio_bucket)

    def kill_at_the_tenth(_: int, line: str) -> Fault:
        if len(asked_for(proxy.requests, "PUT", ".files.json")) == 10:
            process.send(signal.SIGKILL)
        return None

    for fault in (lambda *_: None, kill_at_the_tenth):
        with faulty(nanio_bucket, fault) as (bucket, proxy):
            process = run(bucket, restart=True)
            ran = process.wait()
        assert ran.status in (0, -signal.SIGKILL), ran.detail
        if ran.status == 0:
            saved = asked_for(proxy.requests, "PUT", ".files.json")
            opened = [asked_for(proxy.requests, "GET", f"tracking.log-{number:02}.gz") for number in range(OBJECTS)]
            assert [len(each) for each in opened] == [2] * OBJECTS
            assert len(asked_for(proxy.requests, "GET", ".files.json")) == 2 * OBJECTS
            begun = sorted(each[1] for each in opened)
            assert sum(later < done for later, done in zip(begun[1:], saved, strict=False)) >= OBJECTS * 3 // 4
    again = run(nanio_bucket).wait()
    assert again.status == 0, again.detail
    results = [key for key in nanio_bucket.keys("ledger/") if key.endswith("/result.json")]
    assert json.loads(nanio_bucket.get(max(results)))["lines"]["lines"] == count


@pytest.mark.usefixtures("lms")
def test_the_entries_of_a_report_are_read_once_each(
    site: ForkedSite, nanio_bucket: Bucket, run: Callable[..., Any]
) -> None:
    """Also by ``--status``, of a plan of which nothing was done."""
    write_objects(site, nanio_bucket)
    with faulty(nanio_bucket, lambda *_: None) as (bucket, proxy):
        for command, most in (("plan", 0), ("status", 2), ("work", 1), ("report", 1), ("status", 2)):
            proxy.requests.clear()
            ran = run(bucket, command=command).wait()
            assert ran.status == 0, ran.detail
            asked = [line for line in proxy.requests if line.startswith("GET ") and ".files.json" in line]
            assert len(asked) == most * OBJECTS, command
