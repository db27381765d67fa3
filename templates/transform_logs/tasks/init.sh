#!/bin/sh
# Create the tables of event-routing-backends if they are missing. The LMS's own migrations do not create them if the
# LMS image lacks that package. Runs in the job's container, at "tutor local do init".
set -eu
cd /openedx/edx-platform
if python -c 'import importlib.util as i, sys; sys.exit(i.find_spec("event_routing_backends") is None)'; then
    ./manage.py lms migrate --no-input event_routing_backends
else
    echo "This image lacks event-routing-backends, so no tables were created. To build an image that has it," \
        'see "Build an image with ERB" in the documentation of the plugin transform_logs.'
fi
