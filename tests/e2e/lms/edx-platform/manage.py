#!/usr/bin/env python
"""edx-platform's manage.py, from outside: ``./manage.py lms [--settings SETTINGS] COMMAND ...``."""

from __future__ import annotations

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in ("lms", "cms"):
        sys.exit("usage: manage.py {lms,cms} COMMAND ...")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "lms.envs.production")
    execute_from_command_line([sys.argv[0], *sys.argv[2:]])
