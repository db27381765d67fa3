"""``python -m bench.without_unpack_ahead ARGUMENTS``: the job, but a compressed log is unpacked where it is parsed."""

from __future__ import annotations

import sys

from tutor_transform_logs.lms_job.__main__ import main
from tutor_transform_logs.lms_job.read import unpack_ahead

if __name__ == "__main__":
    unpack_ahead.BEGINNING_BYTES = sys.maxsize
    sys.exit(main())
