"""Object stores that are unavailable for a moment, in any request of an operation: it is tried again, or resumable."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.harness.faulty_store import Fault, faulty
from tests.harness.object_store import Bucket
from tests.harness.oracle.places import BUSY
from tutor_transform_logs.lms_job.config.schema import load
from tutor_transform_logs.lms_job.storage import cloud
from tutor_transform_logs.lms_job.storage.base import read_all, write_all
from tutor_transform_logs.lms_job.storage.cloud import CloudStorage
from tutor_transform_logs.lms_job.util.backoff import retrying
from tutor_transform_logs.lms_job.util.errors import Unavailable

CONTENT = b"0123456789" * 1000
# More than one part of a multipart upload.
LARGE = b"0123456789" * 600_000
SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
BUSY_WITH_TEXT = b"HTTP/1.1 503 Slow Down\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (
    len(SLOW_DOWN),
    SLOW_DOWN,
)


def store_of(bucket: Bucket, max_wait_secs: float) -> CloudStorage:
    return CloudStorage(load({**bucket.settings("source"), "destination_provider": "LRS"}).source, max_wait_secs)


def write_large(store: CloudStorage) -> int:
    write_all(store, "large", LARGE)
    return len(read_all(store, "large"))


def replace(store: CloudStorage) -> bytes:
    version = store.version_of("plan.json")
    assert store.write_if("plan.json", b"new", version) == store.version_of("plan.json") != version
    return read_all(store, "plan.json")


def delete(store: CloudStorage) -> str:
    store.delete("plan.json")
    return store.version_of("plan.json")


OPERATIONS: dict[str, tuple[Callable[[CloudStorage], Any], Any]] = {
    "check": (CloudStorage.check, None),
    "list": (lambda store: [entry.name for entry in store.listing("")], ["plan.json", "tracking.log"]),
    "read": (partial(read_all, name="tracking.log"), CONTENT),
    "read a range": (lambda store: b"".join(store.read("tracking.log", 5, 15)), b"5678901234"),
    "write": (write_large, len(LARGE)),
    "replace": (replace, b"new"),
    "delete": (delete, ""),
}


def during(fault: Fault, first: int, last: int | None = None) -> Callable[[int, str], Fault]:
    """``fault`` in these requests, counted from 1; ``None``: to the last one."""
    return lambda number, _: fault if first <= number <= (last or number) else None


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud, "retrying", partial(retrying, sleep=lambda secs: None))


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("fault", [BUSY, BUSY_WITH_TEXT, 0, 60, 120])
def test_a_fault_in_any_request_is_waited_for(nanio_bucket: Bucket, operation: str, fault: Fault) -> None:
    """The status of an answer may come, and the connection break within its headers: they must not be taken for all."""
    act, result = OPERATIONS[operation]
    number, faults = 0, 1
    while faults:
        number += 1
        nanio_bucket.put("tracking.log", CONTENT)
        nanio_bucket.put("plan.json", b"old")
        with faulty(nanio_bucket, during(fault, number, number)) as (bucket, proxy):
            assert act(store_of(bucket, 60.0)) == result, f"fault at request {number}: {proxy.requests}"
            faults = proxy.faults
    assert number > 1


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("fault", [BUSY, 60])
def test_what_stays_unavailable_ends_the_run_with_status_4(nanio_bucket: Bucket, operation: str, fault: Fault) -> None:
    """From any request on."""
    act, _ = OPERATIONS[operation]
    number, faults = 0, 1
    while faults:
        number += 1
        nanio_bucket.put("tracking.log", CONTENT)
        nanio_bucket.put("plan.json", b"old")
        with faulty(nanio_bucket, during(fault, number)) as (bucket, proxy):
            try:
                act(store_of(bucket, 0.0))
            except Unavailable:
                assert proxy.faults
            faults = proxy.faults
    assert number > 1


SAID = {
    "check": "reach {}/",
    "list": "list {}/",
    "read": "read {}/tracking.log",
    "read a range": "read {}/tracking.log",
    "write": "write {}/large",
    "replace": "read {}/plan.json",
    "delete": "delete {}/plan.json",
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_a_store_answers_is_said_before_what_it_concerns(nanio_bucket: Bucket, operation: str) -> None:
    """As of an LRS: what fits into the line of a terminal has the status in it."""
    for name in ("tracking.log", "plan.json"):
        nanio_bucket.put(name, CONTENT)
    with faulty(nanio_bucket, lambda *_: BUSY_WITH_TEXT) as (bucket, _), pytest.raises(Unavailable) as raised:
        OPERATIONS[operation][0](store_of(bucket, 0.0))
    # To a HEAD there is no text.
    said = str(raised.value).replace("Slow Down", "Reduce your request rate")
    where = SAID[operation].format(nanio_bucket.name)
    assert said == f"MINIO answers 503 Reduce your request rate: can't {where}. Run again to resume."


def test_a_break_says_which_object_it_concerns(nanio_bucket: Bucket) -> None:
    nanio_bucket.put("tracking.log", CONTENT)
    # What the answer before was says nothing of it.
    faults: list[Fault] = [BUSY, 120, b"HTTP/1.1 500 Bad \x1b[31m\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"]
    said = []
    with faulty(nanio_bucket, lambda number, _: faults[number - 1]) as (bucket, _):
        store = store_of(bucket, 0.0)
        for _ in faults:
            with pytest.raises(Unavailable) as raised:
                read_all(store, "tracking.log")
            said.append(str(raised.value))
    place = f"{nanio_bucket.name}/tracking.log"
    assert said[0] == f"MINIO answers 503 Slow Down: can't read {place}. Run again to resume."
    assert said[1].startswith(f"Can't read MINIO:{place}: ConnectionError: ")
    assert said[2] == f"MINIO answers 500 Bad \\x1b[31m: can't read {place}. Run again to resume."
