"""How many requests a run makes to an object store, as the store sees them."""

from __future__ import annotations

import gzip
import re
from collections import Counter
from collections.abc import Iterator
from unittest.mock import Mock

import pytest
import requests.utils

from tests.harness.faulty_store import FaultyProxy, faulty
from tests.harness.forked_site import ForkedSite
from tests.harness.object_store import Bucket
from tutor_transform_logs.demo.log_writer import Mix
from tutor_transform_logs.lms_job.config.schema import StorageConfig
from tutor_transform_logs.lms_job.storage import cloud_http
from tutor_transform_logs.lms_job.storage.cloud_http import Version
from tutor_transform_logs.lms_job.storage.cloud_source import FIRST_BYTES_KEPT as KEPT
from tutor_transform_logs.lms_job.storage.cloud_source import CloudSource
from tutor_transform_logs.lms_job.util.errors import ObjectGone

OBJECTS = 6


@pytest.mark.usefixtures("lms")
def test_a_small_compressed_log_takes_one_request_to_plan_and_four_to_do(
    site: ForkedSite, nanio_bucket: Bucket
) -> None:
    total = Counter[str]()
    for number in range(OBJECTS):
        log = site.log(Mix(good=20, page_view=30), name=f"log{number}", seed=number)
        nanio_bucket.put(f"logs/tracking.log-{number}.gz", gzip.compress(log.path.read_bytes()))
        total["lines"] += log.xapi.lines
    with faulty(nanio_bucket, lambda *_: None) as (bucket, proxy):
        run = site.run(
            bucket.settings("source", prefix="logs/"),
            bucket.settings("destination", prefix="out/"),
            bucket.settings("ledger", prefix="ledger/"),
            output_layout="batches",
            workers=1,
        )
    assert run.status == 0, run.stdout + run.stderr
    assert run.result is None or run.result["lines"]["lines"] == total["lines"]
    # Once by PLAN and once by WORK: both have to see it as it is then.
    assert [of(proxy, "GET", rf"/logs/tracking.log-{number}.gz") for number in range(OBJECTS)] == [2] * OBJECTS
    # WORK asks for the entry, and writes the batch and the entry; REPORT reads the entry.
    assert of(proxy, "GET", r"/ledger/\w+/0001/\d+.files.json") == 2 * OBJECTS
    assert of(proxy, "PUT", r"/out/\S+-\d{6}-\d{6}.log") == OBJECTS
    assert of(proxy, "PUT", r"/ledger/\w+/0001/\d+.files.json") == OBJECTS
    assert of(proxy, "HEAD", r"/(logs|out)/|/0001/") == 0
    each = sum(of(proxy, method, r"/(logs/t|out/\S+-\d{6}-\d{6}|ledger/\w+/0001/\d)") for method in ("GET", "PUT"))
    assert each == OBJECTS * (1 + 4 + 1)


def of(proxy: FaultyProxy, method: str, pattern: str) -> int:
    return sum(bool(re.match(f"{method} .*{pattern}", request)) for request in proxy.requests)


@pytest.fixture
def source(nanio_bucket: Bucket) -> Iterator[tuple[CloudSource, FaultyProxy, Bucket]]:
    with faulty(nanio_bucket, lambda *_: None) as (bucket, proxy):
        config = StorageConfig(
            "MINIO",
            key=bucket.store.access_key,
            secret=bucket.store.secret_key,
            container=bucket.name,
            prefix="",
            region="",
            token="",
            options={},
            host=bucket.store.host,
            port=bucket.store.port,
            secure=False,
        )
        yield CloudSource(config, 1.0), proxy, nanio_bucket


@pytest.mark.parametrize("size", [0, 1, 1000, KEPT - 1, KEPT, KEPT + 1, 3 * KEPT])
def test_every_range_is_what_the_store_has(source: tuple[CloudSource, FaultyProxy, Bucket], size: int) -> None:
    store, _, bucket = source
    content = bytes(number * 7 % 251 for number in range(size))
    bucket.put("log", content)
    places = sorted(
        {
            0,
            1,
            4096,
            size // 2,
            max(0, size - 1),
            size,
            KEPT - 1,
            KEPT,
            KEPT + 70_000,
        }
    )
    for start in places:
        for end in [None, *(place for place in places if start <= place <= size)]:
            assert b"".join(store.read("log", start, end)) == content[start:end], (start, end)


def test_what_is_kept_and_what_follows_are_of_one_version(source: tuple[CloudSource, FaultyProxy, Bucket]) -> None:
    store, proxy, bucket = source
    bucket.put("log", b"a" * 3 * KEPT)
    assert b"".join(store.read("log", 0, 4096)) == b"a" * 4096
    bucket.put("log", b"b" * 3 * KEPT)
    with pytest.raises(ObjectGone, match="was replaced while it was read"):
        list(store.read("log"))
    assert b"".join(store.read("log")) == b"b" * 3 * KEPT
    asked = len(proxy.requests)
    assert b"".join(store.read("log", 5, 10)) == b"b" * 5
    assert len(proxy.requests) == asked


def test_nothing_is_kept_for_long(
    source: tuple[CloudSource, FaultyProxy, Bucket], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _, bucket = source
    monkeypatch.setattr("tutor_transform_logs.lms_job.storage.cloud_source.SECS_KEPT", -1.0)
    bucket.put("log", b"old")
    assert b"".join(store.read("log")) == b"old"
    bucket.put("log", b"new and longer")
    assert b"".join(store.read("log")) == b"new and longer"
    with pytest.raises(ObjectGone, match="does not exist any more"):
        list(store.read("other"))


@pytest.mark.parametrize("no_proxy", [False, True])
def test_the_proxy_of_the_environment_is_used_and_looked_up_once(
    source: tuple[CloudSource, FaultyProxy, Bucket], monkeypatch: pytest.MonkeyPatch, no_proxy: bool
) -> None:
    store, asked, bucket = source
    bucket.put("log", b"text")
    with faulty(bucket, lambda *_: b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n") as (
        _,
        proxy,
    ):
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.setenv(name, "127.0.0.1" if no_proxy else "example.com")
        look_up = Mock(wraps=requests.utils.resolve_proxies)
        monkeypatch.setattr(cloud_http, "resolve_proxies", look_up)
        if no_proxy:
            assert [b"".join(store.read_version("log", Version("log"), 0, None)) for _ in range(4)] == [b"text"] * 4
            assert not proxy.requests
            assert look_up.call_count == 1
            return
        for _ in range(4):
            with pytest.raises(ObjectGone):
                list(store.read("log"))
    assert len(proxy.requests) == 4
    assert all(f"http://127.0.0.1:{asked.port}/" in line for line in proxy.requests)
    assert not asked.requests
    assert look_up.call_count == 1
