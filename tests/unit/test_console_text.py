"""Text from outside (names, answers, logs of pods) says nothing to the terminal itself."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tutor.exceptions import TutorError

from tutor_transform_logs.commands import _say
from tutor_transform_logs.kubectl import Kubectl
from tutor_transform_logs.kubernetes import Replay
from tutor_transform_logs.lms_job.check.findings import Findings
from tutor_transform_logs.lms_job.util import console
from tutor_transform_logs.lms_job.util.formatting import printable_lines, wrapped

TITLE = "\x1b]0;gotcha\x07"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def is_harmless(text: str) -> bool:
    return all(char.isprintable() or char == "\n" for char in text)


@given(st.text())
@example(TITLE)
@example("a\rb\x9b2J\u202e\u2028\ud800")
def test_only_printable_text_comes_to_the_console(text: str) -> None:
    for stream in (io.StringIO(), Terminal()):
        with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
            console.say(text)
            console.say(text, level=console.WARNING)
            console.error(text, 1)
            console.result(text, "result")
        assert is_harmless(stream.getvalue())


@given(st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" \n")))
def test_printable_text_is_left_as_it_is(text: str) -> None:
    assert printable_lines(text) == text


COMMANDS = {
    "The LMS image lacks apache-libcloud, which this job needs. {}": "Run: tutor images build transform-logs && x y z",
    "Create the tables of event-routing-backends: {}": "tutor local do init --limit=transform_logs.",
    "Check the names, or make Aspects' tables with {}.": '"tutor local do init -l aspects"',
}


@pytest.mark.parametrize("width", [30, 40, 80])
@pytest.mark.parametrize("text", COMMANDS)
def test_a_command_in_a_message_is_in_one_piece(text: str, width: int, capsys: pytest.CaptureFixture[str]) -> None:
    message = text.format(COMMANDS[text])
    lines = wrapped(message, width, "    ").splitlines()
    assert " ".join(" ".join(lines).split()) == message
    assert [line for line in lines if COMMANDS[text] in line]
    assert all(len(line) <= width for line in lines if COMMANDS[text] not in line)
    Findings(width).problem(message)
    assert COMMANDS[text] in capsys.readouterr().out


def test_a_traceback_is_printable_as_well() -> None:
    stream = io.StringIO()
    with contextlib.redirect_stderr(stream):
        try:
            raise ValueError(TITLE)
        except ValueError:
            console.tell_traceback()
    assert is_harmless(stream.getvalue())
    assert "ValueError: \\x1b]0;gotcha\\x07" in stream.getvalue()


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ``kubectl`` that answers with what is in files: a cluster whose pods print what a container may print."""
    metadata = {"name": "transform-logs-work-job", "uid": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}
    for kind in ("jobs", "pods"):
        (tmp_path / kind).write_text(json.dumps({"items": [{"metadata": metadata, "status": {"active": 1}}]}))
    (tmp_path / "logs").write_text(f"{TITLE}half a line\n")
    program = tmp_path / "kubectl"
    program.write_text(
        f"#!/bin/sh\ncd {tmp_path}\n"
        'for word in "$@"; do case $word in jobs|pods|logs) cat "$word"; exit ;; esac; done\n'
        "printf 'no: \\033]0;gotcha\\007\\n' >&2; exit 1\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


@pytest.mark.usefixtures("cluster")
def test_what_a_pod_prints_is_printable(capsys: pytest.CaptureFixture[str]) -> None:
    """``kubectl`` is a stand-in. The job's own output is printable; other programs of an image may print, too."""
    site = {"K8S_NAMESPACE": "openedx", "TRANSFORM_LOGS_K8S_PODS": 1}
    Replay(None, site).run("", "status")  # type: ignore[arg-type]
    said = capsys.readouterr().out
    assert is_harmless(said)
    assert "\\x1b]0;gotcha\\x07half a line" in said


@pytest.mark.usefixtures("cluster")
def test_what_kubectl_says_is_printable() -> None:
    with pytest.raises(TutorError) as raised:
        Kubectl("openedx").run("apply")
    assert is_harmless(str(raised.value.args[0]))
    assert "(no: \\x1b]0;gotcha\\x07)" in str(raised.value.args[0])


@pytest.mark.parametrize("columns", [40, 80])
def test_where_statements_go_is_wrapped_on_the_host_too(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    text = "Destination: table openedx.xapi_events_all in ClickHouse at http://clickhouse:8123 (a reason that is long)"
    monkeypatch.setenv("COLUMNS", str(columns))
    with contextlib.redirect_stdout(Terminal()) as stream:
        _say(text)
    lines = re.sub(r"\x1b\[\d*m", "", stream.getvalue()).splitlines()
    assert max(map(len, lines)) <= columns
    assert " ".join(" ".join(lines).split()) == text
    with contextlib.redirect_stdout(io.StringIO()) as file:
        _say(text)
    assert len(file.getvalue().splitlines()) == 1
