"""``python -m tutor_demo_lms [--users N] [--courses N]``: make the tables and fill them."""

from __future__ import annotations

import argparse
import os


def main() -> None:
    """Migrate and seed the database that the environment names."""
    parser = argparse.ArgumentParser(prog="tutor_demo_lms", description="Set the embedded LMS up.")
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--courses", type=int, default=5)
    arguments = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tutor_demo_lms.settings")

    import django

    django.setup()
    from tutor_demo_lms import seed  # type: ignore[import-not-found, unused-ignore]

    seed.migrate()
    seed.seed(arguments.users, arguments.courses)


if __name__ == "__main__":
    main()
