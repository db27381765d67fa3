"""What a ledger says of its format, and that its format is what it says."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.harness import pages
from tests.harness.pages import job_config
from tutor_transform_logs.lms_job.ledger.entries import Entry
from tutor_transform_logs.lms_job.ledger.ledger import Ledger
from tutor_transform_logs.lms_job.ledger.names import batch_name
from tutor_transform_logs.lms_job.ledger.versions import UPGRADES, VERSION, UnknownVersion, upgraded
from tutor_transform_logs.lms_job.model.activity import Activity
from tutor_transform_logs.lms_job.model.counts import Counts
from tutor_transform_logs.lms_job.model.plan import (
    Archive,
    Content,
    Fingerprint,
    OutputFormat,
    Plan,
    Segment,
    SourceObject,
    Tail,
    new_uuid,
)
from tutor_transform_logs.lms_job.report.result import to_json
from tutor_transform_logs.lms_job.storage.local import LocalStorage


def test_one_of_a_later_release_is_told_from_a_damaged_one() -> None:
    assert upgraded({"version": VERSION, "a": 1}) == {"a": 1}
    with pytest.raises(UnknownVersion):
        upgraded({"version": VERSION + 1})


@pytest.mark.parametrize("values", [{}, {"version": None}, {"version": "2"}, {"version": 0}, {"version": -1}])
def test_without_a_version_it_is_damaged(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="it names no version"):
        upgraded(values)


def shape(value: object) -> object:
    """Keys and types of a JSON value, without its data."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    if isinstance(value, list):
        return [shape(each) for each in value]
    return type(value).__name__


PLAN = Plan(
    number=7,
    created=1_770_000_000.0,
    contents=(Content(1, Fingerprint.of(b"{}"), 5, 2, {"to": 3}, {"a.log": 4}, 3, True, Tail(5, "")),),
    objects=(SourceObject("a.log", 9, 1, "a note"),),
    segments=(Segment(1, 1, "a.log", 5, 9, 4, lines_before=2, skip={"to": 6}),),
    output=OutputFormat("single", "none", 1),
    uuid=new_uuid(),
    archives=(Archive("b.tar.gz", 9, Fingerprint.of(b"b"), ("to",)),),
)


def worked() -> Activity:
    activity = Activity()
    activity.transformed("a", "2026-01-01T00:00:00+00:00", 1, "course-v1:a+b+c")
    activity.made(b'{"verb": {"id": "http://a"}}')
    activity.skip("b")
    activity.spent("c", (1.0, 2.0, 3.0))
    activity.worked(10.0, 1.0, 1, 1)
    return activity


def shapes(folder: Path) -> dict[str, object]:
    """Of everything in a ledger that a later release reads back: of the result, only these fields are."""
    ledger = Ledger(LocalStorage(str(folder)), "", "job")
    ledger.save_identity({}, first_plan=7)
    ledger.save_plan(PLAN)
    counts = Counts(reasons={"unknown_user": 1})
    ledger.save_entry(PLAN, PLAN.segments[0], "to", Entry(5, counts=counts, resume_at=3, activity=worked()))
    ledger.save_joining(PLAN, [{"name": "a", "parts": ["b"]}])
    ledger.save_sent(batch_name(PLAN, PLAN.segments[0], 1), "to", ["an id"])
    ledger.save_takes_arrays("to", True)
    found = sorted(folder.rglob("*.json"))
    read = {str(path.relative_to(folder)): json.loads(path.read_text()) for path in found}
    result = to_json(job_config(), pages.result([], worked(), outputs=["a"]))
    read["result.json"] = {name: result[name] for name in ("reasons", "outputs", "page", "dead_letters")}
    return {name: shape(values) for name, values in read.items()}


# Of the present version, and only of it.
VERSION_AND_DIGEST = (5, "5431c9dcd159a361")


def test_a_changed_format_has_a_new_version(tmp_path: Path) -> None:
    """CONTRIBUTING.rst says what a change of the ledger's format takes."""
    found = shapes(tmp_path)
    digest = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:16]
    assert (VERSION, digest) == VERSION_AND_DIGEST, (
        "The format of the ledger has changed. Raise VERSION, write its UPGRADES, commit a ledger of the version "
        f"before, and put the new version and digest here. Found: {json.dumps(found, indent=1)}"
    )


def test_every_version_has_an_upgrade_and_a_ledger_to_try_it_with() -> None:
    assert set(UPGRADES) == set(range(1, VERSION))
    data = Path(__file__).parents[1] / "data"
    assert {path.name for path in data.glob("ledger-v*")} == {f"ledger-v{version}" for version in UPGRADES}
