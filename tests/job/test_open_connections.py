"""A read of an object store that is given up leaves no connection open, also before the garbage collector comes."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

import psutil
import pytest

from tests.harness.object_store import Bucket
from tutor_transform_logs.lms_job.config.schema import load
from tutor_transform_logs.lms_job.model.plan import ContentIndex
from tutor_transform_logs.lms_job.plan.discovery import identify_objects
from tutor_transform_logs.lms_job.read.archives import Archives
from tutor_transform_logs.lms_job.read.cuts import next_cut
from tutor_transform_logs.lms_job.storage.base import AT_ONCE
from tutor_transform_logs.lms_job.storage.cloud import CloudStorage
from tutor_transform_logs.lms_job.storage.cloud_source import FIRST_BYTES_KEPT, CloudSource
from tutor_transform_logs.lms_job.util.errors import ObjectGone

LINE = b'{"name": "page_close", "event_type": "page_close", "time": "2024-01-01T00:00:00"}\n'
# Far more than is kept of an object.
SIZE = 6 * FIRST_BYTES_KEPT
OBJECTS = 24


@pytest.fixture
def bucket(nanio_bucket: Bucket) -> Iterator[Bucket]:
    content = LINE * (SIZE // len(LINE))
    for number in range(OBJECTS):
        nanio_bucket.put(f"log{number:02}", b'{"number": %d}\n' % number + content)
    gc.collect()
    gc.disable()
    yield nanio_bucket
    gc.enable()


def source_of(bucket: Bucket) -> CloudSource:
    return CloudSource(load({**bucket.settings("source"), "destination_provider": "LRS"}).source, 1.0)


def connections(bucket: Bucket) -> int:
    """To the store, of this process."""
    every = psutil.Process().net_connections("tcp")
    return sum(bool(each.raddr) and each.raddr.port == bucket.store.port for each in every)


def first_bytes(source: CloudSource, name: str) -> None:
    assert len(b"".join(source.read(name, 0, 4096))) == 4096


def first_piece(source: CloudSource, name: str) -> None:
    assert next(CloudStorage.read(source, name))


def one_piece_in_the_middle(source: CloudSource, name: str) -> None:
    assert next(source.read(name, 2 * FIRST_BYTES_KEPT))


def one_cut(source: CloudSource, name: str) -> None:
    assert next_cut(source, name, (0, SIZE), SIZE // 8)


def another_version(source: CloudSource, name: str) -> None:
    first_bytes(source, name)
    assert source._kept is not None
    source._kept.version.etag = '"another"'
    with pytest.raises(ObjectGone, match="was replaced"):
        list(source.read(name))


GIVEN_UP: list[Callable[[CloudSource, str], None]] = [
    first_bytes,
    first_piece,
    one_piece_in_the_middle,
    one_cut,
    another_version,
]


@pytest.mark.parametrize("read", GIVEN_UP)
def test_a_read_that_is_given_up_closes_its_connection(
    bucket: Bucket, read: Callable[[CloudSource, str], None]
) -> None:
    before = connections(bucket)
    source = source_of(bucket)
    for number in range(OBJECTS):
        read(source, f"log{number:02}")
        # One may be kept to be used again.
        assert connections(bucket) <= before + 1


def test_a_connection_whose_answer_was_read_is_used_again(bucket: Bucket) -> None:
    bucket.put("small", LINE)
    before, source = connections(bucket), source_of(bucket)
    ports = set()
    for number in range(OBJECTS):
        assert b"".join(source.read("small", 0, len(LINE))) == LINE
        source._kept = None
        assert len(b"".join(source.read(f"log{number:02}", 2 * FIRST_BYTES_KEPT, 2 * FIRST_BYTES_KEPT + 10))) == 10
        every = psutil.Process().net_connections("tcp")
        ports |= {each.laddr.port for each in every if each.raddr and each.raddr.port == bucket.store.port}
    assert len(ports) == before + 1


def test_objects_that_were_read_ahead_leave_no_connections(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    most, closed = [0], CloudSource._taken
    before = connections(bucket)

    def taken(self: CloudSource, name: str) -> object:
        most[0] = max(most[0], connections(bucket))
        return closed(self, name)

    monkeypatch.setattr(CloudSource, "_taken", taken)
    source = source_of(bucket)
    entries = list(source.listing(""))
    identify_objects(Archives(source), entries, ContentIndex(()))
    assert 0 < most[0] - before <= AT_ONCE + 1
    assert connections(bucket) <= before + 1
