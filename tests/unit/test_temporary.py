"""A folder for temporary files that is full or missing ends the run with a message, whatever is written when."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from tutor_transform_logs.lms_job.gaps.distinct import DistinctByDay
from tutor_transform_logs.lms_job.util.errors import PermanentError, Unavailable
from tutor_transform_logs.lms_job.util.temporary import FILE_COUNT, named_file, temporary_file
from tutor_transform_logs.lms_job.verify.multiset_diff import DiffCounts, MultisetDiff, hashed
from tutor_transform_logs.lms_job.verify.verify_result import Mismatch, MissingLines

SAID = r"The folder for temporary files, .*, is full\. Make room in it"
DAY = date(2026, 2, 1)
STATEMENT = "a"
NUMBER = hashed(STATEMENT)


@pytest.fixture
def full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The temporary file of the records can be opened, and not written."""
    # Not the other files: what is read from this device never ends.
    (tmp_path / f"{NUMBER % FILE_COUNT:03d}").symlink_to("/dev/full")
    monkeypatch.setattr(tempfile, "TemporaryDirectory", lambda **_: contextlib.nullcontext(str(tmp_path)))


def count(records: int) -> None:
    with DistinctByDay() as statements:
        for _ in range(records):
            statements.add(NUMBER, DAY)
        statements.counts()


def compare(records: int) -> None:
    with MultisetDiff() as diff:
        for number in range(records):
            diff.expect({"id": STATEMENT}, number)
        list(diff.compare(DiffCounts()))


def fail(records: int) -> None:
    with DistinctByDay() as statements:
        for _ in range(records):
            statements.add(NUMBER, DAY)
        raise ValueError("of the source")


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize("records", [1, 10_000])
@pytest.mark.parametrize("use", [count, compare])
def test_a_full_folder_is_said(use: Callable[[int], None], records: int) -> None:
    with pytest.raises(Unavailable, match=SAID):
        use(records)


@pytest.mark.usefixtures("full")
def test_an_error_from_elsewhere_is_not_covered_up() -> None:
    with pytest.raises(ValueError, match="of the source"):
        fail(1)


def test_a_full_folder_is_said_of_the_missing_lines() -> None:
    lines = MissingLines(open("/dev/full", "wb"))
    with pytest.raises(Unavailable, match=SAID):
        lines.add(Mismatch("missing", "id", "tracking.log", 0, 1, b"{}", 0), "LRS")


def test_a_folder_that_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(PermanentError, match="can't be used: No such file"), DistinctByDay():
        pass
    with pytest.raises(PermanentError, match="can't be used: No such file"), temporary_file():
        pass
    with pytest.raises(PermanentError, match="can't be used: No such file"), named_file(b""):
        pass


def test_a_named_file_is_removed_whatever_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def upload() -> None:
        with named_file(b"content") as name:
            raise ValueError(Path(name).read_text())

    with pytest.raises(ValueError, match="content"):
        upload()
    assert not list(tmp_path.iterdir())
