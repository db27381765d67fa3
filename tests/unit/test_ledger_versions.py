"""What a ledger says of its format."""

from __future__ import annotations

from typing import Any

import pytest

from tutor_transform_logs.lms_job.ledger.versions import VERSION, UnknownVersion, upgraded


def test_one_of_a_later_release_is_told_from_a_damaged_one() -> None:
    assert upgraded({"version": VERSION, "a": 1}) == {"a": 1}
    with pytest.raises(UnknownVersion):
        upgraded({"version": VERSION + 1})


@pytest.mark.parametrize("values", [{}, {"version": None}, {"version": "2"}, {"version": 0}, {"version": -1}])
def test_without_a_version_it_is_damaged(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="it names no version"):
        upgraded(values)
