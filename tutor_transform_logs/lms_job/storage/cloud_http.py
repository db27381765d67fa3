"""The HTTP side of libcloud's drivers: what libcloud leaves out of it, and names of objects as they are.

libcloud has no time-outs for streams, reads every error's text whole, and downloads whole objects into memory for some
providers.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from libcloud.http import LibcloudConnection
from libcloud.storage.base import StorageDriver
from libcloud.storage.drivers.backblaze_b2 import BackblazeB2StorageDriver
from libcloud.storage.drivers.cloudfiles import CloudFilesStorageDriver
from requests.utils import resolve_proxies

from ..util.errors import ObjectGone
from .base import ObjectChanged
from .bounded_http import MAX_ANSWER_BYTES, PROGRESS_BYTES, AnswerTooLong, DownloadAdapter, read_whole

CONNECT_TIMEOUT = 20.0
READ_TIMEOUT = 120.0
"""Seconds for :data:`~.bounded_http.PROGRESS_BYTES` of an answer, or for its end."""
# A page of a listing: Swift's has 10,000 objects, whose names have up to 1,024 bytes each.
MAX_LISTING_BYTES = 32 * 1024**2
# At most this much of a stream is read again after it broke.
STREAM_PIECE = PROGRESS_BYTES

# Headers of a conditional request, in lower case.
CONDITIONS = {"if-match", "if-none-match"}
# A store may answer with an empty page, or send the client to another address, before it goes on.
MAX_IDLE_PAGES = 3
# Their drivers have the container in the host, so that a path may begin with two slashes.
CONTAINER_IN_HOST = ("ALIYUN_OSS",)
# In place of an empty part of a path: no name in a store can have it.
_NOTHING = "\0"


class ConditionUnknown(Exception):
    """The store refuses a conditional write."""


class EndlessListing(Exception):
    """Each further page of a listing has only objects of the pages before it: it would never end."""


def is_raised_by_libcloud(error: BaseException) -> bool:
    """Has libcloud, or what it calls, raised ``error``, and not this job's own code?"""
    names = (
        frame.f_globals.get("__name__", "").partition(".")[0] for frame, _ in traceback.walk_tb(error.__traceback__)
    )
    known = [name for name in names if name in ("libcloud", __name__.partition(".")[0])]
    return known[-1:] == ["libcloud"]


@dataclass
class Version:
    """Which version of an object is being read: it may be replaced between two requests."""

    where: str
    etag: str = ""
    size: int | None = None
    """In bytes; ``None`` if the store does not say it with the object."""

    def check(self, etag: str) -> None:
        """Raises :class:`~.errors.ObjectGone` for another version than before."""
        if self.etag and etag != self.etag:
            raise ObjectGone(f"{self.where} was replaced while it was read")
        self.etag = etag


class _Pages:
    """Counts the pages of a listing that bring nothing new."""

    def __init__(self) -> None:
        self._idle = 0

    def ask(self) -> None:
        """The next page is about to be requested. Raises :class:`EndlessListing`."""
        if self._idle >= MAX_IDLE_PAGES:
            raise EndlessListing
        self._idle += 1

    def moved(self) -> None:
        """The page has an object that none before it had."""
        self._idle = 0


class _SmallPieces(requests.Response):
    """An answer in pieces of bounded size.

    libcloud asks for pieces of 5 MiB, and a piece is lost as a whole when the connection breaks. Over a connection that
    always breaks before the first 5 MiB the read would never make progress.
    """

    def iter_content(self, chunk_size: int | None = 1, decode_unicode: bool = False) -> Iterator[Any]:
        return super().iter_content(min(chunk_size or STREAM_PIECE, STREAM_PIECE), decode_unicode)


class CloudAdapter(DownloadAdapter):
    """Adds the time-outs and bounds that libcloud leaves out, and passes bytes on as they are stored.

    ``requests`` would unpack an object that was stored with ``Content-Encoding: gzip``, and the bytes read would not
    be the bytes that the listing counted.
    """

    etag = ""
    status = 0
    """Of the latest answer; 0 while there is none to the latest request."""
    refusal = ""
    """The latest answer, if it is an error: its status, and what it says."""
    size: int | None = None
    """Of the object that the latest answer streams, in bytes, or of which it streams a range; ``None``: not said."""
    streamed: requests.Response | None = None
    """The latest answer that is a stream: whoever reads it closes it."""
    _pages: _Pages | None = None

    def forget_stream(self) -> None:
        """What :attr:`streamed` and :attr:`size` say is of no stream that is opened from now on."""
        self.streamed = self.size = None

    @contextmanager
    def watching_pages(self) -> Iterator[_Pages]:
        """For a listing: raises :class:`EndlessListing` once its pages bring nothing new."""
        self._pages = _Pages()
        try:
            yield self._pages
        finally:
            self._pages = None

    def send(self, request: Any, stream: bool = False, *args: Any, **kwargs: Any) -> Any:
        if self._pages is not None:
            self._pages.ask()
        kwargs["timeout"] = (CONNECT_TIMEOUT, READ_TIMEOUT)
        self.status, self.refusal = 0, ""
        response: Any = super().send(request, True, *args, **kwargs)
        if request.method == "PUT" and CONDITIONS & {name.lower() for name in request.headers}:
            _check_condition(response.status_code)
        self.etag, self.status = response.headers.get("ETag", ""), response.status_code
        self.size = None
        well = 200 <= response.status_code < 300
        if well and stream and request.method == "GET":
            self.size = _size_of_all(response)
            response.raw.headers.pop("Content-Encoding", None)
            response.__class__ = _SmallPieces
            self.streamed = response
            return response
        read_whole(response, MAX_LISTING_BYTES if well else MAX_ANSWER_BYTES)
        # Where none is named: guessing it would take long, and all stores send UTF-8.
        response.encoding = response.encoding or "utf-8"
        if response.status_code >= 400:
            self.refusal = _refusal(response)
        return response


