"""An object store that fails while it is read: in the middle of a listing, of an object, of its credentials' life."""

from __future__ import annotations

import json
import random
import re

import pytest

from tests.harness import tally
from tests.harness.faulty_store import faulty
from tests.harness.forked_site import ForkedSite
from tests.harness.object_store import Bucket
from tests.harness.runs import check_sums
from tutor_transform_logs.demo.log_writer import Mix, write_log

FORBIDDEN = (
    b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/xml\r\nContent-Length: 89\r\nConnection: close\r\n\r\n"
    b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"
)
BUSY = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def in_the_way(world: ForkedSite, bucket: Bucket) -> None:
    """Have the job reach its source by way of the proxy."""
    world.settings |= bucket.settings("source", prefix="source/")


@pytest.fixture
def stored(world: ForkedSite, nanio_bucket: Bucket) -> ForkedSite:
    write_log(world.logs / "tracking.log", Mix(good=60, page_view=900), seed=13)
    write_log(world.logs / "tracking.log-20260101.gz", Mix(good=20, page_view=60), seed=14)
    world.in_bucket(nanio_bucket, "source")
    world.settings["lrs_max_wait_secs"] = 20
    return world


def expected_of(world: ForkedSite) -> list[bytes]:
    ran = world.run()
    assert ran.status == 0, ran.detail
    statements = world.output_lines()
    for path in world.outputs_on_disk():
        path.unlink()
    return statements


def test_cut_at_random_bytes(stored: ForkedSite, nanio_bucket: Bucket) -> None:
    expected = expected_of(stored)
    dice = random.Random(7)
    cuts = [dice.randrange(1, 300_000) for _ in range(40 if tally.LONG else 8)]

    def fault(_: int, line: str) -> int | None:
        return cuts.pop() if cuts and line.startswith("GET") and "tracking.log" in line else None

    with faulty(nanio_bucket, fault) as (bucket, proxy):
        in_the_way(stored, bucket)
        ran = stored.run(restart=True, lrs_max_wait_secs=120)
    tally.add("faults", proxy.faults)
    tally.same(0, ran.status, ran.detail)
    assert proxy.faults >= 8
    check_sums(stored.result())
    tally.same(expected, stored.output_lines(), "what was read through a line that breaks")


@pytest.mark.parametrize("what", ["busy", "cut off"])
def test_a_listing_that_fails_is_made_again(stored: ForkedSite, nanio_bucket: Bucket, what: str) -> None:
    expected = expected_of(stored)
    listings = iter([True, True])

    def fault(_: int, line: str) -> bytes | int | None:
        if "prefix=" in line and next(listings, False):
            return BUSY if what == "busy" else 300
        return None

    with faulty(nanio_bucket, fault) as (bucket, proxy):
        in_the_way(stored, bucket)
        ran = stored.run(restart=True)
    tally.add("faults", proxy.faults)
    tally.same((0, 2), (ran.status, proxy.faults), ran.detail)
    tally.same(expected, stored.output_lines(), "after a listing that failed")


# The first lines of an object are not read beforehand, to see if it is a log: which request is which is known.
UNEXAMINED = {"max_invalid_ratio": 1}


def test_credentials_that_expire_end_the_run_and_the_next_one_goes_on(stored: ForkedSite, nanio_bucket: Bucket) -> None:
    stored.settings |= {"segment_bytes": 200_000, **UNEXAMINED}
    expected = expected_of(stored)
    reads = 0
    expired = True

    def fault(_: int, line: str) -> bytes | None:
        nonlocal reads
        reads += "tracking.log?" in line and line.startswith("GET")
        return FORBIDDEN if expired and reads > 12 else None

    with faulty(nanio_bucket, fault) as (bucket, proxy):
        in_the_way(stored, bucket)
        ran = stored.run(restart=True)
        lines = stored.result()["lines"]["lines"]
        expired = False
        again = stored.run()
    tally.add("faults", proxy.faults)
    tally.same(1, ran.status, ran.detail)
    assert "refuses the credentials" in ran.detail
    assert "Traceback" not in ran.detail
    assert 0 < lines < 1040
    tally.same(0, again.status, again.detail)
    check_sums(stored.result())
    tally.same(expected, stored.output_lines(), "after new credentials")


def test_an_object_that_is_replaced_while_it_is_read_is_not_mixed_with_the_new_one(
    stored: ForkedSite, nanio_bucket: Bucket
) -> None:
    """The stream breaks, and when it is resumed the name has another object, of the same size."""
    new = re.sub(rb"\d{4}-\d\d-\d\dT", b"2031-01-01T", (stored.logs / "tracking.log").read_bytes())
    reads: list[str] = []

    def fault(_: int, line: str) -> int | None:
        if not line.startswith("GET") or "/tracking.log?" not in line:
            return None
        reads.append(line)
        # Those before are of its beginning, which is kept, and its end.
        if len(reads) != 4:
            return None
        return 200_000

    def replaced(number: int, line: str) -> int | None:
        if len(reads) == 4 and "/tracking.log?" in line:
            nanio_bucket.put("source/tracking.log", new)
        return fault(number, line)

    with faulty(nanio_bucket, replaced) as (bucket, proxy):
        in_the_way(stored, bucket)
        ran = stored.run(workers=1, **UNEXAMINED)
    tally.add("faults", proxy.faults)
    tally.same(1, proxy.faults, "streams that broke")
    tally.same(3, ran.status, ran.detail)
    assert "replaced" in json.dumps(stored.result()["problems"])
    assert b"2031-01-01T" not in b"".join(stored.output_lines())
    in_the_way(stored, nanio_bucket)
    # The next run takes it for the new log that it is.
    tally.same(0, stored.run().status, "the next run")
    assert b"2031-01-01T" in b"".join(stored.output_lines())
