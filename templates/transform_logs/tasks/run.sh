#!/bin/sh
# Replay tracking logs. Runs in the job's container. $1 is the phase (run, status, ...), $2 the job's config file, and
# $3 this container's share of the work (I/N), if it does not do all of it.
# The exit status is the job's: ExitStatus in lms_job/util/errors.py says what each means.
set -eu
case $2 in
    /* | -) config=$2 ;;
    *) config=$PWD/$2 ;;
esac
# The folder of manage.py, from which the LMS's modules are imported.
cd /openedx/edx-platform
exec python -m tutor_transform_logs.lms_job "$1" --config "$config" ${3:+--share "$3"}
