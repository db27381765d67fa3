"""A proxy that makes each request to a store take its time, and keeps connections.

``slow_proxy.py PORT STORE_PORT SECS`` prints the first line of each request. It is a process of its own, so that it
takes no time from what is measured beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from asyncio import StreamReader, StreamWriter
from functools import partial


class _Connection:
    """Between a client, who waits for the answer to each request before the next one, and the store."""

    def __init__(self, secs: float) -> None:
        self._secs = secs
        self._answered = True

    async def requests(self, client: StreamReader, store: StreamWriter) -> None:
        """Pass on what the client sends; what begins a request has to wait."""
        while data := await client.read(2**18):
            if self._answered:
                self._answered = False
                print(data.partition(b"\r\n")[0].decode("latin-1"), flush=True)
                await asyncio.sleep(self._secs)
            store.write(data)
            await store.drain()
        store.close()

    async def answers(self, store: StreamReader, client: StreamWriter) -> None:
        """Pass on what the store sends."""
        while data := await store.read(2**18):
            self._answered = True
            client.write(data)
            await client.drain()
        client.close()


async def _connect(store_port: int, secs: float, reader: StreamReader, writer: StreamWriter) -> None:
    with contextlib.suppress(OSError):
        from_store, to_store = await asyncio.open_connection("127.0.0.1", store_port)
        between = _Connection(secs)
        await asyncio.gather(between.requests(reader, to_store), between.answers(from_store, writer))


async def main(port: int, store_port: int, secs: float) -> None:
    """Serve until the process is told to end."""
    server = await asyncio.start_server(partial(_connect, store_port, secs), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
