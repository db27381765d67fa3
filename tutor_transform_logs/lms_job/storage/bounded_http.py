"""HTTP answers of bounded size that arrive in bounded time, whatever the server sends.

requests' time-out is that of each read: a server that sends a byte now and then is never given up. And it keeps whole
answers in memory, unpacked. Here the time-out is that of the whole answer, or of each :data:`PROGRESS_BYTES` of a
download, and an answer that is kept has a greatest size.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
import zlib
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection

MAX_ANSWER_BYTES = 4 * 1024**2
# This much of a download has to come within the read time-out, each time.
PROGRESS_BYTES = 64 * 1024
_PIECE = 64 * 1024
# zlib and gzip, told apart by their first bytes.
_ZLIB_OR_GZIP = 47


class AnswerTooLong(requests.RequestException):
    """A server answers with more than the job reads."""


def bounded_session(limit: int = MAX_ANSWER_BYTES) -> requests.Session:
    """A session whose read time-out is that of the whole answer, and which reads at most ``limit`` bytes of one.

    Of an error's text the rest is left out; requests raise :class:`AnswerTooLong` where that would change the meaning,
    and ``requests.ConnectionError`` for an answer that ends early or is not complete in time. Follows no redirect.
    """
    session = _Session()
    # Unpacked in pieces of bounded size, which urllib3 does not do for all its encodings.
    session.headers["Accept-Encoding"] = "gzip"
    for scheme in ("http://", "https://"):
        session.mount(scheme, _BoundedAdapter(limit))
    return session


class _Session(requests.Session):
    def get_redirect_target(self, _resp: requests.Response) -> None:
        """None: no redirect is followed. requests would raise an error for one to what is not a URL."""


def read_whole(response: requests.Response, limit: int) -> None:
    """Read the body of a streamed answer, at most ``limit`` bytes of it unpacked, as :func:`bounded_session` says."""
    raw: Any = response.raw
    try:
        content = _read(raw, limit, response.headers.get("Content-Encoding", "").lower())
    except (urllib3.exceptions.HTTPError, zlib.error, OSError) as error:
        raw.close()
        raise requests.ConnectionError(error, request=response.request) from error
    if len(content) > limit:
        raw.close()
        if 200 <= raw.status < 300:
            raise AnswerTooLong(f"more than {limit // 1024**2} MiB", request=response.request)
    # In place of what was read: ``content``, ``text`` and ``json()`` are made of it as usual.
    response.raw = urllib3.HTTPResponse(
        io.BytesIO(content[:limit]),
        status=raw.status,
        preload_content=False,
        original_response=getattr(raw, "_original_response", None),
    )


def _read(raw: Any, limit: int, encoding: str) -> bytes:
    """The body, unpacked, or more than ``limit`` bytes of it."""
    unpacker = zlib.decompressobj(wbits=_ZLIB_OR_GZIP) if encoding in ("gzip", "x-gzip", "deflate") else None
    content = bytearray()
    while len(content) <= limit:
        piece: bytes = raw.read(_PIECE, decode_content=False)
        if not piece:
            break
        if unpacker is not None:
            # With a limit, what is left of the input is of no use: the content is too long then.
            piece = unpacker.decompress(piece, limit + 1)
        content += piece
    return bytes(content)


class _TimedReader(io.RawIOBase):
    """Reads from a socket for a limited time in all, which starts over after each ``renewed_after`` bytes, if given.

    Only waiting for the socket counts: whoever reads may take any time for what it has read.
    """

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, renewed_after: int | None) -> None:
        super().__init__()
        self._raw = raw
        self._sock = sock
        self._timeout = sock.gettimeout()
        self._left = self._timeout or 0.0
        self._renewed_after = renewed_after
        self._received = 0
        self.ended = False
        """Has the server closed the connection?"""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        count = self._read(buffer)
        self.ended = count == 0
        return count

    def _read(self, buffer: Any) -> int | None:
        if self._timeout is None:
            return self._raw.readinto(buffer)
        if self._left <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(self._left)
        began = time.monotonic()
        try:
            count = self._raw.readinto(buffer)
        finally:
            # A connection that is kept alive is used again.
            self._sock.settimeout(self._timeout)
        self._left -= time.monotonic() - began
        self._received += count or 0
        if self._renewed_after is not None and self._received >= self._renewed_after:
            self._left, self._received = self._timeout, 0
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    """An answer whose status line, headers and body have one deadline together, and whose headers are complete."""

    renewed_after: int | None = None

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        file: Any = self.fp
        self._reader = _TimedReader(file.detach(), sock, self.renewed_after)
        self.fp = io.BufferedReader(self._reader)

    def begin(self) -> None:
        super().begin()
        # The standard library takes headers that the connection's end cuts off for all of them: an object without its
        # ETag, or a body without its length. Beyond the empty line after them, nothing has been waited for.
        if self._reader.ended:
            raise http.client.HTTPException("the connection ended within the headers of the answer")


class _Download(_Answer):
    """An answer that may take any time, as long as it makes progress."""

    renewed_after = PROGRESS_BYTES


def _pools(answers: type[_Answer]) -> dict[str, Any]:
    """The classes of connection pools by scheme, which make such answers."""

    class Connection(HTTPConnection):
        response_class = answers

    class TlsConnection(HTTPSConnection):
        response_class = answers

    # Named as their bases, since messages of errors name them.
    class HTTPConnectionPool(urllib3.HTTPConnectionPool):
        ConnectionCls = Connection

    class HTTPSConnectionPool(urllib3.HTTPSConnectionPool):
        ConnectionCls = TlsConnection

    return {"http": HTTPConnectionPool, "https": HTTPSConnectionPool}


class _TimedAdapter(HTTPAdapter):
    """The time-out is that of the whole answer."""

    pools = _pools(_Answer)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self.pools

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager: Any = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = self.pools
        return manager


class _BoundedAdapter(_TimedAdapter):
    """Reads answers before a session does, which reads those of redirects even of streamed requests."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def send(self, request: Any, stream: bool = False, *args: Any, **kwargs: Any) -> requests.Response:
        response = super().send(request, True, *args, **kwargs)
        read_whole(response, self._limit)
        return response


class DownloadAdapter(_TimedAdapter):
    """Of each answer, :data:`PROGRESS_BYTES` have to come within the read time-out, or its end. Bounds no size."""

    pools = _pools(_Download)
