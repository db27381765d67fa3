#!/bin/sh
# Replay tracking logs. Runs in the job's container; $1 is the phase (run, status, ...), $2 the job's config file,
# $3 the share of the work that is this container's (I/N), if it is not all of it.
# The exit status is the job's: ExitStatus in lms_job/util/errors.py says what each means.
set -eu
# manage.py's folder: the LMS's modules are imported from here.
cd /openedx/edx-platform
exec python -m tutor_transform_logs.lms_job "$1" --config "$2" ${3:+--share "$3"}
