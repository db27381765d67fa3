"""The commands that get the lines out of forms that are not read do so, and each of these forms is of a wrong kind."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.harness import collectors
from tutor_transform_logs.lms_job.model.records import Line
from tutor_transform_logs.lms_job.read.log_lines import log_lines
from tutor_transform_logs.lms_job.read.wrong_kind import describe_wrong_kind

PAGE = Path(__file__).resolve().parents[2] / "docs/howto/collected-logs.rst"
EVENT = {"name": "/a", "context": {"user_id": 7}, "event": '{"é": "\\""}', "time": "2026-01-01T00:00:00", "page": None}
PREFIX = "2026-01-01 00:00:00,002 INFO 16 [tracking] [user 7] [ip 10.0.0.1] logger.py:41 - "
LINES = [PREFIX + json.dumps({**EVENT, "name": f"/{n}"}) for n in range(3)]
OBJECTS = [{**EVENT, "name": f"/{n}"} for n in range(3)]
ENTRY = {
    "insertId": "x",
    "resource": {"type": "k8s_container"},
    "timestamp": "2026-01-01T00:00:01Z",
    "severity": "INFO",
}


def found_by(*names: str) -> str:
    """The command in the row of the table that begins with ``names``."""
    rows = re.split(r"^    \* - ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    [command] = [
        line.strip()
        for row in rows
        if row.startswith(names)
        for line in row.splitlines()
        if line.strip().startswith("jq ")
    ]
    return command


def objects(values: list[Any]) -> bytes:
    return collectors.joined([collectors.dumped(value) for value in values])


FORMS: dict[str, tuple[str, bytes, bool]] = {
    # name: the row, the content, and whether the collector has parsed the lines
    "gcp": ("Google", objects([{**ENTRY, "textPayload": line} for line in LINES]), False),
    "gcp, message": ("Google", objects([{**ENTRY, "jsonPayload": {"message": line}} for line in LINES]), False),
    "gcp, parsed": ("Google", objects([{**ENTRY, "jsonPayload": each} for each in OBJECTS]), True),
    "gcp, array": ("Google", json.dumps([{**ENTRY, "textPayload": line} for line in LINES], indent=2).encode(), False),
    "azure v2": ("Azure Monitor", objects([{"PodName": "lms", "LogMessage": line} for line in LINES]), False),
    "azure v2, parsed": ("Azure Monitor", objects([{"PodName": "lms", "LogMessage": each} for each in OBJECTS]), True),
    "azure v1": ("Azure Monitor", objects([{"Computer": "a", "LogEntry": line} for line in LINES]), False),
    "aks": ("Azure: diag", objects([{"time": "t", "properties": {"log": line, "pod": "x"}} for line in LINES]), False),
    "aks, records": ("Azure: diag", objects([{"records": [{"properties": {"log": line}} for line in LINES]}]), False),
    "aws": (
        "Amazon CloudWatch",
        json.dumps({"events": [{"timestamp": 1, "message": line} for line in LINES], "x": []}, indent=4).encode(),
        False,
    ),
    "elasticdump": ("Elasticsearch", objects([{"_id": "1", "_source": {"message": line}} for line in LINES]), False),
    "search": (
        "Elasticsearch",
        objects([{"took": 1, "hits": {"hits": [{"_id": "1", "_source": {"log": line}} for line in LINES]}}]),
        False,
    ),
    "splunk": ("Splunk", objects([{"preview": False, "result": {"_raw": line}} for line in LINES]), False),
    "journal": ("systemd", objects([{"_PID": "7", "PRIORITY": "6", "MESSAGE": line} for line in LINES]), False),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_command_gives_the_lines(tmp_path: Path, form: str) -> None:
    row, content, parsed = FORMS[form]
    (tmp_path / "FILE").write_bytes(content)
    command = found_by(row)
    printed = subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    if parsed:
        assert [json.loads(line) for line in printed.splitlines()] == OBJECTS
    else:
        assert printed.splitlines() == LINES


@pytest.mark.parametrize("form", FORMS)
def test_such_an_object_is_of_a_wrong_kind_and_says_where_to_look(form: str) -> None:
    _, content, _ = FORMS[form]
    lines = [line for line in log_lines([content]) if isinstance(line, Line)]
    found = describe_wrong_kind(content[:4096], lines, 0.5)
    [title] = re.findall(r'it looks like JSON of another form \(see "(.+)" in the documentation\)', found)
    assert f"\n{title}\n---" in PAGE.read_text(encoding="utf-8")


def test_the_lines_of_an_array_are_made_a_plain_log(tmp_path: Path) -> None:
    [command] = re.findall(r"jq -c '.*' FILE", PAGE.read_text(encoding="utf-8"))
    (tmp_path / "FILE").write_text(json.dumps(OBJECTS, indent=2))
    printed = subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert [json.loads(line) for line in printed.splitlines()] == OBJECTS
