"""An LRS that answers at once and keeps nothing: ``python -m bench.sink`` prints its URL and serves until it is killed.

``--secs`` is how long it takes for a request that is not empty, ``--servers`` how many it works on at the same time.

It gives the ids of a batch back, as a real one does, without parsing what it was sent.
"""

from __future__ import annotations

import argparse
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# A statement's first field is its id; no other object in it begins with one.
_ID = re.compile(rb'[\[,] ?\{"id": "([0-9a-f-]{36})"')


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Else the answer's body waits for the acknowledgement of its headers (40 ms).
    wbufsize = -1
    disable_nagle_algorithm = True
    secs = 0.0
    servers = threading.Semaphore(1000)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.secs and body:
            with self.servers:
                time.sleep(self.secs)
        answer = json.dumps([found.decode() for found in _ID.findall(body)]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


def main() -> None:
    """Serve on a free port."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--secs", type=float, default=0.0)
    parser.add_argument("--servers", type=int, default=1000)
    arguments = parser.parse_args()
    _Handler.secs, _Handler.servers = arguments.secs, threading.Semaphore(arguments.servers)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    print(f"http://127.0.0.1:{server.server_address[1]}/xAPI", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
