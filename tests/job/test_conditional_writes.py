"""Objects that are replaced only if nobody else has replaced them: in stores with conditions and in others.

moto refuses a write whose condition does not hold; nanio ignores conditions, and some stores refuse them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.harness.faulty_store import FaultyProxy, faulty
from tests.harness.object_store import Bucket
from tutor_transform_logs.lms_job.config.schema import load
from tutor_transform_logs.lms_job.storage.base import ObjectChanged, Storage, read_all, write_all
from tutor_transform_logs.lms_job.storage.cloud import CloudStorage
from tutor_transform_logs.lms_job.storage.local import LocalStorage

NOT_IMPLEMENTED = b"HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
CONFLICT = b"HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def cloud(bucket: Bucket) -> CloudStorage:
    return CloudStorage(load({**bucket.settings("source"), "destination_provider": "LRS"}).source, 10.0)


@pytest.fixture(params=["local", "nanio", "moto"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "local":
        return LocalStorage(str(tmp_path))
    return cloud(request.getfixturevalue(f"{request.param}_bucket"))


def test_what_was_changed_meanwhile_is_not_replaced(store: Storage) -> None:
    assert store.version_of("a/plan") == ""
    first = store.write_if("a/plan", b"1", "")
    assert first == store.version_of("a/plan")
    with pytest.raises(ObjectChanged):
        store.write_if("a/plan", b"2", "")
    second = store.write_if("a/plan", b"22", first)
    with pytest.raises(ObjectChanged):
        store.write_if("a/plan", b"3", first)
    write_all(store, "a/plan", b"333")
    with pytest.raises(ObjectChanged):
        store.write_if("a/plan", b"4", second)
    assert read_all(store, "a/plan") == b"333"
    version = store.version_of("a/plan")
    store.delete("a/plan")
    with pytest.raises(ObjectChanged):
        store.write_if("a/plan", b"5", version)
    assert store.version_of("a/plan") == ""


class Overtaken(CloudStorage):
    """Another process writes between the comparison and the write."""

    meanwhile: Callable[[], None] = staticmethod(lambda: None)

    def version_of(self, name: str) -> str:
        version = super().version_of(name)
        self.meanwhile()
        return version


@pytest.mark.parametrize("exists", [False, True])
def test_a_store_with_conditions_decides_itself(moto_bucket: Bucket, exists: bool) -> None:
    other = cloud(moto_bucket)
    version = other.write_if("plan", b"1", "") if exists else ""
    slow = Overtaken(load({**moto_bucket.settings("source"), "destination_provider": "LRS"}).source, 10.0)
    slow.meanwhile = lambda: write_all(other, "plan", b"theirs")
    with pytest.raises(ObjectChanged):
        slow.write_if("plan", b"ours", version)
    assert read_all(other, "plan") == b"theirs"


def test_of_many_that_create_an_object_at_once_one_does(moto_bucket: Bucket) -> None:
    for number in range(5):
        created: list[int] = []

        def create(who: int, name: str, created: list[int] = created) -> None:
            try:
                cloud(moto_bucket).write_if(name, b"%d" % who, "")
            except ObjectChanged:
                return
            created.append(who)

        threads = [threading.Thread(target=create, args=(who, f"lock-{number}")) for who in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [b"%d" % who for who in created] == [moto_bucket.get(f"lock-{number}")]


Proxied = Callable[[Callable[[int], bytes | int | None]], AbstractContextManager[tuple[CloudStorage, FaultyProxy]]]


@pytest.fixture
def proxied(moto_bucket: Bucket) -> Proxied:
    """The store through a proxy: ``fault`` gets the number of each PUT, counted from 1."""

    @contextmanager
    def open_proxy(fault: Callable[[int], bytes | int | None]) -> Iterator[tuple[CloudStorage, FaultyProxy]]:
        puts = 0

        def of_put(_: int, line: str) -> bytes | int | None:
            nonlocal puts
            puts += line.startswith("PUT")
            return fault(puts) if line.startswith("PUT") else None

        with faulty(moto_bucket, of_put) as (bucket, proxy):
            yield cloud(bucket), proxy

    return open_proxy


@pytest.mark.parametrize("exists", [False, True])
def test_a_write_whose_answer_was_lost_is_ones_own(proxied: Proxied, exists: bool) -> None:
    with proxied(lambda number: 0 if number == 1 + exists else None) as (store, proxy):
        version = store.write_if("plan", b"1", "") if exists else ""
        version = store.write_if("plan", b"22", version)
        assert proxy.faults == 1
        assert store.write_if("plan", b"333", version) == store.version_of("plan")


def test_a_conflict_of_two_writes_is_tried_again(proxied: Proxied) -> None:
    with proxied(lambda number: CONFLICT if number == 1 else None) as (store, proxy):
        store.write_if("plan", b"1", "")
        assert proxy.faults == 1
        assert read_all(store, "plan") == b"1"


def test_a_store_that_refuses_conditions_is_written_without(proxied: Proxied) -> None:
    with proxied(lambda number: NOT_IMPLEMENTED if number == 1 else None) as (store, proxy):
        version = store.write_if("plan", b"1", "")
        assert proxy.faults == 1
        version = store.write_if("plan", b"22", version)
        assert len([line for line in proxy.requests if line.startswith("PUT")]) == 3
        with pytest.raises(ObjectChanged):
            store.write_if("plan", b"3", "")
        assert read_all(store, "plan") == b"22"
