"""A server that answers every request with the same bytes, and repeats the request's headers where they say so."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

REQUEST_HEADERS = b"<request headers>"
"""In an answer: the place for the headers of the request."""


def http_answer(status: str, body: bytes, **headers: str) -> bytes:
    """An answer without a length: it ends with the connection. ``Content_Type`` is the header Content-Type."""
    lines = [f"HTTP/1.1 {status}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode("utf-8") + b"\r\n\r\n" + body


@contextlib.contextmanager
def start_echo_server(answer: bytes) -> Iterator[int]:
    """Run it on a free port of 127.0.0.1, which is given."""

    def serve(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=respond, args=(client,), daemon=True).start()

    def respond(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                data = client.recv(65536)
                if not data:
                    return
                head += data
            head = head.partition(b"\r\n\r\n")[0]
            client.sendall(answer.replace(REQUEST_HEADERS, b" | ".join(head.split(b"\r\n"))))
            client.shutdown(socket.SHUT_WR)
            # What is not read would have the connection reset, and the answer lost.
            client.settimeout(5)
            while client.recv(65536):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]