def _refusal(response: requests.Response) -> str:
    """An error's status and its text, on one line. libcloud keeps neither of some errors."""
    # As S3 answers, and all stores that are made like it.
    found = re.search(rb"<Message>([^<]+)</Message>", response.content)
    text = found[1].decode("utf-8", "replace") if found else response.reason or ""
    return " ".join(f"{response.status_code} {text}".split()).rstrip(".")


def connect(connection: Any, adapter: CloudAdapter) -> None:
    """Have a driver's ``connection`` use ``adapter``, however often it connects, and send names as they are."""
    connection.conn_class = partial(_new_connection, adapter)
    connection.morph_action_hook = partial(_with_all_slashes, connection.morph_action_hook)
    connection.connect()


def _new_connection(adapter: CloudAdapter, **keywords: Any) -> Any:
    make: Any = LibcloudConnection  # it has no types
    made = make(**keywords)
    for scheme in ("http://", "https://"):
        made.session.mount(scheme, adapter)
    made.session.send = partial(_send, made.session, {})
    made.prepared_request = partial(_streamed, made.prepared_request)
    return made


def _send(session: requests.Session, known: dict[str, Any], request: Any, **keywords: Any) -> requests.Response:
    """``requests`` goes through the whole environment, for proxies, for each request. ``known``: those of each host."""
    host = urlsplit(request.url).netloc
    if "proxies" not in keywords:
        if host not in known:
            known[host] = resolve_proxies(request, dict(session.proxies), session.trust_env)
        keywords["proxies"] = known[host]
    return requests.Session.send(session, request, **keywords)


def _streamed(request: Callable[..., None], *args: Any, **keywords: Any) -> None:
    """Some drivers (Swift's, Backblaze's) do not ask for a stream where they download an object."""
    request(*args, **{**keywords, "stream": True})


def _with_all_slashes(morph: Callable[[str], str], action: str) -> str:
    """The path of a request. libcloud would take a slash at the beginning of a name, and one of two in a row, out.

    (Its switch, ``ALLOW_PATH_DOUBLE_SLASHES``, is for all drivers of a process, and wrong for some.)
    """
    first, *parts = action.split("/")
    # An empty last part is a slash at the end, which stays.
    marked = [part or _NOTHING for part in parts[:-1]] + parts[-1:]
    return morph("/".join([first, *marked])).replace(_NOTHING, "")


def name_for_download(driver: StorageDriver, name: str) -> str:
    """Some drivers put a name into the URL of a download as it is: of ``a?b``, that would be the object ``a``."""
    return quote(name) if isinstance(driver, (CloudFilesStorageDriver, BackblazeB2StorageDriver)) else name


def problem_of_name(provider: str, name: str) -> str:
    """What keeps an object of this name from being requested; empty if nothing does."""
    # HTTP clients take such parts out of a URL (RFC 3986, 5.2.4), and would request another object.
    if not {".", ".."}.isdisjoint(name.split("/")):
        return 'has a part that is "." or ".."'
    # To an HTTP client, what follows two slashes is the name of a host.
    if name.startswith("/") and provider in CONTAINER_IN_HOST:
        return 'begins with "/"'
    return ""


def what_failed(error: Exception) -> str:
    """An error's text, on one line."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    if "Read timed out" in text:
        return f"less than {PROGRESS_BYTES // 1024} KiB came within {READ_TIMEOUT:.0f} s"
    return f"it answers with {error}" if isinstance(error, AnswerTooLong) else text


def _check_condition(status: int) -> None:
    """What the status of a conditional PUT says of its condition. libcloud would make one error of all of them."""
    if status in (404, 412):
        raise ObjectChanged
    if status == 409:
        raise requests.ConnectionError("another write of the same object is going on")
    if status == 501:
        raise ConditionUnknown


def _size_of_all(response: requests.Response) -> int | None:
    """The object's size: after the range (RFC 9110, 14.4), or that of the answer, which has all of it."""
    partial_content = response.status_code == requests.codes.partial_content
    said = response.headers.get("Content-Range" if partial_content else "Content-Length", "")
    total = said.rpartition("/")[2]
    return int(total) if total.isdecimal() else None
