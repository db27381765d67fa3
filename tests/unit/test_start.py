"""What a run loads at its start: in a container, Python compiles all of it each time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.harness.demo_lms import DemoLms

_IMPORTED = """
import json, sys, django
django.setup()
before = set(sys.modules)
from tutor_transform_logs.lms_job import phases
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_a_run_loads_nothing_that_only_other_phases_and_other_stores_need(tmp_path: Path) -> None:
    environment = DemoLms(database=tmp_path / "lms.sqlite").environment()
    done = subprocess.run(
        [sys.executable, "-c", _IMPORTED], env=environment, capture_output=True, text=True, check=True
    )
    imported = json.loads(done.stdout.splitlines()[-1])
    assert "tutor_transform_logs.lms_job.work.worker" in imported
    needless = ("verify", "gaps", "check")
    assert [
        name for name in imported if name.startswith(tuple(f"tutor_transform_logs.lms_job.{n}" for n in needless))
    ] == []
    assert not {"libcloud", "boto3", "botocore", "clickhouse_connect"}.intersection(imported)
