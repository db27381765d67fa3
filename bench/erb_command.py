"""``python -m bench.erb_command URL ARGUMENTS``: ERB's own ``transform_tracking_logs``, sending as it goes.

It runs in the embedded LMS with ``SyncEventsRouter``: the usual router would hand the batches to Celery. The LMS's
router is changed to the one LRS at this URL.
"""

from __future__ import annotations

import sys

import django
from django.conf import settings

SYNC_ROUTER = "event_routing_backends.backends.sync_events_router.SyncEventsRouter"


def main() -> None:
    """Run the command in the LMS that the environment names."""
    for router in settings.EVENT_TRACKING_BACKENDS["event_transformer"]["OPTIONS"]["backends"].values():
        router["ENGINE"] = SYNC_ROUTER
    django.setup()
    from django.core.management import call_command
    from event_routing_backends.models import RouterConfiguration

    url, *arguments = sys.argv[1:]
    RouterConfiguration.objects.update(route_url=url)
    call_command("transform_tracking_logs", *arguments)


if __name__ == "__main__":
    main()
