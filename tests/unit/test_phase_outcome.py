"""The line that a phase leaves as its termination message."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutor_transform_logs.lms_job.util import phase_outcome
from tutor_transform_logs.lms_job.util.phase_outcome import MAX_BYTES, VARIABLE, PhaseOutcome

OUTCOMES = st.builds(
    PhaseOutcome,
    status=st.sampled_from([0, 1, 3, 4]),
    nothing_new=st.booleans(),
    resumed=st.booleans(),
    message=st.text(st.characters(), max_size=300),
    summary=st.dictionaries(
        st.text("abc", max_size=5), st.integers(0, 10**12) | st.text("xyz", max_size=9), max_size=9
    ),
)


@given(OUTCOMES)
def test_an_outcome_comes_back_as_it_was(outcome: PhaseOutcome) -> None:
    line = outcome.to_line()
    assert phase_outcome.parse(line) == outcome
    assert "\n" not in line


@pytest.mark.parametrize("character", ["a", "\n", '"', "é", "\U0001f600", "\udcff"])
@pytest.mark.parametrize("length", [300, 3999, 4096, 100_000])
def test_a_long_message_is_cut_and_the_line_stays_whole(character: str, length: int) -> None:
    outcome = PhaseOutcome(1, False, True, "The LRS " + character * length)
    line = outcome.to_line()
    assert len(line.encode("ascii")) <= MAX_BYTES
    back = phase_outcome.parse(line)
    assert back is not None
    assert (back.status, back.resumed) == (1, True)
    assert back.message == outcome.message or back.message.endswith("...")
    assert outcome.message.startswith(back.message.removesuffix("..."))
    # No more is cut than has to be, give or take.
    assert back.message == outcome.message or len(line) > MAX_BYTES * 0.9


@pytest.mark.parametrize(
    "text", ["", "Killed", "[]", "1", "{}", '{"event": "error", "status": 1}', '{"status": 1', "null"]
)
def test_the_end_of_a_log_is_not_an_outcome(text: str) -> None:
    assert phase_outcome.parse(text) is None


def test_it_is_written_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    phase_outcome.write(PhaseOutcome(4))
    path = tmp_path / "termination-log"
    path.write_text("what was there before is longer than what is written now" * 9)
    monkeypatch.setenv(VARIABLE, str(path))
    phase_outcome.write(PhaseOutcome(4, message="Interrupted (SIGTERM). Run again to resume."))
    assert json.loads(path.read_text()) == {
        "status": 4,
        "nothing_new": False,
        "resumed": False,
        "message": "Interrupted (SIGTERM). Run again to resume.",
        "summary": {},
    }
