"""Object stores whose answers are too long, too slow, or whose drivers take names for other names."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

import psutil
import pytest

from tests.harness.faulty_store import Slow, faulty
from tests.harness.http_sinks import Answer, Request, StandIn, start_stand_in
from tests.harness.object_store import Bucket
from tutor_transform_logs.lms_job.config.schema import load
from tutor_transform_logs.lms_job.storage import cloud_http
from tutor_transform_logs.lms_job.storage.base import read_all, write_all
from tutor_transform_logs.lms_job.storage.cloud import CloudStorage
from tutor_transform_logs.lms_job.util.errors import JobError, ObjectGone, PermanentError, Unavailable

MB = 10**6


def cloud(settings: dict[str, Any], max_wait_secs: float = 0.0) -> CloudStorage:
    return CloudStorage(load({**settings, "destination_provider": "LRS"}).source, max_wait_secs)


class Flood:
    """Answers with a body of a gigabyte, and counts what is taken of it."""

    def __init__(self, status: str) -> None:
        self.status = status
        self.sent = 0

    def __call__(self, client: socket.socket) -> None:
        client.sendall(f"HTTP/1.1 {self.status}\r\nContent-Length: {1000 * MB}\r\nConnection: close\r\n\r\n".encode())
        with contextlib.suppress(OSError):
            for _ in range(1000):
                client.sendall(b"<" * MB)
                self.sent += MB


def download(store: CloudStorage) -> bytes:
    return read_all(store, "tracking.log")


def listing(store: CloudStorage) -> Any:
    return list(store.listing(""))


# (A HEAD that is forbidden says nothing: perhaps reading is allowed.)
@pytest.mark.parametrize(
    ("action", "status", "error", "said"),
    [
        (download, "403 Forbidden", PermanentError, "refuses the credentials"),
        (listing, "403 Forbidden", PermanentError, "refuses the credentials"),
        (download, "500 Server Error", Unavailable, "answers 500 "),
        (listing, "500 Server Error", Unavailable, "answers 500 "),
        (CloudStorage.check, "500 Server Error", Unavailable, "answers 500 "),
    ],
)
def test_of_an_errors_text_no_more_is_read_than_is_of_use(
    nanio_bucket: Bucket, action: Callable[[CloudStorage], Any], status: str, error: type[JobError], said: str
) -> None:
    flood = Flood(status)
    with faulty(nanio_bucket, lambda *_: flood) as (bucket, _), pytest.raises(error, match=said):
        action(cloud(bucket.settings("source")))
    # What is in the buffers of sockets was sent, too.
    assert flood.sent < 30 * MB


def of_get(flood: Flood) -> Callable[[int, str], Flood | None]:
    return lambda number, request: flood if request.startswith("GET") else None


def test_a_listing_of_a_gigabyte_is_not_read(nanio_bucket: Bucket) -> None:
    flood = Flood("200 OK")
    # An answer to HEAD has no body: what follows would be taken for the next answer.
    with faulty(nanio_bucket, of_get(flood)) as (bucket, _), pytest.raises(Unavailable) as raised:
        listing(cloud(bucket.settings("source")))
    assert str(raised.value).endswith("it answers with more than 32 MiB. Run again to resume.")
    assert flood.sent < 60 * MB


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud_http, "READ_TIMEOUT", 1.0)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("action", [download, listing])
def test_a_store_that_sends_byte_by_byte_is_unavailable(
    nanio_bucket: Bucket, action: Callable[[CloudStorage], Any]
) -> None:
    nanio_bucket.put("tracking.log", b"x" * 200_000)
    with faulty(nanio_bucket, lambda *_: Slow(1, 0.05)) as (bucket, proxy), pytest.raises(Unavailable) as raised:
        action(cloud(bucket.settings("source"), max_wait_secs=3.0))
    assert str(raised.value).startswith("Can't ")
    assert str(raised.value).endswith(": less than 64 KiB came within 1 s. Run again to resume.")
    assert proxy.faults > 1, "it was not tried again"


@pytest.mark.usefixtures("impatient")
def test_a_download_that_stalls_goes_on_where_it_was(nanio_bucket: Bucket) -> None:
    content = bytes(range(256)) * 4000
    nanio_bucket.put("tracking.log", content)
    stalls = iter([Slow(1, 0.05), Slow(1, 0.05)])

    def fault(_: int, line: str) -> Slow | None:
        return next(stalls, None) if line.startswith("GET") else None

    with faulty(nanio_bucket, fault) as (bucket, proxy):
        assert download(cloud(bucket.settings("source"), max_wait_secs=10.0)) == content
    assert proxy.faults == 2


@pytest.mark.usefixtures("impatient")
def test_a_download_that_makes_progress_may_take_any_time(nanio_bucket: Bucket) -> None:
    """Nor does it matter how long the reader takes for a piece."""
    content = bytes(range(256)) * 4000
    nanio_bucket.put("tracking.log", content)
    began = time.monotonic()
    with faulty(nanio_bucket, lambda *_: Slow(65536, 0.2)) as (bucket, proxy):
        pieces = cloud(bucket.settings("source"), max_wait_secs=0.0).read("tracking.log")
        first = next(pieces)
        time.sleep(1.5)
        assert first + b"".join(pieces) == content
    assert time.monotonic() - began > 2.5
    assert len([line for line in proxy.requests if line.startswith("GET")]) == 1


def test_an_upload_of_many_small_pieces_takes_no_time(nanio_bucket: Bucket) -> None:
    """Each of 50,000 pieces was once added to a copy of those before it."""
    store = cloud(nanio_bucket.settings("source"))
    began = time.monotonic()
    store.write("many", lambda: iter([b"x" * 100] * 50_000))
    store.write("more", lambda: iter([b"x" * 100] * 60_000))
    assert time.monotonic() - began < 3.0
    assert [len(nanio_bucket.get(name)) for name in ("many", "more")] == [5_000_000, 6_000_000]


SWIFTS = ("OPENSTACK_SWIFT", "CLOUDFILES")
SWIFT = {"ex_force_auth_token": "token", "ex_tenant_name": "demo"}
PROVIDERS = {"MINIO": "/logs", "AZURE_BLOBS": "/a2V5/logs", "ALIYUN_OSS": ""}
PROVIDERS |= {"OPENSTACK_SWIFT": "/v1/demo/logs", "CLOUDFILES": "/v1/demo/logs"}
CONTENT = b"one\ntwo\n"


@contextlib.contextmanager
def stand_in(provider: str, answer: Callable[[Request], Answer]) -> Iterator[tuple[CloudStorage, StandIn]]:
    """A storage of ``provider``, and the server that it talks to."""
    with start_stand_in(answer) as server:
        port = urlsplit(server.url).port
        settings: dict[str, Any] = {"provider": provider, "key": "a2V5", "secret": "c2VjcmV0", "container": "logs"}
        if provider in SWIFTS:
            settings["options"] = {**SWIFT, "ex_force_base_url": f"{server.url}/v1/demo"}
        else:
            settings |= {"host": "127.0.0.1", "port": port, "secure": False}
        yield cloud({f"source_{key}": value for key, value in settings.items()}), server


@pytest.mark.parametrize("name", ["a//b.log", "/a.log", "a b/ä+c.log", "what?.log", "a#b.log", "a%20b.log", "a;b:c"])
@pytest.mark.parametrize("provider", [name for name in PROVIDERS if name != "ALIYUN_OSS"])
def test_each_driver_requests_the_object_of_the_name(provider: str, name: str) -> None:
    headers = {"ETag": '"1"', "Last-Modified": "Mon, 30 Nov 2026 00:00:00 GMT", "x-ms-blob-type": "BlockBlob"}

    def answer(request: Request) -> Answer:
        # Swift has no content for a container.
        of_container = provider in SWIFTS and request.path.partition("?")[0] == PROVIDERS[provider]
        return Answer(204, b"", headers) if of_container else Answer(200, CONTENT, headers)

    with stand_in(provider, answer) as (store, server):
        assert read_all(store, name) == CONTENT
    paths = {request.method: urlsplit(f"http://store{request.path}").path for request in server.requests}
    assert unquote(paths["GET"]) == f"{PROVIDERS[provider]}/{name}"
    assert not {"?", "#"} & set(paths["GET"])


def test_a_download_that_the_driver_would_take_into_memory_is_a_stream() -> None:
    """Swift's driver does not ask for one."""
    answer = Answer(200, b"x" * MB, {"ETag": '"1"'}, times=300)
    with stand_in("OPENSTACK_SWIFT", lambda _: answer) as (store, _):
        before = psutil.Process().memory_info().rss
        pieces = store.read("big.log")
        next(pieces)
        assert psutil.Process().memory_info().rss - before < 50 * MB


def test_a_name_that_would_be_a_host_is_not_requested() -> None:
    """Where the container is part of the host, ``//`` begins the name of another one."""
    with stand_in("ALIYUN_OSS", lambda _: Answer(200, CONTENT)) as (store, server):
        for name in ("/elsewhere/a.log", "a/../b.log"):
            with pytest.raises(ObjectGone, match="can't be read: its name "):
                read_all(store, name)
            with pytest.raises(PermanentError, match="can't be written: its name "):
                write_all(store, name, b"")
    assert server.requests == []
