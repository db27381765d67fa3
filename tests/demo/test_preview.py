"""``tutor transform-logs preview``: what logs hold, told without an LMS that knows anybody in them."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.harness.collectors import OF_LINES, OF_OBJECTS
from tests.harness.demo_lms import REPOSITORY
from tests.harness.forked_demo import processes_are_forked
from tutor_transform_logs.demo import samples
from tutor_transform_logs.demo.outcomes import Kind
from tutor_transform_logs.demo.previewer import run_preview
from tutor_transform_logs.demo.wrapping import describe_wrapping

PAGE_VIEW = b'{"name": "/courses/%d/", "event": "{}", "time": "2026-01-02T00:00:00+00:00"}\n'
STRANGERS = b"".join(
    b'{"name": "play_video", "time": "2026-03-0%dT10:00:00+00:00", "username": "%b", "event_source": "browser", '
    b'"context": {"course_id": "course-v1:Nowhere+N%d+2026", "user_id": %b, "org_id": "Nowhere"}, '
    b'"event": "{\\"id\\": \\"v%d\\", \\"currentTime\\": 1, \\"code\\": \\"html5\\", \\"duration\\": 9}"}\n'
    % (number, who, number, user, number)
    for number, who, user in ((1, b"stranger", b"987654321"), (2, b"jos\\u00e9", b'""'), (3, b"12345678", b"null"))
)


def shown(capfd: pytest.CaptureFixture[str], *files: Path | str, status: int = 0, **more: Any) -> str:
    options: dict[str, Any] = {"type_": "xapi", "lines": 0, "format_": "text", "statements": False, **more}
    with processes_are_forked():
        assert run_preview([str(file) for file in files], **options) == status
    said = capfd.readouterr()
    assert "Traceback" not in said.err + said.out
    return said.err if status else said.out


@pytest.mark.parametrize("kind", ["xapi", "caliper"])
def test_the_samples_are_counted_as_the_job_counts_them(
    kind: Kind, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    samples.write(tmp_path)
    (tmp_path / ".hidden").write_text("no log")
    found = json.loads(shown(capfd, tmp_path, type_=kind, format_="json"))
    expected = samples.expected(kind)
    assert found["lines"] == expected.lines
    assert found["blank"] == expected.count("blank")
    assert sum(found["unparsable"].values()) == expected.count("unparsable")
    rows = found["events"]
    assert sum(row["lines"] for row in rows if not row["known"]) == expected.count("unknown_event")
    # All who are unknown to the demo's LMS are taken for known here.
    failed: dict[str, int] = {}
    for row in rows:
        for reason, count in row["failed"].items():
            failed[reason] = failed.get(reason, 0) + count
    known_now = expected.count("unknown_user") + expected.count("unknown_course") - failed.get("names_no_user", 0)
    assert sum(row["transformed"] for row in rows) >= expected.count("transformed") + known_now - 1
    assert not {"unknown_user", "unknown_course"} & failed.keys()
    days = [(Path(file["name"]).name, file["compression"], file["first_day"]) for file in found["files"]]
    assert days == [
        ("tracking.log", "", "2026-01-03"),
        ("tracking.log-20260101.gz", "gzip", "2026-01-01"),
        ("tracking.log.1", "", "2026-01-02"),
    ]


@pytest.mark.parametrize("columns", [40, 50, 80])
def test_it_fits_the_terminal(
    columns: int, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    samples.write(tmp_path)
    lines = shown(capfd, tmp_path).splitlines()
    assert [line for line in lines if len(line) > columns] == []
    # Of a file, the end of its name is seen. Names of events are whole: cut, several of them would look the same.
    assert {"edx.ui.lms.sequence.tab_selected", "edx.ui.lms.sequence.next_selected"} <= set(" ".join(lines).split())


def test_a_long_name_in_an_archive_is_cut_in_the_middle(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        zipped.writestr("x" * 300 + "/tracking.log", PAGE_VIEW % 1)
    monkeypatch.chdir(tmp_path)
    name, has, *_ = shown(capfd, "a.zip").splitlines()
    assert name == "a.zip!/" + "x" * 11 + "..." + "x" * 5 + "/tracking.log:"
    assert has.strip().endswith("1 line, 2026-01-02")


def test_characters_of_two_columns_count_as_such(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    log = tmp_path / "tracking.log"
    log.write_text('{"name": "%s", "event": "{}", "time": "2026-01-02T00:00:00+00:00"}\n' % ("\U0001f600" * 40))
    [row] = [line for line in shown(capfd, log).splitlines() if "\U0001f600" in line]
    assert row == "\U0001f600" * 18 + "..."


def test_strangers_and_their_courses_are_let_in(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "odd-name.txt"
    log.write_bytes(bz2.compress(STRANGERS + b"".join(PAGE_VIEW % number for number in range(300))))
    text = shown(capfd, log)
    assert "bzip2, 303 lines, 2026-01-02 to 2026-03-03" in text
    assert text.split("events skipped")[0].count("failed") == 0
    assert "2026-03-01T10:00:00 played" in text
    assert "(requests: the path is the name)" in text
    assert "/courses/7/" not in text
    assert "unknown user" not in text
    assert " ".join(text.split()).endswith("the preview assumes that each one exists.")
    assert all(len(line) <= 80 for line in text.splitlines() if str(tmp_path) not in line)
    whole = shown(capfd, log, statements=True)
    assert '"verb": {' in whole


def test_a_limit_is_kept_and_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("a.log", "b.log"):
        (tmp_path / name).write_bytes(b"".join(PAGE_VIEW % number for number in range(3000)))
    text = shown(capfd, tmp_path, lines=1500)
    assert "a.log:" in text
    assert "1,500 lines" in text
    assert "Only the first 1,500 lines were read: --lines 0 reads all." in text
    assert f"Not read at all: {tmp_path / 'b.log'}" in " ".join(text.split())


def test_a_broken_file_is_read_as_far_as_it_goes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lines = (PAGE_VIEW % 1 + os.urandom(400).hex().encode() + b"\n" for _ in range(2000))
    whole = gzip.compress(b"".join(lines))
    (tmp_path / "cut.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.log").write_bytes(b"")
    text = shown(capfd, tmp_path)
    assert "truncated gzip data" in text
    assert "None of the events is of a type that is made into xAPI." in text
    assert "no_json: the line has no JSON object" in text


def test_standard_input(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from tutor_transform_logs.demo.previewer import run_preview; "
         "sys.exit(run_preview(['-'], 'caliper', 0, 'text', False))"],
        input=gzip.compress(STRANGERS),
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"standard input: gzip, 3 lines, 2026-03-01 to 2026-03-03" in done.stdout
    assert b"MediaEvent" in done.stdout or b"VideoEvent" in done.stdout
    # Nothing is left behind.
    assert list(tmp_path.iterdir()) == []


def test_what_can_t_be_read_is_told_in_a_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "nothing").mkdir()
    assert shown(capfd, tmp_path / "gone.log", status=1) == f"{tmp_path}/gone.log: there is no such file.\n"
    assert shown(capfd, tmp_path / "nothing", status=1).endswith(": there is no file in this directory.\n")


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    program = "import sys; from tutor_transform_logs.demo.previewer import run_preview; "
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"{program} sys.exit(run_preview(['-'], 'xapi', 0, 'text', False))"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "pip install 'tutor-contrib-transform-logs[demo]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_in_an_archive_is_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for number, content in enumerate((PAGE_VIEW % 1, gzip.compress(PAGE_VIEW % 2 + PAGE_VIEW % 3))):
            info = tarfile.TarInfo(f"logs/{number}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    (tmp_path / "b.tar.gz").write_bytes(gzip.compress((tmp_path / "a.tar").read_bytes()))
    with zipfile.ZipFile(tmp_path / "c.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("x", PAGE_VIEW % 4)
        zipped.writestr("y.tar", (tmp_path / "a.tar").read_bytes())
    found = json.loads(shown(capfd, tmp_path, format_="json"))
    assert [(row["name"].removeprefix(f"{tmp_path}/"), row["lines"]) for row in found["files"]] == [
        ("a.tar!/logs/0", 1),
        ("a.tar!/logs/1", 2),
        ("b.tar.gz!/logs/0", 1),
        ("b.tar.gz!/logs/1", 2),
        ("c.zip!/x", 1),
        ("c.zip!/y.tar", 0),
    ]
    assert "it is an archive in an archive" in " ".join(shown(capfd, tmp_path).split())


def test_what_is_another_kind_of_log_is_said_and_not_counted(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    access = b'10.0.0.1 - - [01/Feb/2026:00:00:00 +0000] "GET /heartbeat HTTP/1.1" 200 61\n'
    (tmp_path / "access.log.gz").write_bytes(gzip.compress(access * 3000))
    (tmp_path / "tracking.log").write_bytes(PAGE_VIEW % 1)
    text = " ".join(shown(capfd, tmp_path).split())
    assert "no tracking log: 1,000 of the first 1,000 lines hold no event" in text
    assert "it looks like nginx's or Apache's access log" in text
    found = json.loads(shown(capfd, tmp_path, format_="json"))
    assert (found["lines"], found["unparsable"]) == (1, {})


def test_the_exit_status_says_that_nothing_was_read(tmp_path: Path) -> None:
    access = tmp_path / "access.log"
    access.write_bytes(b'10.0.0.1 - - [01/Feb/2026:00:00:00 +0000] "GET /heartbeat HTTP/1.1" 200 61\n' * 30)
    log = tmp_path / "tracking.log"
    log.write_bytes(PAGE_VIEW % 1)
    empty = tmp_path / "empty.log"
    empty.touch()
    with processes_are_forked():
        statuses = [
            run_preview([str(file) for file in files], "xapi", 0, "text", False)
            for files in ([access], [access, empty], [access, log], [log], [empty])
        ]
    assert statuses == [3, 3, 0, 0, 0]


WRITERS = {
    "docker": "Docker's json-file writes them",
    "docker, spaced": "Docker's json-file writes them",
    "cri": "containerd or CRI-O writes them",
    "fluent bit": "Fluent Bit or Fluentd writes them",
    "fluent bit, _p": "Fluent Bit or Fluentd writes them",
    "fluentd": "Docker's driver for Fluentd writes them",
    "fluentd, docker's lines": "Fluent Bit or Fluentd writes them",
    "vector": "Vector, Logstash or Filebeat writes them",
    "loki": "Loki's logcli writes them",
    "logstash": 'a collector writes them, under "@message"',
    "elastic": "Vector, Logstash or Filebeat writes them",
    "logstash 8": "Vector, Logstash or Filebeat writes them",
    "logstash 8, original": "Splunk or Logstash writes them",
    "filebeat": "Vector, Logstash or Filebeat writes them",
    "vector, data": "Vector, Logstash or Filebeat writes them",
    "splunk": "Splunk or Logstash writes them",
    "splunk by docker": "Splunk or Logstash writes them",
    "splunk, parsed": "Splunk or Logstash writes them",
    "gelf": "GELF has them",
    "opentelemetry": "OpenTelemetry has them",
    "opentelemetry, stringValue": "OpenTelemetry has them",
    "opentelemetry's json": "OpenTelemetry has them",
    "loki's answer": "Loki's API answers with them",
    "cloudwatch": "CloudWatch passes them on",
    "cloudwatch by firehose": "CloudWatch passes them on, in JSON objects that are not one a line",
    "fluent bit to cloudwatch": "CloudWatch passes them on, in JSON objects that are not one a line",
    "array of docker's": "Docker's json-file writes them, in a JSON array",
    "vector's parse_json": "Vector, Logstash or Filebeat writes them",
    "one after the other": "in JSON objects that are not one a line",
    "with spaces between": "in JSON objects that are not one a line",
    "array": "in a JSON array",
    "array, a line each": "in a JSON array",
    "array, pretty-printed": "in a JSON array",
    "pretty-printed": "in JSON objects that are not one a line",
    "pretty-printed, indent 0": "in JSON objects that are not one a line",
}


@pytest.mark.parametrize("form", [*OF_LINES, *OF_OBJECTS])
def test_the_wrapping_is_named(form: str) -> None:
    lines = [*STRANGERS.splitlines(), (PAGE_VIEW % 1).rstrip()]
    assert describe_wrapping(b"\n".join(lines)) == ""
    assert describe_wrapping((OF_LINES.get(form) or OF_OBJECTS[form])(lines)).endswith(f" {WRITERS[form]}")


def test_failures_come_first_and_a_total_last(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    failing = STRANGERS.splitlines()[0].replace(b"play_video", b"pause_video").replace(b'"event": "{', b'"event": "[{')
    lines = [*STRANGERS.splitlines(), failing, b"no event", (PAGE_VIEW % 1).rstrip()]
    (tmp_path / "lms.log").write_bytes(OF_LINES["docker"](lines))
    text = shown(capfd, tmp_path)
    assert "lms.log:" in text
    assert "    lines are wrapped as Docker's json-file writes them\n" in text
    places = [
        text.index(part) for part in ("no_json: ", "pause_video", "1 failed, ", "play_video", "(requests: ", "total ")
    ]
    assert places == sorted(places)
    [total] = [line.split() for line in text.splitlines() if line.startswith("total ")]
    assert total == ["total", "6", "3"]
    [file] = json.loads(shown(capfd, tmp_path, format_="json"))["files"]
    assert (file["lines"], file["wrapping"]) == (6, "lines are wrapped as Docker's json-file writes them")
