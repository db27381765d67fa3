"""``python -m tutor_transform_logs.lms_job.fast_path``: checks that the fast path knows the installed code.

Prints the digest of each source that is replaced. Replaces nothing and connects to nothing. Exit status 0: all are
known. 1: some are not (the job works, but more slowly), or the check could not run.
"""

from __future__ import annotations

import os
import sys

from .sources import KNOWN_SOURCES, REPLACED_CODE, digest_of, installed_packages


def main() -> int:
    """Print the table and return the exit status."""
    settings = os.environ.get("DJANGO_SETTINGS_MODULE", "")
    if not settings:
        print("DJANGO_SETTINGS_MODULE is not set: run this where the LMS runs, or set it.", file=sys.stderr)
        return 1
    import django

    try:
        django.setup()
    except ImportError as error:
        print(f"The settings {settings} can't be loaded: {error}.", file=sys.stderr)
        return 1
    for package in installed_packages():
        print(package)
    print(f"\n{'code':<20} {'what it does':<30} {'digest':<12}  known")
    unknown = 0
    for name, replaced in REPLACED_CODE.items():
        found = digest_of(name)
        known = found in KNOWN_SOURCES[name]
        unknown += not known
        print(f"{name:<20} {replaced.description:<30} {found or 'not found':<12}  {'yes' if known else 'NO'}")
    if unknown:
        print(f"\n{unknown} of {len(REPLACED_CODE)} sources are not known: the job uses that code as installed.")
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
