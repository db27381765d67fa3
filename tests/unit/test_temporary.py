"""A folder for temporary files that is full or missing ends the run with a message, whatever is written when."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import IO, Any

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
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """The temporary file of the records can be opened, and not written."""
    numbers = itertools.count()
    temporary_file = tempfile.TemporaryFile

    def opened(**options: Any) -> IO[bytes]:
        # Not the other files: what is read from this device never ends.
        is_chosen = next(numbers) == NUMBER % FILE_COUNT
        file: IO[bytes] = open("/dev/full", "w+b", **options) if is_chosen else temporary_file(**options)
        return file

    monkeypatch.setattr(tempfile, "TemporaryFile", opened)


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


def test_no_temporary_file_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with named_file(b"content") as name, DistinctByDay() as statements, temporary_file() as file:
        statements.add(NUMBER, DAY)
        file.write(b"more")
        assert list(tmp_path.iterdir()) == []
        # It is read from its beginning each time.
        assert [Path(name).read_bytes() for _ in range(2)] == [b"content"] * 2
        assert statements.counts() == {DAY: 1}
    assert not os.path.exists(name)
