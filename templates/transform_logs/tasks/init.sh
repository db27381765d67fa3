#!/bin/sh
# Make the tables of event-routing-backends where they are missing: the LMS's own migrations do not know of them if
# the LMS image lacks it. Runs in the job's container, at "tutor local do init".
set -eu
cd /openedx/edx-platform
if python -c 'import importlib.util as i, sys; sys.exit(i.find_spec("event_routing_backends") is None)'; then
    ./manage.py lms migrate --no-input event_routing_backends
else
    echo "No event-routing-backends in this image: no table to make. See README.rst of the plugin," \
        '"A site without ERB".'
fi
