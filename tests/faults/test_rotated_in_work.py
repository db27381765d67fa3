"""Logs that are rotated while they are delivered are found again, without looking at all others for each of them."""

from __future__ import annotations

import threading
from pathlib import Path

from tests.harness.echo_job import line_of
from tests.harness.faulty_store import faulty
from tests.harness.forked_site import ForkedSite
from tests.harness.http_sinks import ScriptedLrs
from tests.harness.object_store import Bucket
from tests.harness.runs import check_sums
from tutor_transform_logs.demo.log_writer import Mix, write_log
from tutor_transform_logs.lms_job.model.plan import ContentIndex, Segment
from tutor_transform_logs.lms_job.plan.discovery import find_again, identify_objects
from tutor_transform_logs.lms_job.read.archives import Archives
from tutor_transform_logs.lms_job.storage.base import StoredObject
from tutor_transform_logs.lms_job.storage.local import LocalStorage

OBJECTS = 24


def test_each_log_is_found_again_in_a_few_requests(
    world: ForkedSite, scripted_lrs: ScriptedLrs, nanio_bucket: Bucket
) -> None:
    """All of them get the next name once PLAN has read all, and WORK the first."""
    log = write_log(world.folder / "all.log", Mix(good=10 * OBJECTS), names=["play_video"], seed=7)
    lines = log.path.read_bytes().splitlines(keepends=True)
    bodies = [b"".join(lines[number::OBJECTS]) for number in range(OBJECTS)]
    for number, body in enumerate(bodies):
        nanio_bucket.put(f"source/tracking.log-{number:03}", body)
    lock, asked = threading.Lock(), [0]

    def rotate(_: int, line: str) -> None:
        with lock:
            asked[0] += line.startswith("GET") and "/source/tracking.log-0" in line
            if asked[0] == OBJECTS + 2:
                asked[0] += 1
                for number, body in enumerate(bodies):
                    nanio_bucket.put(f"source/tracking.log-{number + 1:03}", body)

    with faulty(nanio_bucket, rotate) as (bucket, proxy):
        world.in_bucket(bucket, "source")
        world.to_lrs({"url": scripted_lrs.url})
        ran = world.run(workers=1)
        reads = sum(line.startswith("GET") and "/source/tracking.log-0" in line for line in proxy.requests)
    assert ran.status == 0, ran.detail
    check_sums(world.result())
    assert len(scripted_lrs.statements) == 10 * OBJECTS
    # PLAN, one search, and a few for each log; searching all for each one would be 24 * 24.
    assert OBJECTS < reads < 10 * OBJECTS


def log_of(number: int) -> bytes:
    """All of the same size."""
    return b"".join(line_of(f"{100 + number}{100 + each}", 300).encode() + b"\n" for each in range(30))


def test_what_was_seen_before_is_read_again(tmp_path: Path) -> None:
    """Names go round among logs of the same size: none is taken for another, and each is found."""
    source = Archives(LocalStorage(str(tmp_path)))
    for number in range(5):
        (tmp_path / f"log{number}").write_bytes(log_of(number))
    entries = list(source.listing(""))
    assert len({entry.size for entry in entries}) == 1
    index = ContentIndex(())
    identify_objects(source, entries, index)
    contents = {min(content.names): content for content in index.contents.values()}
    seen: dict[StoredObject, bytes] = {}

    def found(number: int) -> str | None:
        content = contents[f"log{number}"]
        segment = Segment(number, content.id, f"log{number}", 0, entries[number].size, 1, "")
        again = find_again(source, [""], segment, content, seen)
        return again.object if again else None

    assert [found(number) for number in range(5)] == [f"log{number}" for number in range(5)]
    for turn in range(1, 4):
        for number in range(5):
            (tmp_path / f"log{(number + turn) % 5}").write_bytes(log_of(number))
        assert [found(number) for number in range(5)] == [f"log{(number + turn) % 5}" for number in range(5)]
    (tmp_path / "log0").write_bytes(log_of(9))
    assert found(2) is None
    assert len(seen) == 5
