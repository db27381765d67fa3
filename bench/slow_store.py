"""moto as a store that takes its time for each request, and keeps connections as real ones do.

Run by the Python of an environment of its own: ``slow_store.py PORT SECS``. Prints the first line of each request.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import waitress
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app


def main(port: int, secs: float) -> None:
    """Serve until the process is told to end."""
    moto = DomainDispatcherApplication(create_backend_app)

    def slowly(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        print(environ["REQUEST_METHOD"], environ["PATH_INFO"], flush=True)
        time.sleep(secs)
        answer: Iterable[bytes] = moto(environ, start_response)
        return answer

    waitress.serve(slowly, host="127.0.0.1", port=port, threads=32, clear_untrusted_proxy_headers=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
