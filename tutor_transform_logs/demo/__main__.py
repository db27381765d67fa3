"""``python -m tutor_transform_logs.demo``: the demo without Tutor."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tutor_transform_logs.demo.runner import run_demo


def main() -> int:
    """Parse the options of ``tutor transform-logs demo`` and run it."""
    parser = argparse.ArgumentParser(
        prog="python -m tutor_transform_logs.demo", description="Run the job on sample logs."
    )
    parser.add_argument(
        "--type", choices=["xapi", "caliper"], default="xapi", help="type of the statements (default: xapi)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("demo-output"),
        metavar="DIRECTORY",
        help="folder for the statements, the dead letters and the report (default: demo-output)",
    )
    arguments = parser.parse_args()
    return run_demo(arguments.type, arguments.output)


if __name__ == "__main__":
    sys.exit(main())
