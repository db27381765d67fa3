"""What a live site has delivered: ``python -m tests.harness.erb_delivery URL USER PASSWORD LOG...`` in an LMS.

ERB's own router and LRS client send the xAPI statements of each event by itself, as they do live.
"""

from __future__ import annotations

import gzip
import logging
import sys
from pathlib import Path

import django


def deliver(url: str, username: str, password: str, logs: list[Path]) -> int:
    """Send the statements of ``logs`` to the LRS at ``url``; gives the number of events that ERB could send."""
    from event_routing_backends.management.commands.helpers.event_log_parser import parse_json_event

    from tests.harness.erb import live_router

    # A traceback for each event that it can't transform.
    logging.disable(logging.CRITICAL)
    sent = 0
    with live_router("xapi", url, auth_scheme="Basic", username=username, password=password) as router:
        for log in logs:
            content = log.read_bytes()
            content = gzip.decompress(content) if log.suffix == ".gz" else content
            for line in content.decode("utf-8", "replace").split("\n"):
                event = parse_json_event(line)
                if event and "name" in event:
                    try:
                        router.send(event)
                        sent += 1
                    except Exception:
                        # One event that ERB can't transform, or whose statement the LRS refuses.
                        continue
    return sent


if __name__ == "__main__":
    django.setup()
    _, lrs_url, user, secret, *names = sys.argv
    print(deliver(lrs_url, user, secret, [Path(name) for name in names]))
