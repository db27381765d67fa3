"""The cluster's DNS: the name of a Service leads to this machine, where the tests' servers are."""

from __future__ import annotations

import contextlib
import socketserver
import threading
from collections.abc import Iterator
from ipaddress import IPv4Address

from tests.e2e.cluster.control_plane import ControlPlane

DOMAIN = "cluster.local"
# Of RFC 1035: types, and the flags of an answer with authority to one that wanted recursion.
A, NO_ERROR, NO_SUCH_NAME = 1, 0x8580, 0x8583

# The Services that were found, with their namespaces: asking takes long on a busy machine, and a resolver gives up.
_known: set[tuple[str, str]] = set()


def answer(query: bytes, plane: ControlPlane, address: str) -> bytes:
    """The answer to a query of one name: the address of a Service that the cluster has, as far as one is asked for."""
    labels, at = [], 12
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode("ascii", "replace"))
        at += 1 + length
    question = query[12 : at + 5]
    known = _is_service(labels, plane)
    wanted = known and int.from_bytes(question[-4:-2], "big") == A
    flags = NO_ERROR if known else NO_SUCH_NAME
    header = query[:2] + b"".join(number.to_bytes(2, "big") for number in (flags, 1, int(wanted), 0, 0))
    # The name is where the question begins; for five seconds; four bytes.
    found = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04" + IPv4Address(address).packed
    return header + question + (found if wanted else b"")


def _is_service(labels: list[str], plane: ControlPlane) -> bool:
    name, _, domain = ".".join(labels).partition(".svc.")
    service, _, namespace = name.partition(".")
    if domain != DOMAIN or not namespace or "." in namespace:
        return False
    if (service, namespace) not in _known:
        options = (f"--namespace={namespace}", "--ignore-not-found", "--output=name")
        if not plane.kubectl("get", "service", service, *options, check=False).startswith("service/"):
            return False
        _known.add((service, namespace))
    return True


@contextlib.contextmanager
def serve(address: str, plane: ControlPlane) -> Iterator[None]:
    """Answer on this address until the block ends."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            query, connection = self.request
            connection.sendto(answer(query, plane, address), self.client_address)

    with socketserver.ThreadingUDPServer((address, 53), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()
