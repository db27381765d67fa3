"""A proxy in front of an object store that fails as a test tells it to."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from tests.harness.object_store import Bucket

HANG = -1


@dataclass(frozen=True)
class Slow:
    """Pass the answer on in pieces of this size, with a pause after each."""

    bytes: int
    secs: float


Fault = bytes | int | float | Slow | Callable[[socket.socket], None] | None


@dataclass
class FaultyProxy:
    """Stands before a store. ``fault`` sees the number and the first line of each request.

    It says what to do: ``None``, pass it on; bytes, send that instead; an integer, cut the answer after that many
    bytes; ``HANG``, never answer; a float, wait for as many seconds and pass it on; :class:`Slow`, pass it on slowly;
    a function, have it answer.
    """

    upstream: int
    fault: Callable[[int, str], Fault]
    port: int = 0
    requests: list[str] = field(default_factory=list)
    faults: int = 0
    hanging: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def serve(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=self._connection, args=(client,), daemon=True).start()

    def _connection(self, client: socket.socket) -> None:
        """One request a connection: the answer says that it is the last."""
        with client, contextlib.suppress(OSError, ValueError):
            head = b""
            while b"\r\n\r\n" not in head:
                data = client.recv(65536)
                if not data:
                    return
                head += data
            line = head.split(b"\r\n", 1)[0].decode("latin-1")
            with self._lock:
                self.requests.append(line)
                what = self.fault(len(self.requests), line)
                self.faults += what is not None
            if what == HANG:
                self.hanging.set()
                while client.recv(65536):
                    pass
                return
            if isinstance(what, bytes):
                client.sendall(what)
                return
            if callable(what):
                what(client)
                return
            if isinstance(what, float):
                time.sleep(what)
            most = what if isinstance(what, int) else None
            slow = what if isinstance(what, Slow) else None
            self._pass_on(client, head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1), most, slow)

    def _pass_on(self, client: socket.socket, head: bytes, most: int | None, slow: Slow | None) -> None:
        with socket.create_connection(("127.0.0.1", self.upstream)) as server:
            names = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
            kept = [line for line in head.split(b"\r\n") if line.lower() != b"connection: keep-alive"]
            server.sendall(b"\r\n".join(kept))
            length = next((int(value) for name, _, value in names if name.lower() == b"content-length"), 0)
            left = length - len(head.partition(b"\r\n\r\n")[2])
            while left > 0:
                data = client.recv(65536)
                if not data:
                    return  # it was killed within the request
                left -= len(data)
                server.sendall(data)
            if slow:
                while data := server.recv(slow.bytes, socket.MSG_WAITALL):
                    client.sendall(data)
                    time.sleep(slow.secs)
                return
            sent = 0
            while data := server.recv(65536):
                if most is not None and sent + len(data) > most:
                    client.sendall(data[: most - sent])
                    return
                client.sendall(data)
                sent += len(data)


@contextlib.contextmanager
def faulty(bucket: Bucket, fault: Callable[[int, str], Fault]) -> Iterator[tuple[Bucket, FaultyProxy]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = FaultyProxy(bucket.store.port, fault, listener.getsockname()[1])
        threading.Thread(target=proxy.serve, args=(listener,), daemon=True).start()
        yield replace(bucket, store=replace(bucket.store, port=proxy.port)), proxy
