"""A listing whose pages do not move: nanio ignores ``marker``, so that it names the first 1,000 objects for ever."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.harness import tally
from tests.harness.faulty_store import faulty
from tests.harness.forked_site import ForkedSite
from tests.harness.object_store import Bucket
from tutor_transform_logs.demo.log_writer import Mix, write_log

SECS = 60
PAGE = 1000


def fill(bucket: Bucket, prefix: str, count: int) -> None:
    client = bucket.store.client()
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda number: client.put_object(
                    Bucket=bucket.name, Key=f"{prefix}tracking.log-{number:05d}", Body=b""
                ),
                range(count),
            )
        )


@pytest.fixture
def logged(world: ForkedSite) -> ForkedSite:
    write_log(world.logs / "tracking.log", Mix(good=30), names=["play_video"], seed=6)
    return world


def assert_said(world: ForkedSite, place: str, command: str) -> None:
    ran = world.start(command=command).wait(SECS)
    tally.add("faults")
    tally.same(1, ran.status, ran.detail)
    said = " ".join(ran.detail.split())
    assert re.search(
        rf"The listing of MINIO:[\w-]+/{place} does not end: after 1,000 objects, the store answers with the same ones "
        r"again\. Choose a container or a prefix with fewer objects, or a store that lists all of them in pages",
        said,
    ), said
    assert "Traceback" not in said


def test_of_the_source(logged: ForkedSite, nanio_bucket: Bucket) -> None:
    fill(nanio_bucket, "source/", PAGE - 2)
    logged.in_bucket(nanio_bucket, "source")
    tally.same(0, logged.run().status, "999 objects in nanio")
    tally.same(PAGE - 1, len(logged.result()["objects"]), "objects")
    fill(nanio_bucket, "source/more-", 2)
    for command in ("run", "check"):
        assert_said(logged, "source/", command)


def test_of_the_ledger(logged: ForkedSite, nanio_bucket: Bucket) -> None:
    logged.in_bucket(nanio_bucket, "ledger")
    tally.same(0, logged.run().status, "the run before")
    [job] = {key.split("/")[1] for key in nanio_bucket.keys("ledger/")}
    fill(nanio_bucket, f"ledger/{job}/0001/other-", PAGE + 1)
    for command in ("run", "status", "verify"):
        assert_said(logged, f"ledger/{job}/", command)


def test_pages_without_objects_that_say_that_there_are_more(logged: ForkedSite, nanio_bucket: Bucket) -> None:
    logged.in_bucket(nanio_bucket, "source")
    page = (
        b'<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        b"<IsTruncated>true</IsTruncated></ListBucketResult>"
    )
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"

    def fault(_: int, line: str) -> bytes | None:
        return head % len(page) + page if "prefix=" in line else None

    with faulty(nanio_bucket, fault) as (bucket, proxy):
        logged.settings |= bucket.settings("source", prefix="source/")
        ran = logged.start().wait(SECS)
    tally.add("faults", proxy.faults)
    tally.same(1, ran.status, ran.detail)
    assert "does not end: after 0 objects, " in ran.stderr
